/** Parts of the statements by which people are told something. */
import { wants } from "./notifications.preferences";
import type { Audience } from "./notifications.rules";

/** Many people who are told the same, as the table of a neighbour says: a hundred thousand ids are not to travel. */
export const MEMBERS_OF = {
  /** Of a host. */
  followers: "SELECT follower_id AS user_id, host_id AS of_id FROM follows",
  /** Of an event: who wants to know when its sale starts. */
  interested: "SELECT user_id, event_id AS of_id FROM interests",
  /** Of an event: whoever has seats, theirs already or held for them. */
  attendees:
    "SELECT user_id, event_id AS of_id FROM bookings WHERE status IN ('pending', 'confirmed')",
  /** Of an event: whose seats are theirs. */
  confirmed: "SELECT user_id, event_id AS of_id FROM bookings WHERE status = 'confirmed'",
} as const satisfies Record<Audience, string>;

/** People of an audience told in one transaction, which nobody else who is told something waits longer for. */
export const TOLD_AT_ONCE = 2_000;

/**
 * SQL: whether a user's row could be had at once, for which see mixins/held-users.ts; else null. Not a join: for some
 * hundred people the planner would read all there are.
 */
export const IS_FREE = (id: string) =>
  `(SELECT true FROM users u WHERE u.id = ${id} AND u.deleted_at IS NULL FOR KEY SHARE SKIP LOCKED)`;
export const IS_THERE = (id: string) =>
  `(SELECT u.deleted_at IS NULL FROM users u WHERE u.id = ${id})`;

/** SQL: whether somebody wants notices of a type in no list. */
export const IS_HIDDEN = (userId: string, type: string) =>
  `NOT ${wants(userId, type, "'inApp'", "true")}`;

/**
 * SQL: notes that these notices are to go out, in the statement that stores them; see notifications.deliveries.ts.
 *
 * @param urgency what has become of one's own things goes before what many are told
 */
export const DISPATCH = (stored: string, urgency: 0 | 1) => `
  INSERT INTO dispatches (urgency, id, notification_ids)
  SELECT ${urgency}, $dispatchId::uuid, array_agg(id) FROM ${stored} HAVING count(*) > 0`;

/**
 * An id of version 7 made by the database, for rows that never come here: 48 bits of time over the random ones of a
 * version 4, of which two bits make the 4 a 7 (RFC 9562, 5.7).
 */
export const ID_AT = (time: string) => `encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
  PLACING substring(int8send((extract(epoch FROM ${time}) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
  'hex')::uuid`;
