import { randomBytes } from "node:crypto";
import type { Clock } from "../../lib/clock";
import type { Database, Transaction } from "../../lib/database";
import { Unauthenticated } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest } from "../../lib/list";
import { EventNotFound } from "../events/events.contract";
import { BookingNotFound } from "./bookings.contract";
import { defineBookings } from "./bookings.model";
import { type BookableEvent, type Booking, checkBookable, checkTransition } from "./bookings.rules";
import type { BookingStatus, CancelReason } from "./bookings.validations";

/** 160 bits: nobody guesses a ticket. */
const TICKET_CODE_BYTES = 20;
/** Bookings cancelled in one transaction, so that the event's row is never locked for long. */
const CANCEL_CHUNK = 500;

interface BookingRow {
  id: string;
  eventId: string;
  userId: string;
  quantity: number;
  status: BookingStatus;
  amount: string;
  currency: string | null;
  holdExpiresAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
  tickets: Booking["tickets"];
  eventTitle: string;
  eventStart: Date;
  eventEnd: Date;
  eventTimeZone: string;
  eventLocation: string | null;
  eventStatus: Booking["event"]["status"];
  hostId: string;
  hostName: string;
  attendeeName: string;
  attendeeEmail: string | null;
}

const COLUMNS = `b.id, b.event_id AS "eventId", b.user_id AS "userId", b.quantity, b.status, b.amount,
  b.currency, b.hold_expires_at AS "holdExpiresAt", b.created_at AS "createdAt", b.updated_at AS "updatedAt",
  t.tickets, e.title AS "eventTitle", e.start_date_time AS "eventStart", e.end_date_time AS "eventEnd",
  e.time_zone AS "eventTimeZone", e.location AS "eventLocation",
  CASE WHEN e.status = 'published' AND e.end_date_time <= $now THEN 'completed' ELSE e.status END AS "eventStatus",
  e.host_id AS "hostId", h.name AS "hostName", p.name AS "attendeeName", p.email AS "attendeeEmail"`;

// Event, host and attendee are neighbours' tables, joined for reading: a list asks for a hundred at once.
const JOINS = `JOIN events e ON e.id = b.event_id JOIN users h ON h.id = e.host_id
  JOIN users p ON p.id = b.user_id
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object('id', id, 'code', code, 'status', status) ORDER BY id), '[]') AS tickets
      FROM tickets WHERE booking_id = b.id) t`;

const toBooking = (row: BookingRow): Booking => ({
  id: row.id,
  eventId: row.eventId,
  userId: row.userId,
  quantity: row.quantity,
  status: row.status,
  amount: Number(row.amount),
  currency: row.currency,
  holdExpiresAt: row.holdExpiresAt?.toISOString() ?? null,
  tickets: row.tickets,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
  event: {
    id: row.eventId,
    title: row.eventTitle,
    startDateTime: row.eventStart.toISOString(),
    endDateTime: row.eventEnd.toISOString(),
    timeZone: row.eventTimeZone,
    location: row.eventLocation,
    status: row.eventStatus,
    host: { id: row.hostId, name: row.hostName },
  },
  attendee: { id: row.userId, name: row.attendeeName, email: row.attendeeEmail },
});

export interface Scope {
  userId?: string;
  hostId?: string;
  eventId?: string;
  status?: BookingStatus;
}

/**
 * Every query of bookings and tickets. The lock order of all transactions here: the event's row, then the
 * user's, then bookings by id. Whoever holds the event's row decides about its seats alone.
 */
