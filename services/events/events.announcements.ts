import type { Emit } from "../../lib/contract/define";
import { newId } from "../../lib/ids";
import type { Contracts } from "../contracts";
import { changedFields, type Event } from "./events.rules";

/**
 * The occurrence id of an event's cancellation: its own id as a UUID of version 8. An event is cancelled
 * once, however often that is asked for or taken up again, and so nobody who listens acts twice.
 */
const cancellationId = (eventId: string) => `${eventId.slice(0, 14)}8${eventId.slice(15)}`;

const occurrence = (event: Event, now: Date) => ({
  id: newId(),
  schemaVersion: 1,
  occurredAt: now.toISOString(),
  eventId: event.id,
  version: event.version,
  hostId: event.hostId,
  title: event.title,
  startDateTime: event.startDateTime,
  endDateTime: event.endDateTime,
  timeZone: event.timeZone,
  location: event.location,
});

/** Tells what has become of an event, after the commit. Of drafts nobody hears. */
export const announcements = (emit: Emit<Contracts>, now: Date) => ({
  created(event: Event): void {
    if (event.status !== "draft") emit("events.created", occurrence(event, now));
  },
  updated(before: Event, after: Event, reason: string | null = null): void {
    if (after.status === "draft") return;
    emit("events.updated", {
      ...occurrence(after, now),
      status: after.status,
      titleBefore: before.title,
      changed: changedFields(before, after),
      reason,
    });
  },
  cancelled(event: Event, reason: string | null): void {
    emit("events.cancelled", { ...occurrence(event, now), id: cancellationId(event.id), reason });
  },
  deleted(event: Event): void {
    emit("events.deleted", occurrence(event, now));
  },
});
