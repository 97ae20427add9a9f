/**
 * The outbox: what happened is written in the transaction in which it happened, and told afterwards.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "../lib/contract/define";
import type { Database, Query } from "../lib/database";
import { type RepeatedWork, repeat } from "../lib/repeated";

/** One thing that happened, in the envelope that all services share. */
export interface OutboxEvent {
  /** UUID of version 7: of two events that one node writes the later has the greater id. */
  id: string;
  /** What it happened to: `booking`, `event`. */
  type: string;
  /** What happened to it, in the past tense: `confirmed`. */
  action: string;
  aggregateId: string;
  /** Of the aggregate after it happened; counts from 1. */
  aggregateVersion: number;
  occurredAt: Date;
  /** The request in which it happened. */
  correlationId: string | null;
  data: object;
}

const WRITE = `
  INSERT INTO outbox (id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data)
  SELECT * FROM ROWS FROM (
    unnest($ids::uuid[], $types::text[], $actions::text[], $aggregates::uuid[], $versions::int[],
           $times::timestamptz[], $correlations::text[]),
    json_array_elements($data::json))`;

/** Writes events in the caller's transaction. */
export async function writeOutbox(query: Query, events: readonly OutboxEvent[]): Promise<void> {
  if (events.length === 0) return;
  await query(WRITE, {
    ids: events.map(({ id }) => id),
    types: events.map(({ type }) => type),
    actions: events.map(({ action }) => action),
    aggregates: events.map(({ aggregateId }) => aggregateId),
    versions: events.map(({ aggregateVersion }) => aggregateVersion),
    times: events.map(({ occurredAt }) => occurredAt),
    correlations: events.map(({ correlationId }) => correlationId),
    // One document: in an array of PostgreSQL every quotation mark of theirs would have to be escaped.
    data: JSON.stringify(events.map(({ data }) => data)),
  });
}

const TAKE = `
  SELECT id, type, action, aggregate_id AS "aggregateId", aggregate_version AS "aggregateVersion",
         occurred_at AS "occurredAt", correlation_id AS "correlationId", data
    FROM outbox ORDER BY id LIMIT $most::int FOR UPDATE SKIP LOCKED`;

const DONE = "DELETE FROM outbox WHERE id = ANY ($ids::uuid[])";

/** Of the contract of the service whose thing it is: `bookings.confirmed`. */
const nameOf = ({ type, action }: OutboxEvent) => `${type}s.${action}`;

const payloadOf = ({ id, aggregateVersion, occurredAt, data }: OutboxEvent) => ({
  id,
  schemaVersion: 1,
  version: aggregateVersion,
  occurredAt: occurredAt.toISOString(),
  ...data,
});

/** Events told in one transaction. */
const MOST_AT_ONCE = 500;
/** Then requests that have come meanwhile have their turn: to tell 500 events would keep them waiting for 30 ms. */
const IN_A_ROW = 25;
/** Events of other nodes, and what a crash has left, are found within this time. */
const LOOK_EVERY_MS = 500;

/**
 * Tells what is in the outbox, oldest first; any number of nodes may. An event leaves the outbox once `announce`
 * has come back for it, so it may be told twice, when a node dies in between. Who listens in this process has
 * been told by then; a listener that fails is not told again, and what went to another node is on its way, and lost
 * if that node dies in this moment.
 */
export const relayOutbox = (
  database: Database,
  announce: (name: string, payload: object) => Promise<void>,
  log: Log,
): RepeatedWork =>
  repeat({
    pauseMs: LOOK_EVERY_MS,
    log,
    failed: "The outbox could not be told",
    async work() {
      const startedAt = performance.now();
      const told = await tellSome(database, announce);
      // In a rush telling rests twice as long as it works: what is booked must not wait for what is told.
      return told < MOST_AT_ONCE ? LOOK_EVERY_MS : 2 * (performance.now() - startedAt);
    },
  });

/** @throws what the first that failed has thrown, once all have come back */
async function tellEach(
  events: readonly OutboxEvent[],
  announce: (name: string, payload: object) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const told: Promise<void>[] = [];
  for (const [i, event] of events.entries()) {
    const telling = announce(nameOf(event), payloadOf(event));
    told.push(telling.catch((error: unknown) => void failures.push(error)));
    if ((i + 1) % IN_A_ROW === 0) await nextTurn();
  }
  await Promise.all(told);
  if (failures.length > 0) throw failures[0];
}

const tellSome = (
  database: Database,
  announce: (name: string, payload: object) => Promise<void>,
): Promise<number> =>
  database.prepared(async ({ query, nothingWritten }) => {
    const events = await query<OutboxEvent>(TAKE, { most: MOST_AT_ONCE });
    if (events.length === 0) {
      nothingWritten();
      return 0;
    }
    await tellEach(events, announce);
    await query(DONE, { ids: events.map(({ id }) => id) });
    return events.length;
  });
