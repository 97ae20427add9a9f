import type { OutboxEvent } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
import { leastIdAt } from "../../lib/ids";
import { type SourceOf, settling } from "./source";

/** The name under which an event in the outbox is heard of. */
export const NAME = "o.type || 's.' || o.action";
export const COLUMNS = `o.id, o.type, o.action, o.aggregate_id AS "aggregateId", o.aggregate_version AS "aggregateVersion",
         o.occurred_at AS "occurredAt", o.correlation_id AS "correlationId", o.data`;
// A single value with a LIMIT, not EXISTS: for that the planner may read the whole inbox into a hash table.
const IS_NEW = `coalesce((SELECT false FROM inbox i WHERE i.consumer = $consumer AND i.event_id = o.id LIMIT 1), true)`;

// The planner knows nothing of how many events of a name there are, nor of how many are new: where it thinks there are
// few it would read and sort all of the outbox for every batch.
const planning = (value: "on" | "off") =>
  ["enable_seqscan", "enable_bitmapscan", "enable_sort"]
    .map((setting) => `set_config('${setting}', '${value}', true)`)
    .join();
/** To be said before {@link TAKE}: it walks the outbox in its order, and ends when it has enough. */
export const IN_ORDER = `SELECT ${planning("off")}`;
const AS_USUAL = `SELECT ${planning("on")}`;

/** Some of what is new to a consumer in a part of the outbox, oldest first. */
export const TAKE = `
  SELECT ${COLUMNS} FROM outbox o
   WHERE o.id > $after::uuid AND o.id <= $until::uuid AND ${NAME} = ANY ($names::text[]) AND ${IS_NEW}
   ORDER BY o.id LIMIT $most FOR UPDATE SKIP LOCKED`;
const TAKE_ONE = `SELECT ${COLUMNS} FROM outbox o WHERE o.id = $id AND ${IS_NEW} FOR UPDATE SKIP LOCKED`;
/** Where a part of so many ends; nowhere if it is the last. */
const PART_ENDS = "SELECT id FROM outbox WHERE id > $after::uuid ORDER BY id OFFSET $size LIMIT 1";

export const FIRST_ID = "00000000-0000-0000-0000-000000000000";
export const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/**
 * Each look goes over what was written lately: ids are made before they are committed, and by clocks that differ a
 * little. What is older is gone over in parts, because it may be much that this consumer has heard of already and
 * another one that is down has not.
 */
const LATELY_MS = 15_000;
const PART_SIZE = 5_000;
const ALL_EVERY_MS = 5_000;
/** What comes of looks that find little must not keep the database from what is booked; of a cheap one nobody notices. */
const REST_FACTOR = 12;
const LONGEST_REST_MS = 30_000;
const CHEAP_MS = 25;

const restAfter = (tookMs: number) =>
  tookMs < CHEAP_MS ? 0 : Math.min(REST_FACTOR * tookMs, LONGEST_REST_MS);

/** The outbox as the queue: whoever takes an event holds its row, and nobody else takes it meanwhile. */
export const outboxSource: SourceOf = (consumer) => {
  const { name, handlers } = consumer;
  const names = [...handlers.keys()];
  /** How far it is with going over all. */
  let reached = FIRST_ID;
  let partDueAt = Number.NEGATIVE_INFINITY;
  let restMs = 0;

  const takeBetween = (query: Query, after: string, until: string, most: number) =>
    query<OutboxEvent>(TAKE, { consumer: name, names, after, until, most });

  /** Some of the next part, and where that ends. */
  const takeOfPart = async (query: Query, most: number) => {
    const startedAt = performance.now();
    const [end] = await query<{ id: string }>(PART_ENDS, { after: reached, size: PART_SIZE });
    const until = end?.id ?? LAST_ID;
    const events = await takeBetween(query, reached, until, most);
    const last = events.at(-1);
    const endedAt = performance.now();
    if (last && events.length === most) {
      reached = last.id;
    } else {
      reached = end?.id ?? FIRST_ID;
      partDueAt = endedAt + Math.max(restAfter(endedAt - startedAt), end ? 0 : ALL_EVERY_MS);
    }
    return { events, until };
  };

  const takeOfLately = async (query: Query, after: string, most: number) => {
    const startedAt = performance.now();
    const events = await takeBetween(query, after, LAST_ID, most);
    if (events.length < most) restMs = restAfter(performance.now() - startedAt);
    return events;
  };

  return {
    mayHave: () => true,
    async take(query: Query, most: number) {
      restMs = 0;
      await query(IN_ORDER, {});
      const isPartDue = performance.now() >= partDueAt;
      const { events, until } = isPartDue
        ? await takeOfPart(query, most)
        : { events: [], until: FIRST_ID };
      if (events.length < most && until !== LAST_ID) {
        // By the system's time, as ids are made.
        let after = leastIdAt(new Date(Date.now() - LATELY_MS));
        if (until > after) after = until;
        events.push(...(await takeOfLately(query, after, most - events.length)));
      }
      if (events.length > 0) await query(AS_USUAL, {});
      return events;
    },
    restMs: () => restMs,
    async takeAgain(query: Query, { id }: OutboxEvent) {
      const [event] = await query<OutboxEvent>(TAKE_ONE, { id, consumer: name });
      return event;
    },
    settle: settling("outbox", consumer),
    done() {},
    async stop() {},
  };
};
