import type { Log } from "../../../lib/contract/define";
import { nameOf } from "../../../lib/contract/outbox-event";
import type { Database } from "../../../lib/database";
import { type RepeatedWork, repeat } from "../../../lib/repeated";
import { pacing } from "../pacing";
import type { Connection } from "./connection";
import { bodyOf } from "./envelope";
import { publicationsIn } from "./publications";
import type { Queue, Session } from "./session";

/** Events that other nodes have written, and did not publish themselves, are looked for so often. */
const LOOK_EVERY_MS = 250;
const MOST_AT_ONCE = 500;
/** While the broker takes nothing; twice as long each time. */
const FIRST_REFUSED_PAUSE_MS = 2_000;
const LONGEST_REFUSED_PAUSE_MS = 30_000;
const REFUSAL_TOLD_EVERY_MS = 60_000;
const LATE_EVERY_MS = 5_000;

export interface RelayOptions {
  database: Database;
  connection: Connection;
  /** Of all consumers, those of other nodes too. */
  queues: readonly Queue[];
  log: Log;
}

/** Hands what is in the outbox to a message broker; any number of nodes may. */
export function relay({ database, connection, queues, log }: RelayOptions): RepeatedWork {
  const names = [...new Set(queues.map(({ event }) => event))];
  const publications = publicationsIn(database);

  let refusalTold = Number.NEGATIVE_INFINITY;
  const tellRefusal = (reason: unknown) => {
    if (performance.now() - refusalTold < REFUSAL_TOLD_EVERY_MS) return;
    refusalTold = performance.now();
    log.warn("The message broker refuses events; they stay in the outbox", reason);
  };

  const publishSome = async (session: Session) => {
    const events = await publications.claim(names, MOST_AT_ONCE);
    const confirmed: string[] = [];
    const refused: string[] = [];
    let reason: unknown;
    await Promise.all(
      events.map(async (event) => {
        try {
          await session.publish({ id: event.id, event: nameOf(event), body: bodyOf(event) });
          confirmed.push(event.id);
        } catch (error) {
          refused.push(event.id);
          reason = error;
        }
      }),
    );
    if (confirmed.length > 0) await publications.confirm(confirmed);
    if (refused.length > 0) {
      await publications.giveBack(refused);
      // That the connection is over is told by whoever keeps it.
      if (connection.session() === session) tellRefusal(reason);
    }
    return { taken: events.length, confirmed: confirmed.length };
  };

  let refusals = 0;
  const publishing = repeat({
    pauseMs: LOOK_EVERY_MS,
    log,
    failed: "Events could not be published",
    async work() {
      const session = connection.session();
      if (!session) return;
      const startedAt = performance.now();
      const { taken, confirmed } = await publishSome(session);
      const restMs = pace.restMs(confirmed, performance.now() - startedAt);
      if (taken > 0 && confirmed === 0) {
        const longestMs = FIRST_REFUSED_PAUSE_MS * 2 ** refusals++;
        const pauseMs = Math.min(longestMs, LONGEST_REFUSED_PAUSE_MS);
        return { pauseMs, restMs: pauseMs };
      }
      if (confirmed > 0) refusals = 0;
      return { pauseMs: confirmed === MOST_AT_ONCE ? 0 : LOOK_EVERY_MS, restMs };
    },
  });
  const wake = (withinMs: number) => publishing.soon(withinMs);
  const pace = pacing((name) => names.includes(name), wake);
  const stopListening = connection.onSession(async () => wake(0));

  /** Of events that the broker has had for long those that are in none of their queues: it has lost them. */
  const lost = async (session: Session): Promise<string[]> => {
    const drained: string[] = [];
    for (const name of await publications.late(names)) {
      const own = queues.filter(({ event }) => event === name);
      const all = await Promise.all(own.map((queue) => session.isDrained(queue)));
      if (all.every(Boolean)) drained.push(name);
    }
    return drained;
  };
  const tellAgain = (again: number) => {
    if (again === 0) return;
    log.warn(`${again} events that nobody has heard of are published again`);
    wake(0);
  };
  const looking = repeat({
    pauseMs: LATE_EVERY_MS,
    log,
    failed: "What a message broker may have lost could not be looked for",
    async work(stopping) {
      // First, because it needs no broker.
      tellAgain(await publications.giveBackUnconfirmed(stopping));
      const session = connection.session();
      if (!session) return;
      tellAgain(await publications.giveBackLate(await lost(session), stopping));
    },
  });

  return {
    soon: wake,
    async stop() {
      stopListening();
      pace.stop();
      await Promise.all([publishing.stop(), looking.stop()]);
    },
  };
}
