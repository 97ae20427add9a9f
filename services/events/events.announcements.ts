import type { OutboxEvent } from "../../lib/contract/outbox-event";
import { happened } from "../contracts";
import { changedFields, type Event } from "./events.rules";

/** What is to be told of a change, to be written in its transaction. */
export type Told = readonly OutboxEvent[];

const factsOf = (event: Event) => ({
  eventId: event.id,
  hostId: event.hostId,
  title: event.title,
  startDateTime: event.startDateTime,
  endDateTime: event.endDateTime,
  timeZone: event.timeZone,
  location: event.location,
});

/**
 * What is told of what has become of an event. Of drafts nobody hears.
 *
 * @param requestId the request in which it happens, if it is one
 */
export function announcements(now: Date, requestId: string | null) {
  const about = (event: Event) => ({
    aggregateId: event.id,
    aggregateVersion: event.version,
    occurredAt: now,
    correlationId: requestId,
  });
  return {
    created: (event: Event): Told =>
      event.status === "draft" ? [] : [happened("events.created", about(event), factsOf(event))],

    updated: (before: Event, after: Event, reason: string | null = null): Told =>
      after.status === "draft"
        ? []
        : [
            happened("events.updated", about(after), {
              ...factsOf(after),
              status: after.status,
              titleBefore: before.title,
              changed: changedFields(before, after),
              reason,
            }),
          ],

    saleStarted: (event: Event): Told => [
      happened("events.saleStarted", about(event), factsOf(event)),
    ],

    reminderDue: (event: Event): Told => [
      happened("events.reminderDue", about(event), factsOf(event)),
    ],

    /** Once, however often a cancellation is asked for or taken up again. */
    cancelled: (before: Event, after: Event, reason: string | null): Told =>
      before.status === "cancelled"
        ? []
        : [happened("events.cancelled", about(after), { ...factsOf(after), reason })],

    deleted: (event: Event): Told => [happened("events.deleted", about(event), factsOf(event))],
  };
}
