/**
 * What the API's contract says of seats, holds, waiting lists and tickets, as a small model in memory that shares
 * no code with the services. Of each act it says what the answer must be, and what is seen afterwards.
 */

export const HOLD_MS = 60_000;
export const OFFER_MS = 120_000;

export interface ModelTicket {
  status: "valid" | "checked_in" | "cancelled";
}

export interface ModelBooking {
  person: number;
  quantity: number;
  /** As it is written; a hold that has lapsed reads expired before that. */
  status: "pending" | "confirmed" | "cancelled" | "expired";
  amount: number;
  /** When the hold lapses. */
  holdUntil: number | null;
  tickets: ModelTicket[];
}

/** What an event is to begin with; times in milliseconds. */
export interface ModelEventStart {
  capacity: number;
  price: number;
  endsAt: number;
}

/** What the answer is: `201`, `409 EVENT_SOLD_OUT`; for who waits with the position. */
export type Outcome = string;

export class ModelEvent {
  capacity: number;
  price: number;
  status: "published" | "postponed" | "cancelled" = "published";
  onSale = true;
  readonly endsAt: number;
  /** In order of making. */
  readonly bookings: ModelBooking[] = [];
  /** In order of arrival. */
  waiting: { person: number; quantity: number }[] = [];

  constructor(start: ModelEventStart) {
    this.capacity = start.capacity;
    this.price = start.price;
    this.endsAt = start.endsAt;
  }

  /** Seats that are shown as taken: a hold counts until its end is written. */
  get taken(): number {
    return this.bookings.reduce((sum, one) => sum + (isActive(one) ? one.quantity : 0), 0);
  }

  private get left(): number {
    return this.capacity - this.taken;
  }

  isOver = (now: number): boolean => this.status === "published" && this.endsAt <= now;

  /** Why nobody may book. */
  private closed(now: number): Outcome | undefined {
    if (this.status !== "published") return "409 EVENT_NOT_BOOKABLE";
    if (this.endsAt <= now) return "409 EVENT_ENDED";
    return this.onSale ? undefined : "409 SALE_ENDED";
  }

  private add(person: number, quantity: number, now: number, holdMs: number): void {
    const priced = this.price > 0;
    this.bookings.push({
      person,
      quantity,
      status: priced ? "pending" : "confirmed",
      amount: this.price * quantity,
      holdUntil: priced ? now + holdMs : null,
      tickets: priced ? [] : newTickets(quantity),
    });
  }

  private expire(now: number): void {
    for (const one of this.bookings) if (hasLapsed(one, now)) one.status = "expired";
  }

  /** First come first served by the quantity that fits. */
  promote(now: number): void {
    if (this.closed(now)) return;
    this.waiting = this.waiting.filter(({ person, quantity }) => {
      if (quantity > this.left) return true;
      this.add(person, quantity, now, OFFER_MS);
      return false;
    });
  }

  private hasSeats = (person: number): boolean =>
    this.bookings.some((one) => one.person === person && isActive(one));

  book(person: number, quantity: number, now: number): Outcome {
    this.sweep(now);
    const closed = this.closed(now);
    if (closed) return closed;
    if (this.hasSeats(person)) return "409 ALREADY_BOOKED";
    if (this.left <= 0) return "409 EVENT_SOLD_OUT";
    if (this.left < quantity) return "409 NOT_ENOUGH_TICKETS";
    this.add(person, quantity, now, HOLD_MS);
    this.leave(person);
    return "201";
  }

  /** Lapsed holds come to their end, and who waits has what fits. */
  sweep(now: number): void {
    this.expire(now);
    this.promote(now);
  }

  wait(person: number, quantity: number, now: number): Outcome {
    this.sweep(now);
    const closed = this.closed(now);
    if (closed) return closed;
    if (this.hasSeats(person)) return "409 ALREADY_BOOKED";
    if (quantity > this.capacity) return "409 NOT_ENOUGH_TICKETS";
    if (this.left >= quantity) return "409 TICKETS_AVAILABLE";
    if (this.waiting.some((one) => one.person === person)) return "409 ALREADY_WAITING";
    this.waiting.push({ person, quantity });
    return `201 as ${this.waiting.length}`;
  }

