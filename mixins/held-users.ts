/**
 * Whoever writes rows that refer to a user shares the user's row until they are committed (FOR KEY SHARE), so that
 * whoever erases the user either waits for that, or comes first and is found to have. Nobody waits for one who is just
 * being erased (SKIP LOCKED) with an event's row, a connection or a batch that is kept from everybody else meanwhile.
 * Whoever signs in, changes or erases that very user does, in the user's lane.
 */
import type { Query } from "../lib/database";
import { type AppError, ServiceUnavailable, Unauthenticated } from "../lib/errors";

const LIVE_USERS = `
  SELECT id FROM users WHERE id = ANY ($ids::uuid[]) AND deleted_at IS NULL`;

/** Whoever must wait for a user's row does so in their lane: one at a time, and nobody else waits behind them. */
export const laneOfUser = (userId: string): string => `user ${userId}`;

/** Which of these users, whose rows could not be had at once, are there all the same: somebody holds them. */
export async function heldUsers(query: Query, userIds: readonly string[]): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await query<{ id: string }>(LIVE_USERS, { ids: [...new Set(userIds)] });
  return new Set(rows.map(({ id }) => id));
}

/** Why a caller's row could not be had at once: they are to come again, or were erased meanwhile. */
export async function whyAbsent(query: Query, userId: string): Promise<AppError> {
  const isHeld = (await heldUsers(query, [userId])).has(userId);
  return isHeld ? new ServiceUnavailable({ retryAfter: 1 }) : new Unauthenticated({});
}
