import type { Caller } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { Forbidden, ValidationFailed } from "../../lib/errors";
import { checkedLifecycle, type Step } from "../../lib/lifecycle";
import { EventNotFound } from "../events/events.contract";
import {
  AlreadyBooked,
  BookingNotActive,
  BookingNotFound,
  type bookingOfEventShape,
  EventEnded,
  EventNotBookable,
  EventSoldOut,
  NotEnoughTickets,
  SaleEnded,
  SaleNotStarted,
} from "./bookings.contract";
import { type BookingStatus, STATUSES } from "./bookings.validations";

export type Booking = ValueOf<typeof bookingOfEventShape>;

/** What the decision to book looks at, as it is under the event row's lock. */
export interface BookableEvent {
  id: string;
  hostId: string;
  status: string;
  endDateTime: Date;
  saleStartsAt: Date | null;
  saleEndsAt: Date | null;
  price: number;
  capacity: number;
  numberOfAttendees: number;
}

/** The lifecycle of a booking. */
export const LIFECYCLE = checkedLifecycle<Step<BookingStatus>>("booking", STATUSES, [
  { from: "pending", to: "confirmed" },
  { from: "pending", to: "expired" },
  { from: "pending", to: "cancelled" },
  { from: "confirmed", to: "cancelled" },
]);

/**
 * Decides whether a user may book so many seats now; the first reason against it counts, in the order of
 * the API's contract. An event that has begun can be booked until it ends.
 *
 * @param bookedAlready whether the user has an active booking for the event
 * @throws EventNotFound, EventNotBookable, EventEnded, SaleNotStarted, SaleEnded, AlreadyBooked,
 *   EventSoldOut, NotEnoughTickets
 */
export function checkBookable(
  event: BookableEvent,
  request: { quantity: number; bookedAlready: boolean; now: Date },
): void {
  const { quantity, bookedAlready, now } = request;
  const facts = { eventId: event.id };
  if (event.status === "draft") throw new EventNotFound(facts);
  // A seat that costs something needs a hold and a payment, which this version has not.
  if (event.status !== "published" || event.price > 0) throw new EventNotBookable(facts);
  if (event.endDateTime <= now) throw new EventEnded(facts);
  if (event.saleStartsAt && event.saleStartsAt > now) {
    throw new SaleNotStarted({ ...facts, saleStartsAt: event.saleStartsAt.toISOString() });
  }
  if (event.saleEndsAt && event.saleEndsAt <= now) throw new SaleEnded(facts);
  if (bookedAlready) throw new AlreadyBooked(facts);
  const available = event.capacity - event.numberOfAttendees;
  if (available <= 0) throw new EventSoldOut(facts);
  if (available < quantity) throw new NotEnoughTickets({ ...facts, available });
}

/** @throws ValidationFailed for more seats than the operator allows in one booking */
export function checkQuantity(quantity: number, most: number): void {
  if (quantity > most) {
    throw new ValidationFailed({
      errors: [{ field: "quantity", message: `must be ${most} at most` }],
    });
  }
}

/** @throws BookingNotActive when the lifecycle has no way from here to there */
export function checkTransition(from: BookingStatus, to: BookingStatus): void {
  const known = LIFECYCLE.some((step) => step.from === from && step.to === to);
  if (!known) throw new BookingNotActive({ status: from });
}

/** @throws BookingNotFound for whoever is neither owner, nor the event's host, nor an administrator */
export function checkMayRead(booking: Booking, caller: Caller): void {
  const mayRead =
    caller.role === "admin" || caller.id === booking.userId || caller.id === booking.event.host.id;
  if (!mayRead) throw new BookingNotFound({});
}

/** @throws BookingNotFound for whoever is neither owner nor an administrator */
export function checkMayCancel(booking: Booking, caller: Caller): void {
  if (caller.role !== "admin" && caller.id !== booking.userId) throw new BookingNotFound({});
}

/** @throws EventNotFound for somebody else's draft, Forbidden for another host's event */
export function checkHosts(event: { hostId: string; status: string }, caller: Caller): void {
  if (caller.role === "admin" || caller.id === event.hostId) return;
  throw event.status === "draft" ? new EventNotFound({}) : new Forbidden({});
}

/** A booking for its owner: without what only the event's host may know of an attendee. */
export function withoutAttendee({ attendee: _attendee, ...booking }: Booking) {
  return booking;
}
