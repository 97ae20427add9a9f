import { defineContract, LONG_WORK_MS } from "../../lib/contract/define";
import { happening } from "../../lib/contract/outbox-event";
import {
  boolean,
  described,
  id,
  instant,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
} from "../../lib/contract/rules";
import { defineError, type Facts } from "../../lib/errors";
import { pageOf } from "../../lib/list";
import { EventNotFound, eventShape } from "../events/events.contract";
import { reason } from "../events/events.validations";
import {
  bookingList,
  CANCEL_REASONS,
  newBooking,
  quantity,
  STATUSES,
} from "./bookings.validations";

type EventFacts = Facts & { eventId: string };

export const BookingNotFound = defineError(
  "BOOKING_NOT_FOUND",
  404,
  "Booking not found",
  () => "There is no such booking.",
);
export const EventNotBookable = defineError<EventFacts>(
  "EVENT_NOT_BOOKABLE",
  409,
  "Event not bookable",
  () => "This event cannot be booked at the moment.",
);
export const EventEnded = defineError<EventFacts>(
  "EVENT_ENDED",
  409,
  "Event ended",
  () => "This event is over.",
);
export const SaleNotStarted = defineError<EventFacts & { saleStartsAt: string }>(
  "SALE_NOT_STARTED",
  409,
  "Sale not started",
  ({ saleStartsAt }) => `The sale starts at ${saleStartsAt}.`,
);
export const SaleEnded = defineError<EventFacts>(
  "SALE_ENDED",
  409,
  "Sale ended",
  () => "The sale is over.",
);
export const AlreadyBooked = defineError<EventFacts>(
  "ALREADY_BOOKED",
  409,
  "Already booked",
  () => "You have a booking for this event; cancel it before you book again.",
);
export const EventSoldOut = defineError<EventFacts>(
  "EVENT_SOLD_OUT",
  409,
  "Event sold out",
  () => "No seat is left.",
);
/** `capacity`: not even all seats that the event has would be enough. */
export const NotEnoughTickets = defineError<EventFacts & { available: number; capacity?: number }>(
  "NOT_ENOUGH_TICKETS",
  409,
  "Not enough tickets",
  ({ available, capacity }) => {
    if (capacity !== undefined) {
      return `This event has only ${capacity === 1 ? "1 seat" : `${capacity} seats`} in all.`;
    }
    return available === 1 ? "Only 1 seat is left." : `Only ${available} seats are left.`;
  },
);
export const BookingNotActive = defineError<Facts & { status: string }>(
  "BOOKING_NOT_ACTIVE",
  409,
  "Booking not active",
  ({ status }) => `This booking is ${status} already.`,
);

export const TicketsAvailable = defineError<EventFacts & { available: number }>(
  "TICKETS_AVAILABLE",
  409,
  "Tickets available",
  ({ available }) =>
    `${available === 1 ? "1 seat is" : `${available} seats are`} free: there is nothing to wait for.`,
);
export const AlreadyWaiting = defineError<EventFacts>(
  "ALREADY_WAITING",
  409,
  "Already waiting",
  () => "You are on the waiting list of this event already.",
);
export const NotWaiting = defineError(
  "WAITLIST_ENTRY_NOT_FOUND",
  404,
  "Not on the waiting list",
  () => "You are not on the waiting list of this event.",
);
export const TicketNotFound = defineError(
  "TICKET_NOT_FOUND",
  404,
  "Ticket not found",
  () => "There is no such ticket for this event.",
);
export const AlreadyCheckedIn = defineError<Facts & { checkedInAt: string }>(
  "ALREADY_CHECKED_IN",
  409,
  "Already checked in",
  ({ checkedInAt }) => `This ticket was checked in at ${checkedInAt}.`,
);
export const NotCheckedIn = defineError(
  "NOT_CHECKED_IN",
  409,
  "Not checked in",
  () => "This ticket is not checked in.",
);

export const TICKET_STATUSES = ["valid", "checked_in", "cancelled"] as const;
const ticketFields = {
  id: id(),
  code: described(text({ maxLength: 200 }), "What its QR code says; shown at the door."),
  status: oneOf(TICKET_STATUSES),
};
const ticketShape = object(ticketFields, "Ticket");

const {
  id: eventId,
  title,
  startDateTime,
  endDateTime,
  timeZone,
  location,
  status,
  host,
} = eventShape.props;
const eventSummary = object(
  { id: eventId, title, startDateTime, endDateTime, timeZone, location, status, host },
  "EventSummary",
);

const bookingFields = {
  id: id(),
  eventId: id(),
  userId: id(),
  quantity: integer({ min: 1 }),
  status: oneOf(STATUSES),
  amount: described(integer({ min: 0 }), "In the currency's minor unit."),
  currency: nullable(text({ maxLength: 3 })),
  holdExpiresAt: nullable(instant()),
  tickets: described(list(ticketShape), "One a seat; none as long as the seats are only held."),
  createdAt: instant(),
  updatedAt: instant(),
};

