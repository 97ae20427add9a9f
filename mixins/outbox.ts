/**
 * The outbox: what happened is written in the transaction in which it happened, and heard of afterwards by way of the
 * channels (mixins/channels).
 */
import type { OutboxEvent } from "../lib/contract/outbox-event";
import type { Command, Query } from "../lib/database";

const WRITE = `
  INSERT INTO outbox (id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data)
  SELECT * FROM ROWS FROM (
    unnest($ids::uuid[], $types::text[], $actions::text[], $aggregates::uuid[], $versions::int[],
           $times::timestamptz[], $correlations::text[]),
    json_array_elements($data::json))`;

type Listener = (events: readonly OutboxEvent[]) => void;

/** Who hears that this process writes something. */
const listeners = new Set<Listener>();

/**
 * Tells of everything that this process writes to an outbox, before it is committed.
 *
 * @returns ends that
 */
export function onWritten(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Writes events; to be run at once. */
export function outboxCommands(events: readonly OutboxEvent[]): Command[] {
  if (events.length === 0) return [];
  for (const hearOf of listeners) hearOf(events);
  const bind = {
    ids: events.map(({ id }) => id),
    types: events.map(({ type }) => type),
    actions: events.map(({ action }) => action),
    aggregates: events.map(({ aggregateId }) => aggregateId),
    versions: events.map(({ aggregateVersion }) => aggregateVersion),
    times: events.map(({ occurredAt }) => occurredAt),
    correlations: events.map(({ correlationId }) => correlationId),
    // One document: in an array of PostgreSQL every quotation mark of theirs would have to be escaped.
    data: JSON.stringify(events.map(({ data }) => data)),
  };
  return [{ sql: WRITE, bind }];
}

/** Writes events in the caller's transaction. */
export async function writeOutbox(query: Query, events: readonly OutboxEvent[]): Promise<void> {
  for (const { sql, bind } of outboxCommands(events)) await query(sql, bind);
}
