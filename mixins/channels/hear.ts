import type { Log } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import { callingHearer } from "./calling";
import type { Consumer } from "./consumer";
import { outboxSource } from "./outbox-source";
import { pacing } from "./pacing";
import type { SourceOf } from "./source";
import { togetherHearer } from "./together";
import { undeliveredOf } from "./undelivered";

/** Events that other nodes have written are looked for so often. */
const LOOK_EVERY_MS = 250;
/** So long a round tries again what is due; then what is new has its turn. */
const RETRY_FOR_MS = 200;
/** What is due again is looked for so often, also in a rush. */
const RETRY_EVERY_MS = 500;

/**
 * Hears of events until it is stopped; any number of nodes may.
 *
 * @param from where the events come from: the outbox unless told
 */
export function hear(
  database: Database,
  consumer: Consumer,
  log: Log,
  from: SourceOf = outboxSource,
): RepeatedWork {
  const { atOnce, calls = false, handlers } = consumer;
  const wake = (withinMs: number) => hearing.soon(withinMs);
  const source = from(consumer, wake);
  const parts = { database, consumer, source, undelivered: undeliveredOf(consumer, log), log };
  const { hearSome, retryOne } = calls ? callingHearer(parts) : togetherHearer(parts);

  /** Tries again for a while; gives whether there may be more. */
  const retrySome = async (stopping: AbortSignal): Promise<boolean> => {
    const until = performance.now() + RETRY_FOR_MS;
    while (performance.now() < until && !stopping.aborted) if (!(await retryOne())) return false;
    return true;
  };

  let retriesAt = 0;
  const hearing = repeat({
    pauseMs: LOOK_EVERY_MS,
    log,
    failed: "Events could not be heard of",
    async work(stopping) {
      const { count, tookMs } = source.mayHave()
        ? await hearSome(stopping)
        : { count: 0, tookMs: 0 };
      const restMs = pace.restMs(count, tookMs);
      let mayBeDue = false;
      if (performance.now() >= retriesAt) {
        mayBeDue = await retrySome(stopping);
        retriesAt = performance.now() + (mayBeDue ? 0 : RETRY_EVERY_MS);
      }
      return {
        pauseMs: count === atOnce || mayBeDue ? 0 : LOOK_EVERY_MS,
        // Of those that are handled one by one a few are no rush.
        restMs: Math.max(source.restMs(), atOnce > 1 ? restMs : 0),
      };
    },
  });
  const pace = pacing((name) => handlers.has(name), wake);
  return {
    ...hearing,
    async stop() {
      pace.stop();
      await hearing.stop();
      await source.stop();
    },
  };
}
