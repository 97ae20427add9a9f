import { fn, Op, type WhereOptions } from "sequelize";
import type { Role } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { newId } from "../../lib/ids";
import { removeInChunks } from "../../lib/remove-in-chunks";
import { laneOfUser } from "../../mixins/held-users";
import { defineSessions } from "./auth.model";
import type { SessionEndReason } from "./auth.validations";

/** How long after its last refresh a session ends by itself: 30 days. */
const SESSION_DAYS = 30;
/** A session's end may be committed this much later than the time it carries; and clocks of nodes differ. */
const OVERLAP_SECONDS = 10;
/** How long after its use a spent refresh token is known for what it is. */
const SPENT_TOKEN_DAYS = 30;

/** What became of a refresh token that somebody showed. */
export type Rotation =
  | { outcome: "rotated" }
  | { outcome: "reused"; sessionId: string }
  | { outcome: "refused" };

/** Opens a session for whoever still has that password; shares their row, and passes over one that is held. */
const OPEN = `
  WITH holder AS (
    SELECT id, role FROM users
     WHERE id = $userId AND password_hash = $passwordHash AND deleted_at IS NULL FOR SHARE SKIP LOCKED),
  opened AS (
    INSERT INTO sessions (id, user_id, created_at, expires_at)
    SELECT $id, id, now(), now() + $days * interval '1 day' FROM holder RETURNING id),
  token AS (
    INSERT INTO refresh_tokens (token_hash, session_id, created_at) SELECT $tokenHash, id, now() FROM opened)
  SELECT role FROM holder`;
const OPEN_WHEN_FREE = OPEN.replace("SKIP LOCKED", "");

export type AuthStore = ReturnType<typeof authStore>;

/**
 * Sessions and their refresh tokens. All times here are the database's, so that nodes whose clocks differ
 * agree on which sessions have ended since when. Tokens are stored as SHA-256 hashes.
 */
export function authStore(database: Database) {
  const { sessions } = defineSessions(database.sequelize);

  /**
   * Ends the live sessions among these; gives their ids. One statement and no transaction: users asks for it
   * while a transaction of its own holds the user's row, and the transactions of a process take turns, in the
   * smallest pool one by one. A transaction here would wait for the turn of the one that waits for it; for a
   * statement there is a connection left. And nobody who holds a session's row waits for the user's.
   */
  const end = async (which: WhereOptions, endReason: SessionEndReason): Promise<string[]> => {
    const [, ended] = await database.guarded(() =>
      sessions.update(
        { endedAt: fn("clock_timestamp"), endReason },
        { where: { ...which, endedAt: null }, returning: ["id"] },
      ),
    );
    return ended.map((session) => String(session.get("id")));
  };

  /** Repeats a statement that removes a chunk of rows until there is less than a chunk. */
  return {
    /**
     * Opens a session with its first refresh token for whoever still has the password that was compared;
     * gives the role to sign, or undefined where the password is another one by now or the user is gone.
     *
     * The user's row is read here, though it belongs to users, and shared until the session is committed:
     * whoever changes password or role or erases the user either comes before, and then this sees it, or
     * waits and then ends this session with the others.
     */
    async openSession(
      userId: string,
      passwordHash: string,
      tokenHash: Buffer,
    ): Promise<{ sessionId: string; role: Role } | undefined> {
      const id = newId();
      const bind = { id, userId, passwordHash, tokenHash, days: SESSION_DAYS };
      // Nobody queues for a row that is free, behind those who wait for one that is not.
      const [free] = await database.query<{ role: Role }>(OPEN, bind);
      if (free) return { sessionId: id, ...free };
      const [held] = await database.transaction(
        (transaction, lock) =>
          lock(() => database.query<{ role: Role }>(OPEN_WHEN_FREE, bind, transaction)),
        { lane: laneOfUser(userId) },
      );
      return held && { sessionId: id, ...held };
    },

    /** Whose unspent token this is, in a session that lives. */
    async holderOf(tokenHash: Buffer): Promise<{ sessionId: string; userId: string } | undefined> {
      const [holder] = await database.query<{ sessionId: string; userId: string }>(
        `SELECT s.id AS "sessionId", s.user_id AS "userId"
           FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
          WHERE t.token_hash = $tokenHash AND t.used_at IS NULL
            AND s.ended_at IS NULL AND s.expires_at > now()`,
        { tokenHash },
      );
      return holder;
    },

    /**
     * Spends a refresh token and puts another in its place. A token that was spent before means that two
     * parties hold it: the whole session ends. The session's row is locked first, so of two who come at
     * once with the same token the second one sees it spent.
     */
    rotate(tokenHash: Buffer, nextHash: Buffer): Promise<Rotation> {
      return database.transaction(async (transaction) => {
        const [session] = await database.query<{ id: string }>(
          `SELECT s.id FROM sessions s
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
        return { outcome: "rotated" };
      });
    },

    /** Ends one session; gives its id if it was alive. */
    endSession: (id: string, reason: SessionEndReason): Promise<string[]> => end({ id }, reason),

    /** Ends a user's sessions, all but one where `exceptSessionId` is told; gives the ids of those that were alive. */
    endSessions: (
      userId: string,
      reason: SessionEndReason,
      exceptSessionId?: string,
    ): Promise<string[]> =>
      end({ userId, ...(exceptSessionId ? { id: { [Op.ne]: exceptSessionId } } : {}) }, reason),

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

    /**
     * Removes sessions whose time is long over, with their tokens, and tokens that were spent long ago: a
     * session that is refreshed for years would otherwise keep every one of them.
     */
    async purge(stopping: AbortSignal): Promise<void> {
      await removeInChunks(
        database,
        {
          sql: `DELETE FROM sessions WHERE id IN (
           SELECT id FROM sessions WHERE expires_at < now() - interval '1 day'
            ORDER BY expires_at LIMIT $chunk FOR UPDATE SKIP LOCKED) RETURNING 1`,
        },
        stopping,
      );
      await removeInChunks(
        database,
        {
          sql: `DELETE FROM refresh_tokens WHERE token_hash IN (
           SELECT token_hash FROM refresh_tokens WHERE used_at < now() - $days * interval '1 day'
            ORDER BY used_at LIMIT $chunk FOR UPDATE SKIP LOCKED) RETURNING 1`,
          bind: { days: SPENT_TOKEN_DAYS },
        },
        stopping,
      );
    },
  };
}
