import type { OutboxEvent } from "../../../lib/contract/outbox-event";
import type { Bind, Database, Query } from "../../../lib/database";
import { transactionsAhead } from "../consumer";
import { COLUMNS, IN_ORDER, NAME } from "../outbox-source";

/** So long whoever is to publish something has for it; then somebody else does it. */
const LEASE_MS = 10_000;
/** What nobody has heard of for so long is looked after. */
const AGAIN_AFTER_MS = 30_000;
/** Rows given back with one statement. */
const CHUNK = 1_000;

const ROW = "id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data";
const after = (ms: string) => `now() + ${ms} * interval '1 millisecond'`;

// Rows are named by an array throughout: for a join the planner may read all that waits.
// In one statement: an event is always in one of the two tables. That an id is in both nobody writes, but if so it must
// not stop all that comes after it.
const CLAIM = `
  WITH next AS (
    SELECT o.id FROM outbox o WHERE ${NAME} = ANY ($names::text[]) ORDER BY o.id LIMIT $most FOR UPDATE SKIP LOCKED),
  gone AS (DELETE FROM outbox o WHERE o.id = ANY (ARRAY(SELECT id FROM next)) RETURNING o.*)
  INSERT INTO publications AS o (${ROW}, confirmed, due_at)
  SELECT ${ROW}, false, ${after("$leaseMs")} FROM gone
      ON CONFLICT (id) DO UPDATE SET confirmed = false, due_at = excluded.due_at
  RETURNING ${COLUMNS}`;

// Whose row somebody holds may be one consumer's alone, and then stays for the others: it is waited for, in the order
// in which consumers hold them.
/** The broker has these. */
export const CONFIRM = `
  UPDATE publications p SET confirmed = true, due_at = ${after("$againMs")}
   WHERE p.id = ANY (ARRAY(SELECT id FROM publications WHERE id = ANY ($ids::uuid[]) ORDER BY id FOR UPDATE))
  RETURNING p.id`;

const giveBack = (which: string) => `
  WITH late AS (${which} FOR UPDATE SKIP LOCKED),
  gone AS (DELETE FROM publications p WHERE p.id = ANY (ARRAY(SELECT id FROM late)) RETURNING p.*)
  INSERT INTO outbox (${ROW}) SELECT ${ROW} FROM gone ON CONFLICT (id) DO NOTHING RETURNING id`;
const GIVE_BACK = giveBack("SELECT id FROM publications WHERE id = ANY ($ids::uuid[])");
const GIVE_BACK_UNCONFIRMED = giveBack(`
  SELECT o.id FROM publications o WHERE NOT o.confirmed AND o.due_at <= now() LIMIT ${CHUNK}`);
/** Of these names what the broker has had for long. */
export const GIVE_BACK_LATE = giveBack(`
  SELECT o.id FROM publications o
   WHERE o.confirmed AND ${NAME} = ANY ($names::text[]) AND o.due_at <= now() LIMIT ${CHUNK}`);

/** Of these names those of which the broker has had something for long. */
export const LATE = `
  SELECT name FROM unnest($names::text[]) AS n (name)
   WHERE (SELECT true FROM publications o
           WHERE o.confirmed AND ${NAME} = n.name AND o.due_at <= now() LIMIT 1)`;

/** Events that a message broker has, or is being given. */
export function publicationsIn(database: Database) {
  const inTransaction = transactionsAhead(database);
  const allOf = async (sql: string, bind: Bind, stopping: AbortSignal): Promise<number> => {
    let all = 0;
    let some: object[];
    do {
      some = await database.query(sql, bind);
      all += some.length;
    } while (some.length === CHUNK && !stopping.aborted);
    return all;
  };
  return {
    /**
     * Takes some of what is in the outbox over, to be published at once. That it is here before it is there lets whoever
     * hears of it settle it; of a node that dies in between it goes back.
     */
    claim: (names: readonly string[], most: number): Promise<OutboxEvent[]> =>
      inTransaction(async (query: Query) => {
        await query(IN_ORDER, {});
        return query<OutboxEvent>(CLAIM, { names, most, leaseMs: LEASE_MS });
      }),

    /** The broker has them. */
    async confirm(ids: readonly string[]): Promise<void> {
      await database.query(CONFIRM, { ids, againMs: AGAIN_AFTER_MS });
    },

    /** The broker did not take them. */
    async giveBack(ids: readonly string[]): Promise<void> {
      await database.query(GIVE_BACK, { ids });
    },

    /** Which of these events the broker has had for long. */
    async late(names: readonly string[]): Promise<string[]> {
      const rows = await database.query<{ name: string }>(LATE, { names });
      return rows.map(({ name }) => name);
    },

    /** Back to the outbox with what nobody came to publish. */
    giveBackUnconfirmed: (stopping: AbortSignal): Promise<number> =>
      allOf(GIVE_BACK_UNCONFIRMED, {}, stopping),

    /** Back to the outbox with what has been with the broker for long, of these names. */
    giveBackLate: (names: readonly string[], stopping: AbortSignal): Promise<number> =>
      allOf(GIVE_BACK_LATE, { names }, stopping),
  };
}
