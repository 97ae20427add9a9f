import ical, { ICalCalendarMethod, ICalEventStatus } from "ical-generator";
import type { Event } from "./events.rules";

const STATUS: Partial<Record<Event["status"], ICalEventStatus>> = {
  published: ICalEventStatus.CONFIRMED,
  completed: ICalEventStatus.CONFIRMED,
  postponed: ICalEventStatus.TENTATIVE,
  draft: ICalEventStatus.TENTATIVE,
  cancelled: ICalEventStatus.CANCELLED,
};

/** Line ends of every kind become the one that is escaped; other control characters have no place in the file. */
const plainText = (text: string): string =>
  text.replace(/\r\n|[\r\u0085\u2028\u2029]/g, "\n").replace(/[^\P{Cc}\n\t]/gu, "");

/**
 * The event as an iCalendar file (RFC 5545). Times are in UTC, so that no calendar needs our zones; the
 * version is the SEQUENCE, so that a calendar that has the event already takes over its changes.
 */
export function calendarOf(event: Event): string {
  const calendar = ical({
    prodId: { company: "Marquee", product: "events" },
    // Without a name: ical-generator writes that one as it is, line ends and all.
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
    summary: plainText(event.title),
    description: event.description && plainText(event.description),
    location: event.location
      ? {
          title: plainText(event.location),
          ...(event.coordinates
            ? { geo: { lat: event.coordinates.lat, lon: event.coordinates.lng } }
            : {}),
        }
      : null,
    categories: event.tags.map((tag) => ({ name: plainText(tag) })),
    status: STATUS[event.status] ?? null,
  });
  return calendar.toString();
}
