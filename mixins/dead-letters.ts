/** What channels have put aside (mixins/channels), for whoever looks after a system. */
import type { Database } from "../lib/database";

/** An event that a consumer could not handle. */
export interface Undelivered {
  consumer: string;
  eventId: string;
  /** `bookings.confirmed` */
  name: string;
  attempts: number;
  /** What the last attempt ended with. */
  error: string;
  /** Null once it is dead. */
  nextTryAt: string | null;
  /** Since when it is not tried any more by itself; null as long as it is. */
  deadAt: string | null;
}

interface Row extends Omit<Undelivered, "nextTryAt" | "deadAt"> {
  nextTryAt: Date;
  deadAt: Date | null;
}

const LIST = `
  SELECT consumer, event_id AS "eventId", name, attempts, error, next_try_at AS "nextTryAt", dead_at AS "deadAt"
    FROM undelivered
   WHERE ($consumer::text IS NULL OR consumer = $consumer) AND ($dead::boolean IS NULL OR (dead_at IS NOT NULL) = $dead)
   ORDER BY dead_at DESC NULLS LAST, next_try_at, event_id LIMIT $most`;

// Attempts count anew, so that it is tried as often as any other before it is dead again.
const REPLAY = `
  UPDATE undelivered SET attempts = 0, next_try_at = now(), dead_at = NULL
   WHERE consumer = $consumer AND dead_at IS NOT NULL AND ($eventId::uuid IS NULL OR event_id = $eventId::uuid)
  RETURNING event_id`;

/** The dead, or those that are still tried; all unless told. The latest dead first. */
export async function listUndelivered(
  database: Database,
  { consumer, dead, most }: { consumer?: string; dead?: boolean; most: number },
): Promise<Undelivered[]> {
  const bind = { consumer: consumer ?? null, dead: dead ?? null, most };
  const rows = await database.query<Row>(LIST, bind);
  return rows.map(({ nextTryAt, deadAt, ...row }) => ({
    ...row,
    nextTryAt: deadAt ? null : nextTryAt.toISOString(),
    deadAt: deadAt?.toISOString() ?? null,
  }));
}

/** Lets a consumer try its dead events again, one or all; gives how many those are. */
export async function replay(
  database: Database,
  { consumer, eventId }: { consumer: string; eventId?: string },
): Promise<number> {
  const rows = await database.query(REPLAY, { consumer, eventId: eventId ?? null });
  return rows.length;
}

/** Forgets what is still to be told to somebody; what is still to be done about them stays. */
export async function forgetUndeliveredOf(database: Database, userId: string): Promise<void> {
  await database.query(
    `DELETE FROM undelivered WHERE payload->>'userId' = $userId AND name <> 'users.erased' RETURNING event_id`,
    { userId },
  );
}
