import type { Consumers } from "../../lib/contract/channels";
import { nameOf, type OutboxEvent } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
import type { Consumer } from "./consumer";

/**
 * Where a consumer's events come from. What has been taken and is not done when its transaction ends is had again, by
 * this node or another.
 */
export interface Source {
  /** Whether there may be something to take; nobody opens a transaction for nothing. */
  mayHave(): boolean;
  /** Some of what is new, oldest first, in the transaction in which it is handled. */
  take(query: Query, most: number): Promise<OutboxEvent[]>;
  /** For so long nothing is taken after the last time, which was dear. */
  restMs(): number;
  /** One that was taken, again and alone, unless it is somebody else's by now. */
  takeAgain(query: Query, event: OutboxEvent): Promise<OutboxEvent | undefined>;
  /** Takes away for good what every consumer has heard of, in that transaction, once this one has noted it. */
  settle(query: Query, events: readonly OutboxEvent[]): Promise<void>;
  /** That transaction is committed. */
  done(events: readonly OutboxEvent[]): void;
  /** Gives back what was not done; nothing is taken after that. */
  stop(): Promise<void>;
}

/** @param wake asks for a look within so many milliseconds */
export type SourceOf = (consumer: Consumer, wake: (withinMs: number) => void) => Source;

// Events of which one of the others has not noted yet that it has heard of them stay.
const settleIn = (table: string) => `
  DELETE FROM ${table} o WHERE o.id = ANY ($ids::uuid[])
     AND NOT EXISTS (
       SELECT FROM unnest($shared::uuid[], $others::text[]) AS s (id, consumer)
        WHERE s.id = o.id
          AND (SELECT true FROM inbox i WHERE i.consumer = s.consumer AND i.event_id = s.id LIMIT 1) IS NULL)
  RETURNING o.id`;

/**
 * Takes out of a table what every consumer has heard of.
 *
 * Whoever does so holds the rows: so of two consumers of one event the later sees what the earlier has noted.
 */
export function settling(
  table: "outbox" | "publications",
  { name, consumersOf }: { name: string; consumersOf: Consumers },
) {
  const sql = settleIn(table);
  return async (query: Query, events: readonly OutboxEvent[]): Promise<void> => {
    const pairs = events.flatMap((event) =>
      (consumersOf(nameOf(event)) ?? [])
        .filter((other) => other !== name)
        .map((other) => ({ id: event.id, other })),
    );
    await query(sql, {
      ids: events.map(({ id }) => id),
      shared: pairs.map(({ id }) => id),
      others: pairs.map(({ other }) => other),
    });
  };
}
