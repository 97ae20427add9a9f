import type { Log } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { removeInChunks } from "../../lib/remove-in-chunks";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import { NAME } from "./outbox-source";

const SWEEP_EVERY_MS = 1_000;
/** It looks at all that is in the outbox, of which there may be much. */
const SWEEP_SETTLED_EVERY_MS = 300_000;

const SWEEP = `
  DELETE FROM outbox WHERE id IN (
    SELECT o.id FROM outbox o WHERE ${NAME} = ANY ($names::text[]) ORDER BY o.id LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

const SWEEP_SETTLED = `
  DELETE FROM outbox WHERE id IN (
    SELECT o.id FROM outbox o
     WHERE ${NAME} = ANY ($names::text[])
       AND NOT EXISTS (
         SELECT FROM unnest($events::text[], $consumers::text[]) AS c (event, consumer)
          WHERE c.event = ${NAME}
            AND (SELECT true FROM inbox i WHERE i.consumer = c.consumer AND i.event_id = o.id LIMIT 1) IS NULL)
     ORDER BY o.id LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

/**
 * Takes out of the outbox what nobody has to hear of any more: events without consumers, and now and then those that
 * wait for a consumer that they had in an older version. What a newer node has written, which is not known here, stays.
 *
 * @param hearers every event that is known, with its consumers
 */
export const sweepOutbox = (
  database: Database,
  hearers: readonly (readonly [event: string, readonly string[]])[],
  log: Log,
  settledEveryMs = SWEEP_SETTLED_EVERY_MS,
): RepeatedWork => {
  const unheard = hearers.flatMap(([event, consumers]) => (consumers.length ? [] : [event]));
  const pairs = hearers.flatMap(([event, consumers]) => consumers.map((one) => [event, one]));
  const settled = {
    names: hearers.flatMap(([event, consumers]) => (consumers.length ? [event] : [])),
    events: pairs.map(([event]) => event),
    consumers: pairs.map(([, consumer]) => consumer),
  };
  let settledAt = performance.now();
  return repeat({
    pauseMs: SWEEP_EVERY_MS,
    log,
    failed: "The outbox could not be swept",
    async work(stopping) {
      await removeInChunks(database, { sql: SWEEP, bind: { names: unheard } }, stopping);
      if (performance.now() < settledAt + settledEveryMs) return;
      settledAt = performance.now();
      await removeInChunks(database, { sql: SWEEP_SETTLED, bind: settled }, stopping);
    },
  });
};
