import { ACCESS_TOKEN_SECONDS } from "../../lib/access-tokens";
import type { Call, Log } from "../../lib/contract/define";
import { ServiceUnavailable } from "../../lib/errors";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { Contracts } from "../contracts";

/** Two polls fit into the second within which every node must know. */
const POLL_MS = 400;
/** Knowledge older than this is none: a node that cannot ask any more refuses tokens rather than guess. */
const STALE_MS = 4_000;
/** An ended session's tokens are all expired after this long, clocks of nodes a minute apart. */
const FORGET_MS = (ACCESS_TOKEN_SECONDS + 60) * 1000;

/** Which sessions have ended while access tokens of theirs may still be alive, as this node knows it. */
export interface EndedSessions {
  /** Starts to ask who has ended, again and again, whenever somebody is there to be asked. */
  start(call: Call<Contracts>, canAsk: () => boolean, log: Log): void;
  stop(): void;
  /** Notes sessions that this node has ended itself. */
  add(sessionIds: readonly string[]): void;
  /**
   * Whether a session has ended.
   *
   * @throws ServiceUnavailable when this node has not heard for too long
   */
  includes(sessionId: string): Promise<boolean>;
  /** The same as far as this node knows now, however old its knowledge is. */
  hasEnded(sessionId: string): boolean;
  /** Asks now: fails when the sessions' service or its database cannot be reached. */
  refresh(): Promise<void>;
}

export function endedSessions(): EndedSessions {
  const ended = new Map<string, number>();
  let call: Call<Contracts> | undefined;
  let canAsk = () => false;
  let polling: RepeatedWork | undefined;
  let knownUntil: string | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  const add = (sessionIds: readonly string[]) => {
    const forgetAt = performance.now() + FORGET_MS;
    for (const id of sessionIds) if (!ended.has(id)) ended.set(id, forgetAt);
  };
  const forget = () => {
    // In order of insertion, which is the order of forgetting.
    for (const [id, forgetAt] of ended) {
      if (forgetAt > performance.now()) break;
      ended.delete(id);
    }
  };
  const ask = async () => {
    if (!call || !canAsk()) throw new ServiceUnavailable({ retryAfter: 1 });
    const startedAt = performance.now();
    const since = knownUntil === undefined ? {} : { since: knownUntil };
    const { sessionIds, until } = await call("auth.$endedSessions", since);
    add(sessionIds);
    forget();
    knownUntil = until;
    askedAt = startedAt;
  };
  // One question at a time, shared by all who wait for its answer.
  const refresh = () => {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };

  return {
    start(caller, possible, log) {
      call = caller;
      canAsk = possible;
      polling = repeat({
        pauseMs: POLL_MS,
        firstPauseMs: 0,
        // A failure shows by itself: knowledge grows stale and includes() refuses.
        work: () => refresh().catch(() => {}),
        log,
        failed: "The sessions that have ended could not be asked for",
      });
    },
    stop() {
      call = undefined;
      // Nobody waits for an answer that is still on its way.
      void polling?.stop();
    },
    add,
    refresh,
    hasEnded: (sessionId) => ended.has(sessionId),
    async includes(sessionId) {
      if (performance.now() - askedAt > STALE_MS) {
        await refresh().catch(() => {
          throw new ServiceUnavailable({ retryAfter: 1 });
        });
      }
      return ended.has(sessionId);
    },
  };
}
