import { defineContract, LONG_WORK_MS } from "../../lib/contract/define";
import {
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
export const NotEnoughTickets = defineError<EventFacts & { available: number }>(
  "NOT_ENOUGH_TICKETS",
  409,
  "Not enough tickets",
  ({ available }) =>
    available === 1 ? "Only 1 seat is left." : `Only ${available} seats are left.`,
);
export const BookingNotActive = defineError<Facts & { status: string }>(
  "BOOKING_NOT_ACTIVE",
  409,
  "Booking not active",
  ({ status }) => `This booking is ${status} already.`,
);

const ticketShape = object(
  { id: id(), code: text({ maxLength: 200 }), status: oneOf(["valid", "cancelled"]) },
  "Ticket",
);

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
  tickets: list(ticketShape),
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

const occurrence = {
  id: id(),
  schemaVersion: integer({ min: 1 }),
  occurredAt: instant(),
  bookingId: id(),
  eventId: id(),
  userId: id(),
  quantity,
  eventTitle: title,
  eventStartDateTime: startDateTime,
};

/** Whose bookings to list: none of these is everybody's. */
const scope = {
  userId: optional(id()),
  hostId: optional(id()),
  eventId: optional(id()),
};

const missing = { id: BookingNotFound };
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
    $update: {
      summary: "Cancel a booking for a reason; its seats are free again",
      params: { id: id(), status: oneOf(["cancelled"]), reason: oneOf(CANCEL_REASONS) },
      result: bookingShape,
      errors: [BookingNotFound, BookingNotActive],
    },
    $delete: {
      summary: "Cancel all active bookings of an event or of a user",
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
    $attendees: {
      summary:
        "People with a booking of an event: active ones, or those cancelled with the event; by user id",
      params: {
        eventId: id(),
        booked: oneOf(["active", "event_cancelled", "event_deleted"]),
        after: optional(id()),
        limit: integer({ min: 1, max: 1000 }),
      },
      result: object({ userIds: list(id()) }),
    },
    create: {
      summary: "Book seats",
      params: newBooking,
      result: bookingShape,
      access: { roles: ["attendee"] },
      rest: { method: "POST", path: "/bookings", status: 201, location: "/bookings/:id" },
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
      rest: { method: "GET", path: "/events/:id/bookings", missing: { id: EventNotFound } },
      errors: [EventNotFound],
    },
  },
  events: {
    "bookings.confirmed": { summary: "Seats were booked", payload: object(occurrence) },
    "bookings.cancelled": {
      summary: "A booking was cancelled",
      payload: object({ ...occurrence, reason: oneOf(CANCEL_REASONS) }),
    },
  },
});
