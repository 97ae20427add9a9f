import type { Clock } from "../../lib/clock";
import type { Config } from "../../lib/config";
import {
  type Bind,
  type Database,
  DONE_WITHIN_MS,
  type PreparedWork,
  type Query,
} from "../../lib/database";
import { isError, unlessUnavailable } from "../../lib/errors";
import { fetchPage, type ListRequest } from "../../lib/list";
import { EventNotFound } from "../events/events.contract";
import {
  BookingNotActive,
  BookingNotFound,
  EventNotBookable,
  type TICKET_STATUSES,
} from "./bookings.contract";
import { endSome } from "./bookings.endings";
import { type Booking, statusAt } from "./bookings.rules";
import {
  cancelBookings,
  confirmHold,
  type LockedEvent,
  lockEvent,
  lockEvents,
  promoteWaiting,
  type Tidied,
  tidyUp,
} from "./bookings.seats";
import { codeOf } from "./bookings.tickets";
import type { BookingStatus, CancelReason } from "./bookings.validations";

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
  tickets: { id: string; status: (typeof TICKET_STATUSES)[number] }[];
  ticketKey: Buffer;
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
  t.tickets, e.ticket_key AS "ticketKey", e.title AS "eventTitle", e.start_date_time AS "eventStart", e.end_date_time AS "eventEnd",
  e.time_zone AS "eventTimeZone", e.location AS "eventLocation",
  CASE WHEN e.status = 'published' AND e.end_date_time <= $now THEN 'completed' ELSE e.status END AS "eventStatus",
  e.host_id AS "hostId", h.name AS "hostName", p.name AS "attendeeName", p.email AS "attendeeEmail"`;

// Event, host and attendee are neighbours' tables, joined for reading: a list asks for a hundred at once.
const JOINS = `JOIN events e ON e.id = b.event_id JOIN users h ON h.id = e.host_id
  JOIN users p ON p.id = b.user_id
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_object('id', id, 'status', status) ORDER BY id), '[]') AS tickets
      FROM tickets WHERE booking_id = b.id) t`;

const toBooking = (row: BookingRow, now: Date): Booking => ({
  id: row.id,
  eventId: row.eventId,
  userId: row.userId,
  quantity: row.quantity,
  status: statusAt(row, now),
  amount: Number(row.amount),
  currency: row.currency,
  holdExpiresAt: row.holdExpiresAt?.toISOString() ?? null,
  tickets: row.tickets.map(({ id, status }) => ({ id, code: codeOf(id, row.ticketKey), status })),
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

interface Why {
  reason: CancelReason;
  /** The request in which it happens. */
  requestId: string | null;
}

/** What has become of a chunk of work on an event. */
export interface Chunk {
  /** Whether there may be more to do. */
  more: boolean;
  /** Whether nothing was done, because somebody else holds the event. */
  held: boolean;
}

export type BookingsStore = ReturnType<typeof bookingsStore>;

/**
 * Everything that bookings read and change, but for new bookings, which come in batches (bookings.batches.ts).
 * The lock order of all transactions here is that of bookings.seats.ts: the event's row first.
 */
export function bookingsStore(
  database: Database,
  clock: Clock,
  config: Pick<Config, "waitlistOfferSeconds">,
) {
  const read = async (id: string): Promise<Booking> => {
    const now = clock.now();
    const [row] = await database.query<BookingRow>(
      `SELECT ${COLUMNS} FROM bookings b ${JOINS} WHERE b.id = $id`,
      { id, now },
    );
    if (!row) throw new BookingNotFound({});
    return toBooking(row, now);
  };

  const tidyUpLocked = async (
    { query, nothingWritten }: PreparedWork,
    event: LockedEvent,
  ): Promise<Tidied & { more: boolean }> => {
    const tidied = await tidyUp(query, event, clock.now(), config.waitlistOfferSeconds);
    if (tidied.expired + tidied.promoted === 0) nothingWritten();
    return tidied;
  };

  /** Frees the seats of an event's lapsed holds and gives what is free to those who wait, a chunk of both. */
  const tidyUpSome = (eventId: string, until?: number): Promise<Tidied & { more: boolean }> =>
    database.prepared(
      async (work, lock) => {
        const event = await lock(() => lockEvent(work.query, eventId));
        if (event) return tidyUpLocked(work, event);
        work.nothingWritten();
        return { expired: 0, promoted: 0, more: false };
      },
      { lane: eventId, ...(until === undefined ? {} : { until }) },
    );

  /**
   * All of that; gives how many there were.
   *
   * @param until when it must have come to its end, by `performance.now()`; each chunk has the time of a transaction
   *   unless told
   */
  const tidyUpAll = async (eventId: string, until?: number): Promise<Tidied> => {
    const all = { expired: 0, promoted: 0 };
    for (;;) {
      const { expired, promoted, more } = await tidyUpSome(eventId, until);
      all.expired += expired;
      all.promoted += promoted;
      if (!more) return all;
    }
  };

  /** Does a chunk of work on an event, also one that is removed; not while somebody else holds it. */
  const unlessHeld = (
    eventId: string,
    work: (prepared: PreparedWork, event: LockedEvent) => Promise<{ more: boolean }>,
  ): Promise<Chunk> =>
    database.prepared(
      async (prepared) => {
        const options = { wait: false, removedToo: true };
        const event = (await lockEvents(prepared.query, [eventId], options)).get(eventId);
        if (event !== undefined && event !== "held") {
          return { ...(await work(prepared, event)), held: false };
        }
        prepared.nothingWritten();
        return { more: false, held: event === "held" };
      },
      // One at a time, and what shows as free within moments must not wait for changes that wait themselves.
      { ahead: true },
    );

  /** Runs `work` with an event's row locked; freed seats go to those who wait before anybody else sees them. */
  const withEvent = async <T>(
    id: string,
    work: (query: Query, event: LockedEvent, now: Date) => Promise<T>,
  ): Promise<T> => {
    const until = performance.now() + DONE_WITHIN_MS;
    const { result, more } = await database.prepared(
      async ({ query }, lock) => {
        // Also one that is removed already: its bookings may still be there to be cancelled.
        const event = await lock(() => lockEvent(query, id, { removedToo: true }));
        if (!event) throw new EventNotFound({ eventId: id });
        const now = clock.now();
        const result = await work(query, event, now);
        const { more } = await promoteWaiting(query, event, now, config.waitlistOfferSeconds);
        return { result, more };
      },
      { lane: id, until },
    );
    // The rest in transactions of their own, so that nobody waits long for the event; until then whoever books finds
    // that others wait, and promotes them first.
    // What was asked for is done: that the rest cannot be at the moment is no reason to refuse it, and the sweeper's to meet.
    if (more) await tidyUpAll(id, until).catch(unlessUnavailable);
    return result;
  };

  /**
   * Cancels one booking and frees its seats.
   *
   * @throws BookingNotFound, BookingNotActive
   */
  const cancel = async (id: string, why: Why): Promise<Booking> => {
    const { eventId } = await read(id);
    await withEvent(eventId, async (query, event, now) => {
      const cancelled = await cancelBookings(query, event, [id], why, now);
      if (cancelled === 0) throw new BookingNotActive({ status: await statusOf(query, id, now) });
    });
    return read(id);
  };

  return {
    /** @throws BookingNotFound */
    find: read,

    cancel,

    /**
     * Makes a hold a booking.
     *
     * @throws BookingNotFound; BookingNotActive where the hold has lapsed or there is none; EventNotBookable where the
     *   event is cancelled
     */
    async confirm(id: string, requestId: string | null): Promise<Booking> {
      const { eventId, quantity } = await read(id);
      await withEvent(eventId, async (query, event, now) => {
        if (await confirmHold(query, event, { id, quantity, requestId }, now)) return;
        const status = await statusOf(query, id, now);
        if (status === "pending") throw new EventNotBookable({ eventId });
        throw new BookingNotActive({ status });
      });
      return read(id);
    },

    /**
     * Cancels all active bookings of an event and, where it is cancelled, takes everybody off its waiting list, a
     * chunk at a time; gives how many bookings there were.
     */
    async endAllOfEvent(eventId: string, why: Why): Promise<number> {
      let all = 0;
      for (;;) {
        const { cancelled, more } = await withEvent(eventId, (query, event, now) =>
          endSome(query, event, why, now),
        );
        all += cancelled;
        if (!more) return all;
      }
    },

    /** Ends a chunk of what people have of a cancelled event, unless somebody else is about it. */
    endSomeOfEvent: (eventId: string) =>
      unlessHeld(eventId, ({ query }, event) =>
        endSome(query, event, { reason: "event_cancelled", requestId: null }, clock.now()),
      ),

    /** Events whose cancellation began before a moment and has not come to its end, the longest begun first. */
    async eventsCancellingSince(before: Date, limit: number): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `SELECT id FROM events WHERE cancelling_since <= $before ORDER BY cancelling_since LIMIT $limit`,
        { before, limit },
      );
      return rows.map(({ id }) => id);
    },

    /** Cancels all active bookings of a user, one by one; gives how many there were. */
    async cancelAllOfUser(userId: string, why: Why): Promise<number> {
      const rows = await database.query<{ id: string }>(
        `SELECT id FROM bookings WHERE user_id = $userId AND status IN ('pending', 'confirmed') ORDER BY id`,
        { userId },
      );
      let all = 0;
      for (const { id } of rows) {
        try {
          await cancel(id, why);
          all++;
        } catch (error) {
          // What somebody else cancels meanwhile is what we want.
          if (!isError(error, BookingNotActive)) throw error;
        }
      }
      return all;
    },

    /** Tidies up a chunk of an event, unless somebody holds it: they may be sweeping, or booking, which sweeps as well. */
    expireSomeOfEvent: (eventId: string) => unlessHeld(eventId, tidyUpLocked),

    tidyUpAll,

    /** Events with holds that have lapsed, the longest lapsed first. */
    async eventsWithLapsedHolds(limit: number): Promise<string[]> {
      const rows = await database.query<{ eventId: string }>(
        `SELECT event_id AS "eventId" FROM bookings
          WHERE status = 'pending' AND hold_expires_at <= $now
          GROUP BY event_id ORDER BY min(hold_expires_at) LIMIT $limit`,
        { now: clock.now(), limit },
      );
      return rows.map(({ eventId }) => eventId);
    },

    /** Events on sale for which people wait and some of them would fit. */
    async eventsThatMayPromote(limit: number): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `SELECT e.id FROM events e
          WHERE e.status = 'published' AND e.deleted_at IS NULL AND e.end_date_time > $now
            AND COALESCE(e.sale_starts_at <= $now, true) AND COALESCE(e.sale_ends_at > $now, true)
            AND EXISTS (SELECT 1 FROM waitlist w WHERE w.event_id = e.id
                           AND w.quantity <= e.capacity - e.number_of_attendees)
            AND e.id IN (SELECT event_id FROM waitlist) ORDER BY random() LIMIT $limit`,
        { now: clock.now(), limit },
      );
      return rows.map(({ id }) => id);
    },

    async list({ userId, hostId, eventId, status, ...request }: ListRequest & Scope) {
      const now = clock.now();
      const where: string[] = [];
      const bind: Bind = { now };
      const only = (column: string, name: string, value: string | undefined) => {
        if (value === undefined) return;
        where.push(`${column} = $${name}`);
        bind[name] = value;
      };
      only("b.user_id", "userId", userId);
      only("b.host_id", "hostId", hostId);
      only("b.event_id", "eventId", eventId);
      // A hold that has lapsed is expired, whoever has written that already.
      if (status === "pending") where.push("b.status = 'pending' AND b.hold_expires_at > $now");
      else if (status === "expired")
        where.push(
          "(b.status = 'expired' OR (b.status = 'pending' AND b.hold_expires_at <= $now))",
        );
      else only("b.status", "status", status);
      const created = { sql: "b.created_at", kind: "instant" } as const;
      const { rows, pagination } = await fetchPage<BookingRow>(
        database,
        {
          select: COLUMNS,
          table: "bookings b",
          joins: JOINS,
          where,
          bind,
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
      return { data: rows.map((row) => toBooking(row, now)), pagination };
    },
  };
}

const STATUS = `
  SELECT status, hold_expires_at AS "holdExpiresAt" FROM bookings WHERE id = $id::uuid`;

async function statusOf(query: Query, id: string, now: Date): Promise<BookingStatus> {
  const [row] = await query<Parameters<typeof statusAt>[0]>(STATUS, { id });
  if (!row) throw new BookingNotFound({});
  return statusAt(row, now);
}
