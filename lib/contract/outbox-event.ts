import { newId } from "../ids";
import type { EventName, PayloadOf, Registry } from "./define";
import { id, instant, integer, nullable, optional, text } from "./rules";

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

/** What every payload begins with: the part of the envelope that consumers are told. */
export const happening = {
  /** Of this occurrence: who hears of it twice knows it by this. */
  id: id(),
  /** Of the payload's shape; a consumer passes over fields that it does not know. */
  schemaVersion: integer({ min: 1 }),
  occurredAt: instant(),
  /** Of the aggregate after it happened: what has a lower one than was seen before is old. */
  version: integer({ min: 1 }),
  /** The request in which it began; null where it was none's. */
  correlationId: optional(nullable(text({ maxLength: 100, verbatim: true }))),
};

/** What an event's payload says besides what its envelope does. */
export type FactsOf<R extends Registry, N extends EventName<R>> = Omit<
  PayloadOf<R, N>,
  keyof typeof happening
>;

/** The name of an event in its contract: `bookings.confirmed` is what happened to a `booking`. */
export const nameOf = ({ type, action }: Pick<OutboxEvent, "type" | "action">): string =>
  `${type}s.${action}`;

/** As listeners hear it. */
export const payloadOf = (event: OutboxEvent) => ({
  id: event.id,
  schemaVersion: 1,
  version: event.aggregateVersion,
  occurredAt: event.occurredAt.toISOString(),
  correlationId: event.correlationId,
  ...event.data,
});

/** Gives the `happened` of one system, whose names and facts are those of its contracts. */
export function happener<R extends Registry>() {
  /** A new event, to be written to the outbox in the transaction in which it happens. */
  return function happened<N extends EventName<R>>(
    name: N,
    about: Pick<OutboxEvent, "aggregateId" | "aggregateVersion" | "occurredAt" | "correlationId">,
    facts: FactsOf<R, N>,
  ): OutboxEvent {
    const [things = "", action = ""] = name.split(".");
    const event = { id: newId(), type: things.slice(0, -1), action, ...about, data: facts };
    // Of a service whose name is not that of many things nobody would hear.
    if (nameOf(event) !== name)
      throw new Error(`No name for what is written to an outbox: ${name}`);
    return event;
  };
}
