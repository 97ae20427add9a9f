/**
 * What happens to an event's seats, each step inside a transaction that holds the event's row. Whoever holds
 * that row decides about the event's seats, holds and waiting list alone.
 *
 * Lock order: events by id, then users (FOR KEY SHARE: nothing but their erasure waits for us, or we for it),
 * then bookings, the waiting list, tickets and the rest.
 */
import type { Command, Query } from "../../lib/database";
import { newId } from "../../lib/ids";
import { outboxCommands, writeOutbox } from "../../mixins/outbox";
import { happened } from "../contracts";
import { type BookableEvent, notOnSale, seatsLeft, statusesBefore, terms } from "./bookings.rules";
import type { BookingStatus, CancelReason } from "./bookings.validations";

/** Rows changed in one transaction at the most, so that an event's row is never locked for long. */
export const CHUNK = 500;

/** An event whose row this transaction holds; its counter is kept up as seats are taken and freed. */
export interface LockedEvent extends BookableEvent {
  hostId: string;
  hostName: string;
  title: string;
  startDateTime: Date;
  timeZone: string;
  location: string | null;
  ticketKey: Buffer;
}

/** Seats as they are written. */
export interface NewSeats {
  id: string;
  event: LockedEvent;
  userId: string;
  quantity: number;
  status: "pending" | "confirmed";
  amount: number;
  currency: string | null;
  holdExpiresAt: Date | null;
  fromWaitlist: boolean;
  ticketIds: string[];
  requestId: string | null;
}

/** A booking as a change leaves it. */
interface ChangedBooking {
  id: string;
  userId: string;
  quantity: number;
  version: number;
}

/** The statuses from which the lifecycle lets a booking become `to`, as SQL; of this code's own words alone. */
const before = (to: BookingStatus) =>
  statusesBefore(to)
    .map((status) => `'${status}'`)
    .join(", ");

const EVENT_COLUMNS = `e.id, e.host_id AS "hostId", e.title, e.status, e.start_date_time AS "startDateTime",
  e.end_date_time AS "endDateTime", e.time_zone AS "timeZone", e.location, e.sale_starts_at AS "saleStartsAt",
  e.sale_ends_at AS "saleEndsAt", e.price, e.currency, e.capacity,
  e.number_of_attendees AS "numberOfAttendees", e.ticket_key AS "ticketKey"`;

// FOR NO KEY UPDATE: who wants an event's seats queues here and reads what the one before has left, while rows
// that merely refer to the event are written without waiting. In order of id, so that two who lock the same
// events never wait for each other. SKIP LOCKED leaves out what somebody else holds.
const lockStatement = (how: "" | "SKIP LOCKED") => `
  WITH locked AS MATERIALIZED (
    SELECT ${EVENT_COLUMNS} FROM events e
     WHERE e.id = ANY ($ids::uuid[]) AND (e.deleted_at IS NULL OR $removedToo)
     ORDER BY e.id FOR NO KEY UPDATE ${how})
  SELECT l.*, asked.id, l.id IS NOT NULL AS locked, h.name AS "hostName"
    FROM events asked LEFT JOIN locked l ON l.id = asked.id LEFT JOIN users h ON h.id = l."hostId"
   WHERE asked.id = ANY ($ids::uuid[]) AND (asked.deleted_at IS NULL OR $removedToo)`;
const LOCK_AND_WAIT = lockStatement("");
const LOCK_WHAT_IS_FREE = lockStatement("SKIP LOCKED");

/**
 * Locks events. What is missing from the answer does not exist.
 *
 * @param options.wait false: an event that somebody else holds is given as `held`
 * @param options.removedToo whether one that was removed, but kept for those who had booked it, is there
 */
export async function lockEvents(
  query: Query,
  ids: readonly string[],
  options: { wait: boolean; removedToo?: boolean },
): Promise<Map<string, LockedEvent | "held">> {
  const rows = await query<LockedEvent & { locked: boolean }>(
    options.wait ? LOCK_AND_WAIT : LOCK_WHAT_IS_FREE,
    { ids: [...new Set(ids)], removedToo: options.removedToo ?? false },
  );
  return new Map(rows.map(({ locked, ...event }) => [event.id, locked ? event : "held"]));
}

/** Waits for one event's row; undefined where there is none. */
export async function lockEvent(
  query: Query,
  id: string,
  options?: { removedToo: boolean },
): Promise<LockedEvent | undefined> {
  const event = (await lockEvents(query, [id], { wait: true, ...options })).get(id);
  // Held is what nobody waits for; for this one we did.
  return event === "held" ? undefined : event;
}