export const bookingShape = object({ ...bookingFields, event: eventSummary }, "Booking");

const attendeeShape = object(
  { id: id(), name: text({ maxLength: 100 }), email: nullable(text({ maxLength: 254 })) },
  "Attendee",
);

export const bookingOfEventShape = object(
  { ...bookingFields, event: eventSummary, attendee: attendeeShape },
  "BookingOfEvent",
);

const attendeeOfTicket = object({ id: id(), name: text({ maxLength: 100 }) });

/** A ticket as the door sees it. */
export const doorTicketShape = object(
  {
    ...ticketFields,
    bookingId: id(),
    checkedInAt: nullable(instant()),
    attendee: attendeeOfTicket,
  },
  "DoorTicket",
);

/** What every announcement carries. */
const ofEvent = {
  ...happening,
  eventId: id(),
  userId: id(),
  quantity,
  eventTitle: title,
  eventStartDateTime: startDateTime,
  eventTimeZone: timeZone,
};

const occurrence = {
  ...ofEvent,
  bookingId: id(),
  /** Until when the seats are held; null where they are not. */
  holdExpiresAt: nullable(instant()),
  /** Whether the seats came from the waiting list and were not asked for in this moment. */
  fromWaitlist: boolean(),
};

/** What the host has given as the reason of the event's cancellation. */
const explanation = nullable(reason);

/** Whose bookings to list: none of these is everybody's. */
const scope = {
  userId: optional(id()),
  hostId: optional(id()),
  eventId: optional(id()),
};

const missing = { id: BookingNotFound };
const missingEvent = { id: EventNotFound };
const code = text({ minLength: 1, maxLength: 200 });
const door = {
  params: { id: id(), code },
  result: doorTicketShape,
  access: { roles: ["host", "admin"] },
} as const;
const waiting = { position: described(integer({ min: 1 }), "1 is next."), quantity };
const ownBookingsErrors = [
  EventNotFound,
  EventNotBookable,
  EventEnded,
  SaleNotStarted,
  SaleEnded,
  AlreadyBooked,
  EventSoldOut,
  NotEnoughTickets,
];

