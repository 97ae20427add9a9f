import type { Caller } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { type AppError, Forbidden, ValidationFailed } from "../../lib/errors";
import { checkedLifecycle, type Step } from "../../lib/lifecycle";
import { EventNotFound } from "../events/events.contract";
import {
  AlreadyBooked,
  BookingNotFound,
  type bookingOfEventShape,
  type bookingShape,
  EventEnded,
  EventNotBookable,
  EventSoldOut,
  NotEnoughTickets,
  SaleEnded,
  SaleNotStarted,
  TicketNotFound,
} from "./bookings.contract";
import { type BookingStatus, STATUSES } from "./bookings.validations";

/** A booking as the event's host sees it. */
export type Booking = ValueOf<typeof bookingOfEventShape>;
/** A booking as its owner sees it. */
export type OwnBooking = ValueOf<typeof bookingShape>;

/** What decisions about an event's seats look at, as it is under the event row's lock. */
export interface BookableEvent {
  id: string;
  status: string;
  endDateTime: Date;
  saleStartsAt: Date | null;
  saleEndsAt: Date | null;
  price: number;
  currency: string | null;
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
 * Why nobody may book an event at this time, whatever seats are left; in the order of the API's contract. An
 * event that has begun can be booked until it ends.
 */
export function notOnSale(event: BookableEvent, now: Date): AppError | undefined {
  const facts = { eventId: event.id };
  if (event.status === "draft") return new EventNotFound(facts);
  if (event.status !== "published") return new EventNotBookable(facts);
  if (event.endDateTime <= now) return new EventEnded(facts);
  if (event.saleStartsAt && event.saleStartsAt > now) {
    return new SaleNotStarted({ ...facts, saleStartsAt: event.saleStartsAt.toISOString() });
  }
  if (event.saleEndsAt && event.saleEndsAt <= now) return new SaleEnded(facts);
  return undefined;
}

/**
 * Why a user may not book so many seats now; the first reason in the order of the API's contract.
 *
 * @param bookedAlready whether the user has an active booking for the event
 */
export function refusal(
  event: BookableEvent,
  request: { quantity: number; bookedAlready: boolean; now: Date },
): AppError | undefined {
  const { quantity, bookedAlready, now } = request;
  const facts = { eventId: event.id };
  const closed = notOnSale(event, now);
  if (closed) return closed;
  if (bookedAlready) return new AlreadyBooked(facts);
  const available = seatsLeft(event);
  if (available <= 0) return new EventSoldOut(facts);
  return available < quantity ? new NotEnoughTickets({ ...facts, available }) : undefined;
}

export const seatsLeft = ({ capacity, numberOfAttendees }: BookableEvent): number =>
  capacity - numberOfAttendees;

/** What seats become when they are taken: a free event's are the attendee's at once, others are held until paid. */
export function terms(
  event: Pick<BookableEvent, "price" | "currency">,
  quantity: number,
  now: Date,
  holdSeconds: number,
) {
  const priced = event.price > 0;
  return {
    status: priced ? "pending" : "confirmed",
    amount: event.price * quantity,
    currency: priced ? event.currency : null,
    holdExpiresAt: priced ? new Date(now.getTime() + holdSeconds * 1000) : null,
  } as const;
}

/** What a booking's status is at a moment: a hold that has lapsed is expired, though nobody has written it yet. */
export function statusAt(
  { status, holdExpiresAt }: { status: BookingStatus; holdExpiresAt: Date | null },
  now: Date,
): BookingStatus {
  const lapsed = status === "pending" && holdExpiresAt !== null && holdExpiresAt <= now;
  return lapsed ? "expired" : status;
}

/** @throws ValidationFailed for more seats than the operator allows in one booking */
export function checkQuantity(quantity: number, most: number): void {
  if (quantity > most) {
    throw new ValidationFailed({
      errors: [{ field: "quantity", message: `must be ${most} at most` }],
    });
  }
}

/** The statuses from which a booking may become `to`. */
export const statusesBefore = (to: BookingStatus): BookingStatus[] =>
  LIFECYCLE.filter((step) => step.to === to).map(({ from }) => from);

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

/** @throws EventNotFound for a draft, of which nobody who does not host it knows */
export function checkShown(event: { status: string }): void {
  if (event.status === "draft") throw new EventNotFound({});
}

/**
 * A ticket of one's own, to be shown at the door.
 *
 * @throws BookingNotFound for somebody else's booking; TicketNotFound for a ticket that is not its or was cancelled
 */
export function ownTicket(booking: Booking, ticketId: string, caller: Caller) {
  if (caller.id !== booking.userId) throw new BookingNotFound({});
  const ticket = booking.tickets.find(
    ({ id, status }) => id === ticketId && status !== "cancelled",
  );
  if (!ticket) throw new TicketNotFound({});
  return ticket;
}

/** A booking for its owner: without what only the event's host may know of an attendee. */
export function withoutAttendee({ attendee: _attendee, ...booking }: Booking) {
  return booking;
}
