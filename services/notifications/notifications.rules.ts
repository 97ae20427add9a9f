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
  startDateTime: string;
  timeZone: string;
  reason?: string | null;
}
interface BookingFacts {
  bookingId: string;
  eventId: string;
  eventTitle: string;
  quantity: number;
}

const seats = (quantity: number) => (quantity === 1 ? "1 seat" : `${quantity} seats`);

const when = ({ startDateTime, timeZone }: Pick<EventFacts, "startDateTime" | "timeZone">) =>
  new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone }).format(
    new Date(startDateTime),
  );

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

/** What the attendee of a cancelled booking is told. */
export const bookingCancelled = (booking: BookingFacts): Notice =>
  aboutBooking(
    "booking.cancelled",
    booking,
    `Cancelled: ${booking.eventTitle}`,
    `Your booking of ${seats(booking.quantity)} for «${booking.eventTitle}» is cancelled.`,
  );

/** What attendees of a changed or postponed event are told. */
export const eventUpdated = (event: EventFacts & { status: string }): Notice =>
  event.status === "postponed"
    ? aboutEvent(
        "event.updated",
        event,
        `Postponed: ${event.title}`,
        `«${event.title}» is postponed.${because(event.reason)}`,
      )
    : aboutEvent(
        "event.updated",
        event,
        `Changed: ${event.title}`,
        `«${event.title}» has changed; it starts on ${when(event)} (${event.timeZone}).`,
      );

/** What attendees of a cancelled or removed event are told. */
export const eventCancelled = (event: EventFacts): Notice =>
  aboutEvent(
    "event.cancelled",
    event,
    `Cancelled: ${event.title}`,
    `«${event.title}» is cancelled, and your booking with it.${because(event.reason)}`,
  );
