export const TYPES = [
  "booking.confirmed",
  "booking.cancelled",
  "booking.expired",
  "event.created",
  "event.updated",
  "event.cancelled",
  "event.reminder",
  "sale.started",
  "waitlist.promoted",
  "payment.succeeded",
  "payment.refunded",
] as const;
export type NotificationType = (typeof TYPES)[number];

/** Those who are told the same, of a host or of an event. */
export const AUDIENCES = ["followers", "interested", "attendees", "confirmed"] as const;
export type Audience = (typeof AUDIENCES)[number];

/** What a person is told, before it is stored for them. */
export interface Notice {
  type: NotificationType;
  title: string;
  body: string;
  data: { eventId: string | null; bookingId: string | null; reason: string | null };
  eventId: string | null;
}

interface EventFacts {
  eventId: string;
  title: string;
  reason?: string | null;
}
interface TimeAndPlace extends EventFacts {
  startDateTime: string;
  timeZone: string;
  location: string | null;
}
/** What has become of an event, and in which fields it is another than before. */
interface ChangeFacts extends TimeAndPlace {
  titleBefore: string;
  endDateTime: string;
  status: string;
  changed: readonly string[];
}
interface BookingFacts {
  bookingId: string;
  eventId: string;
  eventTitle: string;
  quantity: number;
}
/** Something that somebody had of an event, which ended with it. */
interface EndFacts {
  eventId: string;
  eventTitle: string;
  /** What the host has given as the reason. */
  explanation: string | null;
}

const seats = (quantity: number) => (quantity === 1 ? "1 seat" : `${quantity} seats`);

/** A moment on the event's own clock. */
const when = (moment: string, timeZone: string) => {
  const clock = { dateStyle: "full", timeStyle: "short", timeZone } as const;
  return `${new Intl.DateTimeFormat("en-GB", clock).format(new Date(moment))} (${timeZone})`;
};

const at = ({ location }: TimeAndPlace) => (location ? `, at «${location}»` : "");

/** What has changed of that which an attendee goes by, a sentence each. */
function news(event: ChangeFacts): string {
  const { title, startDateTime, endDateTime, timeZone, location, changed } = event;
  const sentences: [field: string, sentence: string][] = [
    ["title", `New title: «${title}».`],
    ["startDateTime", `New start: ${when(startDateTime, timeZone)}.`],
    ["endDateTime", `New end: ${when(endDateTime, timeZone)}.`],
    ["timeZone", `New time zone: ${timeZone}.`],
    ["location", location ? `New place: «${location}».` : "New place: to be announced."],
  ];
  return sentences.map(([field, words]) => (changed.includes(field) ? ` ${words}` : "")).join("");
}

/** A reason that was given, as a sentence of its own. */
const because = (reason: string | null | undefined) => (reason ? ` Reason: ${reason}` : "");

const aboutEvent = (
  type: NotificationType,
  event: EventFacts,
  title: string,
  body: string,
): Notice => ({
  type,
  title,
  body,
  data: { eventId: event.eventId, bookingId: null, reason: event.reason ?? null },
  eventId: event.eventId,
});

const aboutBooking = (
  type: NotificationType,
  booking: BookingFacts,
  title: string,
  body: string,
): Notice => ({
  type,
  title,
  body,
  data: { eventId: booking.eventId, bookingId: booking.bookingId, reason: null },
  eventId: booking.eventId,
});

/** What the attendee of a new booking is told. */
export const bookingConfirmed = (booking: BookingFacts): Notice =>
  aboutBooking(
    "booking.confirmed",
    booking,
    `Booked: ${booking.eventTitle}`,
    `You have ${seats(booking.quantity)} for «${booking.eventTitle}».`,
  );

