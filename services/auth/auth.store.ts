import type { Database } from "../../lib/database";
import { newId } from "../../lib/ids";
import type { SessionEndReason } from "./auth.validations";

/** How long after its last refresh a session ends by itself: 30 days. */
const SESSION_DAYS = 30;
/** A session's end may be committed this much later than the time it carries; and clocks of nodes differ. */
const OVERLAP_SECONDS = 10;
const PURGE_CHUNK = 1000;

/** What became of a refresh token that somebody showed. */
export type Rotation =
  | { outcome: "rotated"; sessionId: string; userId: string }
  | { outcome: "reused"; sessionId: string }
  | { outcome: "refused" };

/**
 * Sessions and their refresh tokens. All times here are the database's, so that nodes whose clocks differ
 * agree on which sessions have ended since when. Tokens are stored as SHA-256 hashes.
 */
export function authStore(database: Database) {
  return {
    /** Opens a session with its first refresh token. */
    async openSession(userId: string, tokenHash: Buffer): Promise<string> {
      const sessionId = newId();
      await database.query(
        `WITH opened AS (
           INSERT INTO sessions (id, user_id, created_at, expires_at)
           VALUES ($sessionId, $userId, now(), now() + $days * interval '1 day')
           RETURNING id)
         INSERT INTO refresh_tokens (token_hash, session_id, created_at)
         SELECT $tokenHash, id, now() FROM opened`,
        { sessionId, userId, tokenHash, days: SESSION_DAYS },
      );
      return sessionId;
    },

    /**
     * Spends a refresh token and puts another in its place. A token that was spent before means that two
     * parties hold it: the whole session ends. The session's row is locked first, so of two who come at
     * once with the same token the second one sees it spent.
     */
    rotate(tokenHash: Buffer, nextHash: Buffer): Promise<Rotation> {
      return database.transaction(async (transaction) => {
        const [session] = await database.query<{ id: string; user_id: string }>(
          `SELECT s.id, s.user_id FROM sessions s
            WHERE s.id = (SELECT session_id FROM refresh_tokens WHERE token_hash = $tokenHash)
              AND s.ended_at IS NULL AND s.expires_at > now()
              FOR UPDATE`,
          { tokenHash },
          transaction,
        );
        if (!session) return { outcome: "refused" };
        const spent = await database.query(
          `UPDATE refresh_tokens SET used_at = now()
            WHERE token_hash = $tokenHash AND used_at IS NULL RETURNING 1`,
          { tokenHash },
          transaction,
        );
        if (spent.length === 0) {
          await database.query(
            `UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'token_reused' WHERE id = $id`,
            { id: session.id },
            transaction,
          );
          return { outcome: "reused", sessionId: session.id };
        }
        await database.query(
          `INSERT INTO refresh_tokens (token_hash, session_id, created_at) VALUES ($nextHash, $id, now())`,
          { nextHash, id: session.id },
          transaction,
        );
        await database.query(
          `UPDATE sessions SET expires_at = now() + $days * interval '1 day' WHERE id = $id`,
          { id: session.id, days: SESSION_DAYS },
          transaction,
        );
        return { outcome: "rotated", sessionId: session.id, userId: session.user_id };
      });
    },

    /** Ends one session; gives its id if it was alive. */
    async endSession(id: string, reason: SessionEndReason): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `UPDATE sessions SET ended_at = clock_timestamp(), end_reason = $reason
          WHERE id = $id AND ended_at IS NULL RETURNING id`,
        { id, reason },
      );
      return rows.map((row) => row.id);
    },

    /** Ends a user's sessions, all but one where `exceptSessionId` is told; gives the ids of those that were alive. */
    async endSessions(
      userId: string,
      reason: SessionEndReason,
      exceptSessionId?: string,
    ): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `UPDATE sessions SET ended_at = clock_timestamp(), end_reason = $reason
          WHERE user_id = $userId AND ended_at IS NULL
            AND id IS DISTINCT FROM $exceptSessionId::uuid RETURNING id`,
        { userId, reason, exceptSessionId: exceptSessionId ?? null },
      );
      return rows.map((row) => row.id);
    },

    /**
     * Sessions that ended since a moment (a little before it, see above), or within the life of an access
     * token, and the moment up to which that is known.
     *
     * @param tokenSeconds how long an access token lives
     */
    async endedSessions(
      since: string | undefined,
      tokenSeconds: number,
    ): Promise<{ sessionIds: string[]; until: string }> {
      const [row] = await database.query<{ ids: string[]; until: Date }>(
        `SELECT coalesce(array_agg(id::text), '{}') AS ids, clock_timestamp() AS until
           FROM sessions
          WHERE ended_at >= greatest(
                  $since::timestamptz - $overlap * interval '1 second',
                  now() - ($tokenSeconds + $overlap) * interval '1 second')`,
        { since: since ?? null, overlap: OVERLAP_SECONDS, tokenSeconds },
      );
      if (!row) throw new Error("An aggregate gives a row");
      return { sessionIds: row.ids, until: row.until.toISOString() };
    },

    /** Removes sessions whose time is long over, with their tokens, a chunk at a time; gives how many. */
    async purge(): Promise<number> {
      const rows = await database.query(
        `DELETE FROM sessions WHERE id IN (
           SELECT id FROM sessions WHERE expires_at < now() - interval '1 day'
            ORDER BY expires_at LIMIT $chunk FOR UPDATE SKIP LOCKED) RETURNING 1`,
        { chunk: PURGE_CHUNK },
      );
      return rows.length;
    },
  };
}
