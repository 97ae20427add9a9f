/**
 * What people have of an event that will not take place ends with it: bookings, holds and places on its waiting
 * list. Inside a transaction that holds the event's row, as all of bookings.seats.ts.
 */
import type { Query } from "../../lib/database";
import { writeOutbox } from "../../mixins/outbox";
import { happened } from "../contracts";
import {
  CHUNK,
  cancelBookings,
  expireHolds,
  factsOfEvent,
  type LockedEvent,
} from "./bookings.seats";
import type { CancelReason } from "./bookings.validations";

const EXPLANATION = `
  SELECT cancelled_because AS explanation FROM events WHERE id = $eventId::uuid`;

const ACTIVE = `
  SELECT id FROM bookings WHERE event_id = $eventId::uuid AND status IN ('pending', 'confirmed')
     AND (hold_expires_at IS NULL OR hold_expires_at > $now::timestamptz)
   ORDER BY user_id LIMIT ${CHUNK}`;

const WAITING = `SELECT id FROM waitlist WHERE event_id = $eventId::uuid ORDER BY arrival LIMIT ${CHUNK}`;

// Whoever leaves in this very moment is not among those given back, and is told nothing.
const END_WAITING = `
  DELETE FROM waitlist WHERE id = ANY ($ids::uuid[]) RETURNING id, user_id AS "userId", quantity`;

/** Takes people off the waiting list, a chunk of them, and tells them; gives whether there may be more. */
async function endWaiting(
  query: Query,
  event: LockedEvent,
  why: { explanation: string | null; requestId: string | null },
  now: Date,
): Promise<boolean> {
  const waiting = await query<{ id: string }>(WAITING, { eventId: event.id });
  if (waiting.length === 0) return false;
  const ended = await query<{ id: string; userId: string; quantity: number }>(END_WAITING, {
    ids: waiting.map(({ id }) => id),
  });
  await writeOutbox(
    query,
    // What is told is the bookings service's, though it is a place on the list that has come to its end.
    ended.map(({ id, userId, quantity }) =>
      happened(
        "bookings.waitingEnded",
        { aggregateId: id, aggregateVersion: 1, occurredAt: now, correlationId: why.requestId },
        {
          entryId: id,
          userId,
          quantity,
          ...factsOfEvent(event),
          explanation: why.explanation,
        },
      ),
    ),
  );
  // Not by how many have ended: of a full chunk somebody may just have left.
  return waiting.length === CHUNK;
}

// The event's own service has begun its cancellation; here it is known when that has come to its end. What the host
// has said of it everybody has been told by then.
const FINISHED = `
  UPDATE events SET cancelling_since = NULL, cancelled_because = NULL
   WHERE id = $eventId::uuid AND cancelling_since IS NOT NULL`;

/**
 * Ends what people have of an event, a chunk of each kind. People wait on for an event that is not cancelled: only
 * its bookings end.
 *
 * @returns how many bookings were cancelled, and whether there may be more to end
 */
export async function endSome(
  query: Query,
  event: LockedEvent,
  why: { reason: CancelReason; requestId: string | null },
  now: Date,
): Promise<{ cancelled: number; more: boolean }> {
  const [row] = await query<{ explanation: string | null }>(EXPLANATION, { eventId: event.id });
  const explanation = row?.explanation ?? null;
  const expired = await expireHolds(query, event, now);
  const active = await query<{ id: string }>(ACTIVE, { eventId: event.id, now });
  const ids = active.map(({ id }) => id);
  const cancelled = await cancelBookings(query, event, ids, { ...why, explanation }, now);
  const moreBookings = expired === CHUNK || cancelled === CHUNK;
  if (event.status !== "cancelled") return { cancelled, more: moreBookings };
  const moreWaiting = await endWaiting(query, event, { ...why, explanation }, now);
  const more = moreBookings || moreWaiting;
  if (!more) await query(FINISHED, { eventId: event.id });
  return { cancelled, more };
}
