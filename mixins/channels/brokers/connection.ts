import type { Log } from "../../../lib/contract/define";
import type { Broker, Queue, Session } from "./session";

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;
/** A session that lived so long was sound: after it the first try comes at once again. */
const SOUND_AFTER_MS = 10_000;
/** What stays the same is told again after so long, and whatever it is no sooner than that. */
const TELL_AGAIN_AFTER_MS = 60_000;
const TELL_MORE_AFTER_MS = 10_000;

type Use = (session: Session) => Promise<void>;

/** A connection to a message broker that comes back for ever. */
export interface Connection {
  /** Undefined while there is none. */
  session(): Session | undefined;
  /** Is given every session, this one and all that follow, before anybody else uses it; ends when asked to. */
  onSession(use: Use): () => void;
  close(): Promise<void>;
}

const messageOf = (reason: unknown): string =>
  String((reason as { message?: unknown } | undefined)?.message || "it was closed");

/** Connects, now and whenever the connection is lost, later and later and never all nodes at once. */
export function keepConnected(broker: Broker, queues: readonly Queue[], log: Log): Connection {
  const stopping = new AbortController();
  const { signal } = stopping;
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  const uses = new Set<Use>();
  let current: Session | undefined;
  let told = { reason: "", at: Number.NEGATIVE_INFINITY };

  const tell = (reason: string) => {
    const at = performance.now();
    const quietMs = reason === told.reason ? TELL_AGAIN_AFTER_MS : TELL_MORE_AFTER_MS;
    if (at - told.at < quietMs) return;
    told = { reason, at };
    log.error(
      `No connection to the message broker of CHANNELS_URL, ${broker.servers}: ${reason}. What happens waits in the ` +
        "outbox; trying again",
    );
  };
  const pause = (ms: number) => {
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    return Promise.race([over, stopped]).finally(() => clearTimeout(timer));
  };

  /** Gives why it ended. */
  const oneSession = async (): Promise<unknown> => {
    const opening = broker.open(queues);
    const session = await Promise.race([opening, stopped]);
    if (!session || signal.aborted) {
      // Whoever stops does not wait for a broker that is away; what comes of it is closed.
      opening.then(({ close }) => close()).catch(() => {});
      return undefined;
    }
    const begin = async () => {
      // Also those that come meanwhile.
      for (const use of uses) await use(session);
      return session;
    };
    try {
      const begun = await Promise.race([begin(), stopped, session.ended]);
      if (begun !== session || signal.aborted) return begun;
      current = session;
      told = { reason: "", at: Number.NEGATIVE_INFINITY };
      log.info(`Connected to the message broker at ${broker.servers}`);
      return await session.ended;
    } finally {
      current = undefined;
      await session.close();
    }
  };

  const connecting = (async () => {
    let failures = 0;
    while (!signal.aborted) {
      const startedAt = performance.now();
      const reason = await oneSession().catch((error: unknown) => error);
      if (signal.aborted) break;
      if (performance.now() - startedAt > SOUND_AFTER_MS) failures = 0;
      tell(messageOf(reason));
      const longestMs = Math.min(FIRST_RETRY_MS * 2 ** failures++, LONGEST_RETRY_MS);
      await pause(longestMs * (0.5 + Math.random() / 2));
    }
  })();

  return {
    session: () => current,
    onSession(use) {
      uses.add(use);
      const session = current;
      // One that cannot be used ends, and the next one is given to it again.
      if (session) use(session).catch(session.close);
      return () => uses.delete(use);
    },
    async close() {
      stopping.abort();
      await current?.close();
      await connecting;
    },
  };
}
