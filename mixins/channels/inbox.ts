import type { Log } from "../../lib/contract/define";
import type { OutboxEvent } from "../../lib/contract/outbox-event";
import type { Database, Query } from "../../lib/database";
import { leastIdAt } from "../../lib/ids";
import { removeInChunks } from "../../lib/remove-in-chunks";
import { type RepeatedWork, repeat } from "../../lib/repeated";

/** So long it is remembered that an event was heard of; a broker that redelivers does so within days. */
const REMEMBERED_MS = 7 * 86_400_000;
const FORGET_EVERY_MS = 3_600_000;

const HEARD = `
  INSERT INTO inbox (consumer, event_id) SELECT $consumer, unnest($ids::uuid[])
      ON CONFLICT DO NOTHING RETURNING event_id AS id`;

const FORGET = `
  DELETE FROM inbox WHERE (consumer, event_id) IN (
    SELECT consumer, event_id FROM inbox i WHERE consumer = $consumer AND event_id < $before
       AND (SELECT true FROM outbox o WHERE o.id = i.event_id LIMIT 1) IS NULL
       AND (SELECT true FROM publications p WHERE p.id = i.event_id LIMIT 1) IS NULL
     LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

/** Notes that a consumer has heard of events; gives those of which it had not before. */
export async function note(
  query: Query,
  consumer: string,
  events: readonly OutboxEvent[],
): Promise<OutboxEvent[]> {
  const ids = events.map(({ id }) => id);
  const rows = await query<{ id: string }>(HEARD, { consumer, ids });
  const fresh = new Set(rows.map(({ id }) => id));
  return events.filter(({ id }) => fresh.has(id));
}

/** Forgets of events long past that they were heard of. */
export const forgetHeard = (database: Database, consumer: string, log: Log): RepeatedWork =>
  repeat({
    pauseMs: FORGET_EVERY_MS,
    log,
    failed: "Old entries of the inbox could not be removed",
    work: (stopping) =>
      removeInChunks(
        database,
        // By the system's time, as ids are made.
        {
          sql: FORGET,
          bind: { consumer, before: leastIdAt(new Date(Date.now() - REMEMBERED_MS)) },
        },
        stopping,
      ),
  });