  leave(person: number): Outcome {
    this.waiting = this.waiting.filter((one) => one.person !== person);
    return "204";
  }

  private end(booking: ModelBooking): void {
    booking.status = "cancelled";
    booking.holdUntil = null;
    for (const ticket of booking.tickets) ticket.status = "cancelled";
  }

  cancel(booking: ModelBooking, now: number): Outcome {
    if (!isActive(booking) || hasLapsed(booking, now)) return "409 BOOKING_NOT_ACTIVE";
    this.end(booking);
    this.promote(now);
    return "204";
  }

  confirm(booking: ModelBooking, now: number): Outcome {
    if (booking.status !== "pending" || hasLapsed(booking, now)) return "409 BOOKING_NOT_ACTIVE";
    booking.status = "confirmed";
    booking.holdUntil = null;
    booking.tickets = newTickets(booking.quantity);
    this.promote(now);
    return "200";
  }

  /** Whether the event's place, price and the like may change. */
  private changeable = (now: number): boolean => this.status !== "cancelled" && !this.isOver(now);

  changeCapacity(capacity: number, now: number): Outcome {
    if (!this.changeable(now)) return "409 INVALID_TRANSITION";
    if (capacity < this.taken) this.sweep(now);
    if (capacity < this.taken) return "409 CAPACITY_BELOW_SOLD";
    const larger = capacity > this.capacity;
    this.capacity = capacity;
    if (larger) this.sweep(now);
    return "200";
  }

  changePrice(price: number, now: number): Outcome {
    if (!this.changeable(now)) return "409 INVALID_TRANSITION";
    this.price = price;
    return "200";
  }

  changeSale(open: boolean, now: number): Outcome {
    if (!this.changeable(now)) return "409 INVALID_TRANSITION";
    const changed = this.onSale !== open;
    this.onSale = open;
    if (changed) this.sweep(now);
    return "200";
  }

  postpone(now: number): Outcome {
    if (this.status !== "published" || this.isOver(now)) return "409 INVALID_TRANSITION";
    this.status = "postponed";
    return "200";
  }

  publish(now: number): Outcome {
    if (this.status !== "postponed" || this.endsAt <= now) return "409 INVALID_TRANSITION";
    this.status = "published";
    this.sweep(now);
    return "200";
  }

  callOff(now: number): Outcome {
    if (!this.changeable(now)) return "409 INVALID_TRANSITION";
    this.status = "cancelled";
    this.expire(now);
    for (const one of this.bookings) if (isActive(one)) this.end(one);
    this.waiting = [];
    return "200";
  }

  checkIn(ticket: ModelTicket): Outcome {
    if (ticket.status === "cancelled") return "404 TICKET_NOT_FOUND";
    if (ticket.status === "checked_in") return "409 ALREADY_CHECKED_IN";
    ticket.status = "checked_in";
    return "200";
  }

  undoCheckIn(ticket: ModelTicket): Outcome {
    if (ticket.status === "cancelled") return "404 TICKET_NOT_FOUND";
    if (ticket.status === "valid") return "409 NOT_CHECKED_IN";
    ticket.status = "valid";
    return "200";
  }
}

export const isActive = ({ status }: ModelBooking): boolean =>
  status === "pending" || status === "confirmed";

const hasLapsed = ({ status, holdUntil }: ModelBooking, now: number): boolean =>
  status === "pending" && holdUntil !== null && holdUntil <= now;

/** What a booking's status reads as. */
export const readStatus = (booking: ModelBooking, now: number): ModelBooking["status"] =>
  hasLapsed(booking, now) ? "expired" : booking.status;

const newTickets = (quantity: number): ModelTicket[] =>
  Array.from({ length: quantity }, () => ({ status: "valid" }));

/** Some events, the people who want seats there, and the time. */
export interface Model {
  readonly began: number;
  now: number;
  events: readonly ModelEvent[];
  /** Those whose accounts are erased. */
  gone: Set<number>;
}