/** What is told of an event of which somebody has something. */
export const factsOfEvent = (event: LockedEvent) => ({
  eventId: event.id,
  eventTitle: event.title,
  eventStartDateTime: event.startDateTime.toISOString(),
  eventTimeZone: event.timeZone,
});

/** What is told of a booking, whatever has become of it. */
const factsOfBooking = (
  event: LockedEvent,
  { id, userId, quantity }: ChangedBooking,
  { holdExpiresAt = null, fromWaitlist = false }: Partial<NewSeats> = {},
) => ({
  bookingId: id,
  userId,
  quantity,
  ...factsOfEvent(event),
  holdExpiresAt: holdExpiresAt?.toISOString() ?? null,
  fromWaitlist,
});

const aboutBooking = ({ id, version }: ChangedBooking, now: Date, requestId: string | null) => ({
  aggregateId: id,
  aggregateVersion: version,
  occurredAt: now,
  correlationId: requestId,
});

/** Makes ready what `seatsCommand` writes; the caller has seen that the seats are free. */
export function newSeats(
  event: LockedEvent,
  who: { userId: string; quantity: number },
  now: Date,
  how: { holdSeconds: number; fromWaitlist: boolean; requestId: string | null },
): NewSeats {
  const agreed = terms(event, who.quantity, now, how.holdSeconds);
  const { fromWaitlist, requestId } = how;
  // Seats that are only held have no tickets yet: whoever has not paid has nothing to show at the door.
  const tickets = agreed.status === "confirmed" ? who.quantity : 0;
  const ticketIds = Array.from({ length: tickets }, newId);
  return { id: newId(), event, ...who, ...agreed, fromWaitlist, requestId, ticketIds };
}

// The event's row first: rows that refer to it are written to a row that this transaction has changed already,
// which saves PostgreSQL a list of lockers for each (a multixact).
const INSERT_SEATS = `
  WITH seats AS (
    UPDATE events e SET number_of_attendees = e.number_of_attendees + s.taken
      FROM unnest($events::uuid[], $taken::int[]) AS s (id, taken) WHERE e.id = s.id),
  made AS (
    INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, currency, hold_expires_at,
                          created_at, updated_at)
    SELECT *, $now::timestamptz, $now::timestamptz
      FROM unnest($ids::uuid[], $eventIds::uuid[], $userIds::uuid[], $hostIds::uuid[], $quantities::int[],
                  $statuses::text[], $amounts::bigint[], $currencies::text[], $holds::timestamptz[]))
  INSERT INTO tickets (id, booking_id, status, created_at)
  SELECT t.id, t.booking_id, 'valid', $now::timestamptz
    FROM unnest($ticketIds::uuid[], $ticketBookings::uuid[]) AS t (id, booking_id)`;

/** Writes seats and counts them in their events; what is told of them is a command of its own. */
export function seatsCommand(seats: readonly NewSeats[], now: Date): Command {
  const taken = new Map<string, number>();
  for (const { event, quantity } of seats) {
    taken.set(event.id, (taken.get(event.id) ?? 0) + quantity);
  }
  return {
    sql: INSERT_SEATS,
    bind: {
      now,
      events: [...taken.keys()],
      taken: [...taken.values()],
      ids: seats.map(({ id }) => id),
      eventIds: seats.map(({ event }) => event.id),
      userIds: seats.map(({ userId }) => userId),
      hostIds: seats.map(({ event }) => event.hostId),
      quantities: seats.map(({ quantity }) => quantity),
      statuses: seats.map(({ status }) => status),
      amounts: seats.map(({ amount }) => amount),
      currencies: seats.map(({ currency }) => currency),
      holds: seats.map(({ holdExpiresAt }) => holdExpiresAt),
      ticketIds: seats.flatMap(({ ticketIds }) => ticketIds),
      ticketBookings: seats.flatMap(({ id, ticketIds }) => ticketIds.map(() => id)),
    },
  };
}

/** Tells of seats that are written in the same transaction. */
export const tellingCommands = (seats: readonly NewSeats[], now: Date): Command[] =>
  outboxCommands(
    seats.map((made) => {
      const booking = { ...made, version: 1 };
      return happened(
        made.status === "pending" ? "bookings.held" : "bookings.confirmed",
        aboutBooking(booking, now, made.requestId),
        factsOfBooking(made.event, booking, made),
      );
    }),
  );

const LEAVE = `
  DELETE FROM waitlist w USING unnest($eventIds::uuid[], $userIds::uuid[]) AS gone (event_id, user_id)
   WHERE w.event_id = gone.event_id AND w.user_id = gone.user_id`;