export const bookings = defineContract({
  name: "bookings",
  description: "Bookings: who has which seats.",
  actions: {
    $create: {
      summary: "Book seats of an event for a user",
      params: { userId: id(), ...newBooking },
      result: bookingShape,
      errors: ownBookingsErrors,
    },
    $confirm: {
      summary: "Make held seats the attendee's own, once they are paid for",
      params: { id: id() },
      result: bookingShape,
      errors: [BookingNotFound, BookingNotActive, EventNotBookable],
    },
    $tidyUp: {
      summary:
        "Free the seats of an event's lapsed holds, and give what is free to those who wait, as far as they fit",
      timeoutMs: LONG_WORK_MS,
      params: {
        eventId: id(),
        withinMs: described(
          optional(integer({ min: 0, max: LONG_WORK_MS })),
          "In so many milliseconds, or as much of it as can be done.",
        ),
      },
      result: object({
        expired: described(integer({ min: 0 }), "Holds that had lapsed."),
        promoted: described(integer({ min: 0 }), "People who have seats now."),
      }),
    },
    $update: {
      summary: "Cancel a booking for a reason; its seats are free again",
      params: { id: id(), status: oneOf(["cancelled"]), reason: oneOf(CANCEL_REASONS) },
      result: bookingShape,
      errors: [BookingNotFound, BookingNotActive],
    },
    $delete: {
      summary:
        "Cancel all active bookings of an event or of a user; waiting ends with a cancelled event, and with a user",
      timeoutMs: LONG_WORK_MS,
      params: { eventId: optional(id()), userId: optional(id()), reason: oneOf(CANCEL_REASONS) },
      result: object({ cancelled: integer({ min: 0 }) }),
    },
    $find: {
      summary: "Find a booking",
      params: { id: id() },
      result: bookingShape,
      errors: [BookingNotFound],
    },
    $list: {
      summary: "List bookings of a user, of a host's events, of an event, or all",
      params: { ...bookingList, ...scope },
      result: pageOf(bookingOfEventShape),
    },
    create: {
      summary: "Book seats",
      params: newBooking,
      result: bookingShape,
      access: { roles: ["attendee"] },
      rest: {
        method: "POST",
        path: "/bookings",
        status: 201,
        location: "/bookings/:id",
        idempotent: true,
      },
      shardBy: "eventId",
      errors: ownBookingsErrors,
    },
    list: {
      summary: "An attendee's own bookings, a host's events' bookings, an administrator's all",
      params: { ...bookingList, eventId: optional(id()) },
      result: pageOf(bookingShape),
      access: "signedIn",
      rest: { method: "GET", path: "/bookings" },
    },
    listMine: {
      summary: "Own bookings",
      params: { ...bookingList, eventId: optional(id()) },
      result: pageOf(bookingShape),
      access: "signedIn",
      rest: { method: "GET", path: "/bookings/my-bookings" },
    },
    find: {
      summary: "One booking: for its owner, the event's host and administrators",
      params: { id: id() },
      result: bookingShape,
      access: "signedIn",
      rest: { method: "GET", path: "/bookings/:id", missing },
      errors: [BookingNotFound],
    },
    cancel: {
      summary: "Cancel a booking; its seats are free again at once",
      params: { id: id() },
      result: null,
      access: "signedIn",
      rest: { method: "DELETE", path: "/bookings/:id", missing },
      errors: [BookingNotFound, BookingNotActive],
    },
    listOfEvent: {
      summary: "Bookings of an event with their attendees",
      params: { id: id(), ...bookingList },
      result: pageOf(bookingOfEventShape),
      access: { roles: ["host", "admin"] },
      rest: { method: "GET", path: "/events/:id/bookings", missing: missingEvent },
      errors: [EventNotFound],
    },
    joinWaitlist: {
      summary: "Wait for seats of an event that has too few",
      params: { id: id(), quantity: newBooking.quantity },
      result: object(waiting, "WaitlistEntry"),
      access: { roles: ["attendee"] },
      rest: {
        method: "POST",
        path: "/events/:id/waitlist",
        status: 201,
        location: "/events/:id/waitlist",
        missing: missingEvent,
        idempotent: true,
      },
      errors: [
        EventNotFound,
        EventNotBookable,
        EventEnded,
        SaleNotStarted,
        SaleEnded,
        AlreadyBooked,
        NotEnoughTickets,
        TicketsAvailable,
        AlreadyWaiting,
      ],
    },
    findWaitlist: {
      summary: "One's own place on the waiting list",
      params: { id: id() },
      result: object(waiting, "WaitlistEntry"),
      access: { roles: ["attendee"] },
      rest: { method: "GET", path: "/events/:id/waitlist", missing: missingEvent },
      errors: [EventNotFound, NotWaiting],
    },
    leaveWaitlist: {
      summary: "Leave the waiting list, also when not on it",
      params: { id: id() },
      result: null,
      access: { roles: ["attendee"] },
      rest: { method: "DELETE", path: "/events/:id/waitlist", missing: missingEvent },
      errors: [EventNotFound],
    },
    checkIn: {
      ...door,
      summary: "Let somebody in: once for each ticket",
      rest: { method: "POST", path: "/events/:id/check-in", missing: missingEvent },
      errors: [EventNotFound, TicketNotFound, AlreadyCheckedIn],
    },
    undoCheckIn: {
      ...door,
      summary: "Take a check-in back",
      rest: { method: "POST", path: "/events/:id/check-in/undo", missing: missingEvent },
      errors: [EventNotFound, TicketNotFound, NotCheckedIn],
    },
    gateKey: {
      summary: "The key by which a gate of this event tells forged ticket codes without a network",
      params: { id: id() },
      result: object({
        eventId: id(),
        key: described(text({ maxLength: 64 }), "32 bytes in hex."),
      }),
      access: { roles: ["host", "admin"] },
      rest: { method: "GET", path: "/events/:id/gate-key", missing: missingEvent, secret: true },
      errors: [EventNotFound],
    },
    ticketQr: {
      summary: "A ticket's QR code",
      params: { id: id(), ticketId: id() },
      result: text({ maxLength: 100_000, multiline: true }),
      access: "signedIn",
      rest: {
        method: "GET",
        path: "/bookings/:id/tickets/:ticketId/qr.svg",
        missing: { id: BookingNotFound, ticketId: TicketNotFound },
        contentType: "image/svg+xml",
      },
      errors: [BookingNotFound, TicketNotFound],
    },
  },
  consumes: ["events.updated"],
  events: {
    "bookings.held": {
      summary: "Seats are held until they are paid for",
      payload: object(occurrence),
    },
    "bookings.confirmed": { summary: "Seats were booked", payload: object(occurrence) },
    "bookings.expired": {
      summary: "A hold has lapsed; its seats are free again",
      payload: object(occurrence),
    },
    "bookings.cancelled": {
      summary: "A booking was cancelled",
      payload: object({
        ...occurrence,
        reason: oneOf(CANCEL_REASONS),
        explanation: optional(explanation),
      }),
    },
    "bookings.waitingEnded": {
      summary: "Somebody's place on a waiting list has gone with the event",
      payload: object({
        ...ofEvent,
        entryId: id(),
        explanation,
      }),
    },
  },
});
