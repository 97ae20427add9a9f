import type { Database } from "../../lib/database";
import type { Kernel } from "../../lib/kernel";
import { whyAbsent } from "../../mixins/held-users";
import { EventNotFound } from "./events.contract";

const LOCK_EVENT = "SELECT FROM events WHERE id = $eventId::uuid FOR KEY SHARE";

const EXPRESS = `
  INSERT INTO interests (event_id, user_id, created_at)
  SELECT e.id, u.id, $now::timestamptz FROM events e, users u
   WHERE e.id = $eventId::uuid AND e.deleted_at IS NULL AND u.id = $userId::uuid AND u.deleted_at IS NULL
     FOR KEY SHARE OF u SKIP LOCKED
  ON CONFLICT (event_id, user_id) DO NOTHING RETURNING 1`;

/** Who wants to be told when the sale of an event starts. */
export function eventsInterest(database: Database, clock: Kernel["clock"]) {
  return {
    /** @throws EventNotFound for one that was removed meanwhile; Unauthenticated for who was erased meanwhile */
    async express(eventId: string, userId: string): Promise<void> {
      const pair = { eventId, userId };
      // In a lane: while a host holds the event's row, those who want this must not take a connection each, nor stand
      // before those who leave it. For the lock of the user see mixins/held-users.ts.
      const made = await database.prepared(
        async ({ query }, lock) => {
          await lock(() => query(LOCK_EVENT, { eventId }));
          return query(EXPRESS, { ...pair, now: clock.now() });
        },
        { lane: `interest in ${eventId}` },
      );
      if (made.length > 0) return;
      const [there] = await database.query<{ event: boolean; interest: boolean }>(
        `SELECT EXISTS (SELECT FROM events WHERE id = $eventId AND deleted_at IS NULL) AS event,
                EXISTS (SELECT FROM interests WHERE event_id = $eventId AND user_id = $userId) AS interest`,
        pair,
      );
      if (there?.interest) return;
      throw there?.event ? await whyAbsent(database.query, userId) : new EventNotFound({});
    },

    /** Also where there is none. */
    async withdraw(eventId: string, userId: string): Promise<void> {
      await database.query(
        "DELETE FROM interests WHERE event_id = $eventId AND user_id = $userId",
        {
          eventId,
          userId,
        },
      );
    },

    /** Forgets everything that a person was interested in. */
    async forget(userId: string): Promise<void> {
      await database.query("DELETE FROM interests WHERE user_id = $userId", { userId });
    },
  };
}
