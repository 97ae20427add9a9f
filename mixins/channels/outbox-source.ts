import type { OutboxEvent } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
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

/** Some of what is new to a consumer, oldest first. */
export const TAKE = `
  SELECT ${COLUMNS} FROM outbox o
   WHERE ${NAME} = ANY ($names::text[]) AND ${IS_NEW}
   ORDER BY o.id LIMIT $most FOR UPDATE SKIP LOCKED`;
const TAKE_ONE = `SELECT ${COLUMNS} FROM outbox o WHERE o.id = $id AND ${IS_NEW} FOR UPDATE SKIP LOCKED`;

/** The outbox as the queue: whoever takes an event holds its row, and nobody else takes it meanwhile. */
export const outboxSource: SourceOf = (consumer) => {
  const { name, handlers } = consumer;
  const names = [...handlers.keys()];
  return {
    mayHave: () => true,
    async take(query: Query, most: number) {
      await query(IN_ORDER, {});
      const events = await query<OutboxEvent>(TAKE, { consumer: name, names, most });
      if (events.length > 0) await query(AS_USUAL, {});
      return events;
    },
    async takeAgain(query: Query, { id }: OutboxEvent) {
      const [event] = await query<OutboxEvent>(TAKE_ONE, { id, consumer: name });
      return event;
    },
    settle: settling("outbox", consumer),
    done() {},
    async stop() {},
  };
};