/** What somebody from the waiting list is told once there are seats for them: theirs at once, or theirs to pay. */
export const promoted = (
  booking: BookingFacts & { holdExpiresAt: string | null; eventTimeZone: string },
): Notice => {
  const { quantity, eventTitle, holdExpiresAt, eventTimeZone: timeZone } = booking;
  const until = holdExpiresAt && when(holdExpiresAt, timeZone);
  return aboutBooking(
    "waitlist.promoted",
    booking,
    `Your turn: ${eventTitle}`,
    until
      ? `${seats(quantity)} for «${eventTitle}» ${quantity === 1 ? "is" : "are"} held for you until ${until}.`
      : `You waited for ${seats(quantity)} for «${eventTitle}», and now you have ${quantity === 1 ? "it" : "them"}.`,
  );
};

/** What somebody is told whose hold has lapsed. */
export const bookingExpired = (booking: BookingFacts): Notice =>
  aboutBooking(
    "booking.expired",
    booking,
    `Expired: ${booking.eventTitle}`,
    `Your hold of ${seats(booking.quantity)} for «${booking.eventTitle}» has expired; the seats are no longer held for you.`,
  );

/** What the attendee of a cancelled booking is told. */
export const bookingCancelled = (booking: BookingFacts): Notice =>
  aboutBooking(
    "booking.cancelled",
    booking,
    `Cancelled: ${booking.eventTitle}`,
    `Your booking of ${seats(booking.quantity)} for «${booking.eventTitle}» is cancelled.`,
  );

/** What the followers of a host are told of a new event. */
export function eventCreated(event: TimeAndPlace): Notice {
  const { title, startDateTime, timeZone } = event;
  return aboutEvent(
    "event.created",
    event,
    `New: ${title}`,
    `A host you follow has published «${title}». It starts on ${when(startDateTime, timeZone)}${at(event)}.`,
  );
}

/** What those are told who wanted to know when the sale of an event starts. */
export const saleStarted = (event: EventFacts): Notice =>
  aboutEvent(
    "sale.started",
    event,
    `On sale: ${event.title}`,
    `«${event.title}» can be booked from now on.`,
  );

/** What attendees are told of an event that is near. */
export function eventReminder(event: TimeAndPlace): Notice {
  const { title, startDateTime, timeZone } = event;
  return aboutEvent(
    "event.reminder",
    event,
    `Soon: ${title}`,
    `«${title}» starts on ${when(startDateTime, timeZone)}${at(event)}.`,
  );
}

/** What attendees of an event are told that was postponed, published again or otherwise changed. */
export function eventUpdated(event: ChangeFacts): Notice {
  const { title, titleBefore, status, changed } = event;
  const about = (words: string, body: string) =>
    aboutEvent("event.updated", event, words, `${body}${because(event.reason)}`);
  if (changed.includes("status") && status === "postponed") {
    const until = news(event) || " Its new times will be announced.";
    return about(`Postponed: ${title}`, `«${title}» is postponed.${until}`);
  }
  if (changed.includes("status") && status === "published") {
    const start = when(event.startDateTime, event.timeZone);
    return about(`On again: ${title}`, `«${title}» is on again. It starts on ${start}.`);
  }
  const still = status === "postponed" ? " It is still postponed." : "";
  const what = news(event) || " See its details.";
  return about(`Changed: ${titleBefore}`, `«${titleBefore}» has changed.${what}${still}`);
}

const cancelledWith = ({ eventId, eventTitle, explanation }: EndFacts, what: string): Notice =>
  aboutEvent(
    "event.cancelled",
    { eventId, title: eventTitle, reason: explanation },
    `Cancelled: ${eventTitle}`,
    `«${eventTitle}» is cancelled, and ${what} with it.${because(explanation)}`,
  );

/** What the attendee of a cancelled or removed event is told. */
export const eventCancelled = (end: EndFacts): Notice => cancelledWith(end, "your booking");

/** What somebody is told who waited for seats of one. */
export const waitingEnded = (end: EndFacts): Notice =>
  cancelledWith(end, "your place on its waiting list");