/** Takes people off the waiting lists of events in which they have seats now. */
export function leavingCommands(seats: readonly NewSeats[]): Command[] {
  if (seats.length === 0) return [];
  const bind = {
    eventIds: seats.map(({ event }) => event.id),
    userIds: seats.map(({ userId }) => userId),
  };
  return [{ sql: LEAVE, bind }];
}

const COUNT_DOWN = `
  UPDATE events SET number_of_attendees = number_of_attendees - $freed::int WHERE id = $eventId::uuid`;

async function countDown(query: Query, event: LockedEvent, bookings: readonly ChangedBooking[]) {
  const freed = bookings.reduce((sum, { quantity }) => sum + quantity, 0);
  if (freed === 0) return;
  await query(COUNT_DOWN, { eventId: event.id, freed });
  event.numberOfAttendees -= freed;
}

const EXPIRE = `
  UPDATE bookings SET status = 'expired', version = version + 1, updated_at = $now::timestamptz
   WHERE id IN (SELECT id FROM bookings
                 WHERE event_id = $eventId::uuid AND status IN (${before("expired")})
                   AND hold_expires_at <= $now::timestamptz
                 ORDER BY hold_expires_at LIMIT ${CHUNK})
  RETURNING id, user_id AS "userId", quantity, version`;

/** Frees the seats of holds that have lapsed, a chunk of them; gives how many there were. */
export async function expireHolds(query: Query, event: LockedEvent, now: Date): Promise<number> {
  const expired = await query<ChangedBooking>(EXPIRE, { eventId: event.id, now });
  await countDown(query, event, expired);
  await writeOutbox(
    query,
    expired.map((booking) =>
      happened(
        "bookings.expired",
        aboutBooking(booking, now, null),
        factsOfBooking(event, booking),
      ),
    ),
  );
  return expired.length;
}

// By quantity, because those who fit may be few among very many. Then who of them are there: whoever is being erased
// in this moment is passed over, and nobody waits for that. FOR KEY SHARE: an erasure waits for us and finds the
// booking. Not a join with users: with stale statistics the planner would read all there are.
const NEXT_WAITING = `
  WITH next AS MATERIALIZED (
    SELECT w.id, w.user_id, w.quantity, w.arrival
      FROM generate_series(1, least($left::int, (SELECT max(quantity) FROM waitlist WHERE event_id = $eventId::uuid)))
             AS size (seats)
     CROSS JOIN LATERAL (
           SELECT * FROM waitlist WHERE event_id = $eventId::uuid AND quantity = size.seats
            ORDER BY arrival LIMIT ${CHUNK}) w
     ORDER BY w.arrival LIMIT ${CHUNK})
  SELECT n.id, n.user_id AS "userId", n.quantity,
         (SELECT true FROM users u WHERE u.id = n.user_id AND u.deleted_at IS NULL
             FOR KEY SHARE SKIP LOCKED) IS NOT NULL AS there
    FROM next n ORDER BY n.arrival`;

/** Whether anybody who waits for an event would fit now. */
export async function somebodyFits(query: Query, event: LockedEvent): Promise<boolean> {
  return (await nextWaiting(query, event)).some(({ there }) => there);
}

const nextWaiting = (query: Query, event: LockedEvent) =>
  query<{ id: string; userId: string; quantity: number; there: boolean }>(NEXT_WAITING, {
    eventId: event.id,
    left: seatsLeft(event),
  });

// Whoever leaves in this very moment is not among those given back, and gets no seats.
const TAKE_OFF = `DELETE FROM waitlist WHERE id = ANY ($ids::uuid[]) RETURNING id`;

/**
 * Gives free seats to those who wait, first come first served by the quantity that fits; a chunk of them.
 *
 * @returns how many got seats, and whether there may be more who fit
 */
export async function promoteWaiting(
  query: Query,
  event: LockedEvent,
  now: Date,
  offerSeconds: number,
): Promise<{ promoted: number; more: boolean }> {
  if (notOnSale(event, now) || seatsLeft(event) <= 0) return { promoted: 0, more: false };
  const waiting = await nextWaiting(query, event);
  let left = seatsLeft(event);
  const fitting = waiting.filter(({ quantity, there }) => {
    if (!there || quantity > left) return false;
    left -= quantity;
    return true;
  });
  if (fitting.length === 0) return { promoted: 0, more: false };
  const taken = await query<{ id: string }>(TAKE_OFF, { ids: fitting.map(({ id }) => id) });
  const still = new Set(taken.map(({ id }) => id));
  const how = { holdSeconds: offerSeconds, fromWaitlist: true, requestId: null };
  const seats = fitting
    .filter(({ id }) => still.has(id))
    .map(({ userId, quantity }) => newSeats(event, { userId, quantity }, now, how));
  if (seats.length > 0) {
    const commands = [seatsCommand(seats, now), ...tellingCommands(seats, now)];
    for (const { sql, bind } of commands) await query(sql, bind);
  }
  event.numberOfAttendees += seats.reduce((sum, { quantity }) => sum + quantity, 0);
  // The seats of those who have just left are the next one's.
  if (seats.length < fitting.length) {
    const { promoted, more } = await promoteWaiting(query, event, now, offerSeconds);
    return { promoted: seats.length + promoted, more };
  }
  // Only a full chunk may have cut somebody off; else all who fit have been looked at.
  return { promoted: seats.length, more: waiting.length === CHUNK };
}