export function bookingsStore(database: Database) {
  const { bookings, tickets } = defineBookings(database.sequelize);

  const read = async (id: string, now: Date, transaction?: Transaction): Promise<Booking> => {
    const [row] = await database.query<BookingRow>(
      `SELECT ${COLUMNS} FROM bookings b ${JOINS} WHERE b.id = $id`,
      { id, now },
      transaction,
    );
    if (!row) throw new BookingNotFound({});
    return toBooking(row);
  };

  /** Sets bookings of one event to cancelled and frees their seats; the event's row is locked by the caller. */
  const cancelLocked = async (
    eventId: string,
    ids: string[],
    reason: CancelReason,
    now: Date,
    transaction: Transaction,
  ): Promise<void> => {
    await database.query(
      `UPDATE events SET number_of_attendees = number_of_attendees -
              (SELECT coalesce(sum(quantity), 0) FROM bookings WHERE id = ANY ($ids::uuid[]))
        WHERE id = $eventId`,
      { eventId, ids },
      transaction,
    );
    await database.query(
      `UPDATE bookings SET status = 'cancelled', cancel_reason = $reason, hold_expires_at = NULL, updated_at = $now
        WHERE id = ANY ($ids::uuid[])`,
      { ids, reason, now },
      transaction,
    );
    await database.query(
      "UPDATE tickets SET status = 'cancelled' WHERE booking_id = ANY ($ids::uuid[])",
      { ids },
      transaction,
    );
  };

  const lockEvent = async (id: string, transaction: Transaction): Promise<BookableEvent> => {
    // FOR UPDATE: two who want the last seat queue here, and the second one reads the counter that the
    // first one left.
    const [event] = await database.query<BookableEvent>(
      `SELECT id, host_id AS "hostId", status, end_date_time AS "endDateTime", sale_starts_at AS "saleStartsAt",
              sale_ends_at AS "saleEndsAt", price, capacity, number_of_attendees AS "numberOfAttendees"
         FROM events WHERE id = $id AND deleted_at IS NULL FOR UPDATE`,
      { id },
      transaction,
    );
    if (!event) throw new EventNotFound({ eventId: id });
    return event;
  };

  return {
    /**
     * Books seats in one transaction: lock the event, check, count up, insert. A refusal rolls back whole.
     *
     * @throws every reason of {@link checkBookable}; Unauthenticated when the user was deleted meanwhile
     */
    async create(
      { eventId, userId, quantity }: { eventId: string; userId: string; quantity: number },
      clock: Clock,
    ): Promise<Booking> {
      return database.transaction(async (transaction) => {
        const event = await lockEvent(eventId, transaction);
        // Only now: whoever waited for the lock decides by the time at which it came.
        const now = clock.now();
        // A statement of its own after the lock: its snapshot sees what the one before us committed. FOR
        // SHARE: whoever erases this user waits for us and finds the booking, or we find them erased.
        const [user] = await database.query<{ bookedAlready: boolean }>(
          `SELECT EXISTS (SELECT 1 FROM bookings WHERE user_id = u.id AND event_id = $eventId
                             AND status IN ('pending', 'confirmed')) AS "bookedAlready"
             FROM users u WHERE u.id = $userId AND u.deleted_at IS NULL FOR SHARE`,
          { eventId, userId },
          transaction,
        );
        if (!user) throw new Unauthenticated({});
        checkBookable(event, { quantity, bookedAlready: user.bookedAlready, now });

        const id = newId();
        await database.query(
          "UPDATE events SET number_of_attendees = number_of_attendees + $quantity WHERE id = $eventId",
          { eventId, quantity },
          transaction,
        );
        await bookings.create(
          {
            id,
            eventId,
            userId,
            hostId: event.hostId,
            quantity,
            status: "confirmed",
            amount: 0,
            currency: null,
            createdAt: now,
            updatedAt: now,
          },
          { transaction },
        );
        await tickets.bulkCreate(
          Array.from({ length: quantity }, () => ({
            id: newId(),
            bookingId: id,
            code: randomBytes(TICKET_CODE_BYTES).toString("base64url"),
            status: "valid",
            createdAt: now,
          })),
          { transaction },
        );
        return read(id, now, transaction);
      });
    },

    /** @throws BookingNotFound */
    find: (id: string, now: Date): Promise<Booking> => read(id, now),

    /**
     * Cancels one booking and frees its seats.
     *
     * @throws BookingNotFound, BookingNotActive
     */
    async cancel(id: string, reason: CancelReason, now: Date): Promise<Booking> {
      const { eventId } = await read(id, now);
      return database.transaction(async (transaction) => {
        // The event first, as everywhere, also one that is removed already.
        await database.query(
          "SELECT 1 FROM events WHERE id = $eventId FOR UPDATE",
          { eventId },
          transaction,
        );
        const booking = await read(id, now, transaction);
        checkTransition(booking.status, "cancelled");
        await cancelLocked(eventId, [id], reason, now, transaction);
        return read(id, now, transaction);
      });
    },

    /** Cancels up to a chunk of an event's active bookings; gives them, none when there are no more. */
    async cancelSomeOfEvent(eventId: string, reason: CancelReason, now: Date): Promise<Booking[]> {
      return database.transaction(async (transaction) => {
        await database.query(
          "SELECT 1 FROM events WHERE id = $eventId FOR UPDATE",
          { eventId },
          transaction,
        );
        const rows = await database.query<BookingRow>(
          `SELECT ${COLUMNS} FROM bookings b ${JOINS}
            WHERE b.event_id = $eventId AND b.status IN ('pending', 'confirmed')
            ORDER BY b.id LIMIT ${CANCEL_CHUNK}`,
          { eventId, now },
          transaction,
        );
        const found = rows.map(toBooking);
        const ids = found.map(({ id }) => id);
        if (ids.length) await cancelLocked(eventId, ids, reason, now, transaction);
        return found;
      });
    },

    /** Ids of a user's active bookings. */
    async activeOfUser(userId: string): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `SELECT id FROM bookings WHERE user_id = $userId AND status IN ('pending', 'confirmed') ORDER BY id`,
        { userId },
      );
      return rows.map(({ id }) => id);
    },

    /** People with bookings of an event, by user id, after one of them. */
    async attendees(
      eventId: string,
      booked: "active" | "event_cancelled" | "event_deleted",
      after: string | undefined,
      limit: number,
    ): Promise<string[]> {
      const condition =
        booked === "active" ? "status IN ('pending', 'confirmed')" : "cancel_reason = $booked";
      const rows = await database.query<{ userId: string }>(
        `SELECT DISTINCT user_id AS "userId" FROM bookings
          WHERE event_id = $eventId AND ${condition} AND ($after::uuid IS NULL OR user_id > $after::uuid)
          ORDER BY user_id LIMIT $limit`,
        { eventId, booked, after: after ?? null, limit },
      );
      return rows.map(({ userId }) => userId);
    },

    async list({ userId, hostId, eventId, status, ...request }: ListRequest & Scope, now: Date) {
      const scope = { userId, hostId, eventId, status };
      const columns = {
        userId: "b.user_id",
        hostId: "b.host_id",
        eventId: "b.event_id",
        status: "b.status",
      };
      const given = Object.entries(scope).filter(([, value]) => value !== undefined);
      const created = { sql: "b.created_at", kind: "instant" } as const;
      const { rows, pagination } = await fetchPage<BookingRow>(
        database,
        {
          select: COLUMNS,
          table: "bookings b",
          joins: JOINS,
          // The keys are those of `columns`: both lists are made above from the same four names.
          where: given.map(([name]) => `${columns[name as keyof typeof columns]} = $${name}`),
          bind: { ...Object.fromEntries(given), now },
          id: "b.id",
          sorts: {
            createdAt: created,
            date: created,
          },
          defaultSort: "createdAt",
          defaultOrder: "desc",
        },
        request,
      );
      return { data: rows.map(toBooking), pagination };
    },
  };
}
