import ical, { ICalCalendarMethod, ICalEventStatus } from "ical-generator";
import type { Event } from "./events.rules";

const STATUS: Partial<Record<Event["status"], ICalEventStatus>> = {
  published: ICalEventStatus.CONFIRMED,
  completed: ICalEventStatus.CONFIRMED,
  postponed: ICalEventStatus.TENTATIVE,
  draft: ICalEventStatus.TENTATIVE,
  cancelled: ICalEventStatus.CANCELLED,
};

/**
 * The event as an iCalendar file (RFC 5545). Times are in UTC, so that no calendar needs our zones; the
 * version is the SEQUENCE, so that a calendar that has the event already takes over its changes.
 */
export function calendarOf(event: Event): string {
  const calendar = ical({
    prodId: { company: "Marquee", product: "events" },
    name: event.title,
    method: ICalCalendarMethod.PUBLISH,
  });
  calendar.createEvent({
    id: `${event.id}@marquee`,
    sequence: event.version,
    start: new Date(event.startDateTime),
    end: new Date(event.endDateTime),
    stamp: new Date(event.updatedAt),
    created: new Date(event.createdAt),
    lastModified: new Date(event.updatedAt),
    summary: event.title,
    description: event.description,
    location: event.location
      ? {
          title: event.location,
          ...(event.coordinates
            ? { geo: { lat: event.coordinates.lat, lon: event.coordinates.lng } }
            : {}),
        }
      : null,
    categories: event.tags.map((name) => ({ name })),
    status: STATUS[event.status] ?? null,
  });
  return calendar.toString();
}