/** What has become of an event's seats that were due. */
export interface Tidied {
  /** Holds that had lapsed. */
  expired: number;
  /** People who waited and have seats now. */
  promoted: number;
}

/**
 * Frees the seats of lapsed holds and gives what is free to those who wait; a chunk of both.
 *
 * @param due what is known to be there; both unless told
 * @returns how many there were, and whether there may be more
 */
export async function tidyUp(
  query: Query,
  event: LockedEvent,
  now: Date,
  offerSeconds: number,
  due: { lapsed: boolean; waited: boolean } = { lapsed: true, waited: true },
): Promise<Tidied & { more: boolean }> {
  const expired = due.lapsed ? await expireHolds(query, event, now) : 0;
  const { promoted, more } = due.waited
    ? await promoteWaiting(query, event, now, offerSeconds)
    : { promoted: 0, more: false };
  return { expired, promoted, more: more || expired === CHUNK };
}

// A hold that has lapsed is expired, whoever has written that already.
const CANCEL = `
  UPDATE bookings SET status = 'cancelled', cancel_reason = $reason, hold_expires_at = NULL,
         version = version + 1, updated_at = $now::timestamptz
   WHERE id = ANY ($ids::uuid[]) AND status IN (${before("cancelled")})
     AND (hold_expires_at IS NULL OR hold_expires_at > $now::timestamptz)
  RETURNING id, user_id AS "userId", quantity, version`;

const CANCEL_TICKETS = `UPDATE tickets SET status = 'cancelled' WHERE booking_id = ANY ($ids::uuid[])`;

/**
 * Cancels active bookings of an event and frees their seats; those that are over already stay as they are.
 *
 * @param why.explanation what the host has given as the reason, where they go with the event
 */
export async function cancelBookings(
  query: Query,
  event: LockedEvent,
  ids: readonly string[],
  why: { reason: CancelReason; requestId: string | null; explanation?: string | null },
  now: Date,
): Promise<number> {
  const cancelled = await query<ChangedBooking>(CANCEL, { ids, reason: why.reason, now });
  await query(CANCEL_TICKETS, { ids: cancelled.map(({ id }) => id) });
  await countDown(query, event, cancelled);
  await writeOutbox(
    query,
    cancelled.map((booking) =>
      happened("bookings.cancelled", aboutBooking(booking, now, why.requestId), {
        ...factsOfBooking(event, booking),
        reason: why.reason,
        ...(why.explanation === undefined ? {} : { explanation: why.explanation }),
      }),
    ),
  );
  return cancelled.length;
}

const CONFIRM = `
  WITH confirmed AS (
    UPDATE bookings SET status = 'confirmed', hold_expires_at = NULL, version = version + 1,
           updated_at = $now::timestamptz
     WHERE id = $id::uuid AND status IN (${before("confirmed")}) AND hold_expires_at > $now::timestamptz
    RETURNING id, user_id, quantity, version),
  made AS (
    INSERT INTO tickets (id, booking_id, status, created_at)
    SELECT t.id, confirmed.id, 'valid', $now::timestamptz
      FROM confirmed, unnest($ticketIds::uuid[]) AS t (id))
  SELECT id, user_id AS "userId", quantity, version FROM confirmed`;

/** Makes held seats the attendee's own; false where the hold has lapsed or there is none, or the event is cancelled. */
export async function confirmHold(
  query: Query,
  event: LockedEvent,
  booking: { id: string; quantity: number; requestId: string | null },
  now: Date,
): Promise<boolean> {
  // Its cancellation may not have come to this hold yet; nobody is to pay for what will not take place.
  if (event.status === "cancelled") return false;
  const { id, quantity, requestId } = booking;
  const ticketIds = Array.from({ length: quantity }, newId);
  const [confirmed] = await query<ChangedBooking>(CONFIRM, { id, ticketIds, now });
  if (!confirmed) return false;
  await writeOutbox(query, [
    happened(
      "bookings.confirmed",
      aboutBooking(confirmed, now, requestId),
      factsOfBooking(event, confirmed),
    ),
  ]);
  return true;
}
