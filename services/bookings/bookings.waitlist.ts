/**
 * The waiting list: first come first served by the quantity that fits. Seats that are freed go to it in the
 * transaction that frees them (bookings.seats.ts); here people join, look where they stand, and leave.
 */
import type { Clock } from "../../lib/clock";
import type { Config } from "../../lib/config";
import { type Database, DONE_WITHIN_MS, type Lock, type Query } from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { whyAbsent } from "../../mixins/held-users";
import { type IdempotencyKey, idempotencyKey, once } from "../../mixins/idempotency";
import { EventNotFound } from "../events/events.contract";
import type { BookingsActions } from "./bookings.actions";
import {
  AlreadyBooked,
  AlreadyWaiting,
  NotEnoughTickets,
  NotWaiting,
  TicketsAvailable,
} from "./bookings.contract";
import { checkQuantity, checkShown, notOnSale, seatsLeft } from "./bookings.rules";
import { lockEvent, somebodyFits } from "./bookings.seats";
import type { BookingsStore } from "./bookings.store";

/** Seats became free between tidying up and deciding: to be tidied up once more. */
class Untidy extends Error {}
/** So often seats may become free in between; a busy host raises a capacity less often. */
const MOST_TIMES = 10;

export interface WaitlistEntry {
  /** 1 is next. */
  position: number;
  quantity: number;
}

// For the lock see mixins/held-users.ts.
const STANDING = `
  SELECT EXISTS (SELECT 1 FROM bookings WHERE event_id = $eventId::uuid AND user_id = u.id
                    AND status IN ('pending', 'confirmed')) AS booked
    FROM users u WHERE u.id = $userId::uuid AND u.deleted_at IS NULL
     FOR KEY SHARE OF u SKIP LOCKED`;

const JOIN = `
  INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
  VALUES ($id::uuid, $eventId::uuid, $userId::uuid, $quantity::int, $now::timestamptz)
      ON CONFLICT (event_id, user_id) DO NOTHING RETURNING id`;

const LEAVE_ALL = "DELETE FROM waitlist WHERE user_id = $userId::uuid";

const PLACE = `
  SELECT w.quantity,
         (SELECT count(*)::int FROM waitlist o WHERE o.event_id = w.event_id AND o.arrival <= w.arrival) AS position
    FROM waitlist w WHERE w.event_id = $eventId::uuid AND w.user_id = $userId::uuid`;

export function waitlistStore(
  database: Database,
  clock: Clock,
  { tidyUpAll }: Pick<BookingsStore, "tidyUpAll">,
) {
  const join = async (
    query: Query,
    lock: Lock,
    { eventId, userId, quantity }: { eventId: string; userId: string; quantity: number },
  ): Promise<WaitlistEntry> => {
    const event = await lock(() => lockEvent(query, eventId));
    if (!event) throw new EventNotFound({ eventId });
    const now = clock.now();
    const closed = notOnSale(event, now);
    if (closed) throw closed;
    const [user] = await query<{ booked: boolean }>(STANDING, { eventId, userId });
    if (!user) throw await whyAbsent(query, userId);
    if (user.booked) throw new AlreadyBooked({ eventId });
    const available = seatsLeft(event);
    const { capacity } = event;
    // What never fits would wait for ever; who waits already when a capacity becomes smaller may hope for a larger one.
    if (quantity > capacity) throw new NotEnoughTickets({ eventId, available, capacity });
    if (available >= quantity) {
      // What is free belongs to those who fit among those who wait, also where it became free a moment ago.
      if (await somebodyFits(query, event)) throw new Untidy();
      throw new TicketsAvailable({ eventId, available });
    }
    const added = await query(JOIN, { id: newId(), eventId, userId, quantity, now });
    if (added.length === 0) throw new AlreadyWaiting({ eventId });
    const [place] = await query<WaitlistEntry>(PLACE, { eventId, userId });
    if (!place) throw new NotWaiting({});
    return place;
  };

  return {
    /**
     * @throws EventNotFound and what else keeps everybody from booking; Unauthenticated, AlreadyBooked,
     *   NotEnoughTickets, TicketsAvailable, AlreadyWaiting, IdempotencyKeyReused, IdempotencyInProgress
     */
    async join(
      request: { eventId: string; userId: string; quantity: number },
      key: IdempotencyKey | null,
    ): Promise<{ answer: WaitlistEntry; replayed: boolean }> {
      // What is free is known only when lapsed holds are gone and those who wait have what fits them. In transactions
      // of their own: that stays done whatever becomes of the request that asked for it. All of them together have the
      // time of one: whoever asked has gone after that.
      const until = performance.now() + DONE_WITHIN_MS;
      for (let times = 0; times < MOST_TIMES; times++) {
        await tidyUpAll(request.eventId, until);
        try {
          return await once(
            database,
            key,
            clock.now(),
            (query, _transaction, lock) => join(query, lock, request),
            { lane: request.eventId, until },
          );
        } catch (error) {
          if (!(error instanceof Untidy)) throw error;
        }
      }
      throw new ServiceUnavailable({ retryAfter: 1 });
    },

    /** @throws NotWaiting */
    async find(eventId: string, userId: string): Promise<WaitlistEntry> {
      const [place] = await database.query<WaitlistEntry>(PLACE, { eventId, userId });
      if (!place) throw new NotWaiting({});
      return place;
    },

    async leave(eventId: string, userId: string): Promise<void> {
      await database.query(
        "DELETE FROM waitlist WHERE event_id = $eventId AND user_id = $userId RETURNING id",
        { eventId, userId },
      );
    },

    /** Takes somebody off all waiting lists. */
    async leaveAll(userId: string): Promise<void> {
      // Repeated where it loses against a batch that takes people off the same lists in another order.
      await database.prepared(({ query }) => query(LEAVE_ALL, { userId }));
    },
  };
}

export type WaitlistStore = ReturnType<typeof waitlistStore>;

/** The waiting list's part of the service's face. */
export const waitlistActions = (
  store: WaitlistStore,
  config: Pick<Config, "maxTicketsPerBooking">,
): BookingsActions<"joinWaitlist" | "findWaitlist" | "leaveWaitlist"> => ({
  async joinWaitlist({ params, meta }, caller) {
    checkQuantity(params.quantity, config.maxTicketsPerBooking);
    const request = { eventId: params.id, userId: caller.id, quantity: params.quantity };
    const key = idempotencyKey(meta.idempotencyKey, caller.id, "bookings.joinWaitlist", params);
    const { answer, replayed } = await store.join(request, key);
    meta.idempotencyReplayed = replayed;
    return answer;
  },

  async findWaitlist({ params: { id }, call }, caller) {
    const event = await call("events.$find", { id });
    checkShown(event);
    // The list ends with the event, though it may take a moment until its entries are gone.
    if (event.status === "cancelled") throw new NotWaiting({});
    return store.find(id, caller.id);
  },

  async leaveWaitlist({ params: { id }, call }, caller) {
    checkShown(await call("events.$find", { id }));
    await store.leave(id, caller.id);
  },
});
