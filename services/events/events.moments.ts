import type { Config } from "../../lib/config";
import type { Bind, Database } from "../../lib/database";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import { announcements, type Told } from "./events.announcements";
import type { Event } from "./events.rules";
import type { EventsStore } from "./events.store";

/** After its moment somebody waits for so long to be told, at the most, while a node runs. */
const PAUSE_MS = 1_000;
const EVENTS_AT_ONCE = 100;
const HOUR_MS = 3_600_000;

/** What is told of an event when its time has come. */
interface Moment {
  /** SQL: takes some of the events whose time has come, so that nobody else does; `tell` says of which to tell. */
  take: string;
  bind: Bind;
  told(event: Event): Told;
}

// FOR KEY SHARE OF e, here and below: not of an event whose host is just changing it; the next round sees what has
// become of it. What two nodes find at the same time, one of them takes. Of what is over nobody is told; an event
// that is postponed may still get other times, however long its old ones are past.
const TAKE_SALES = `
  WITH due AS MATERIALIZED (
    SELECT a.event_id AS id, e.end_date_time > $now::timestamptz AS tell
      FROM awaited_sales a JOIN events e ON e.id = a.event_id
     WHERE a.opens_at <= $now::timestamptz AND COALESCE(e.sale_starts_at <= $now::timestamptz, true)
       AND e.status = 'published'
       AND (e.end_date_time <= $now::timestamptz OR COALESCE(e.sale_ends_at > $now::timestamptz, true))
     ORDER BY a.opens_at, a.event_id LIMIT ${EVENTS_AT_ONCE}
       FOR UPDATE OF a SKIP LOCKED FOR KEY SHARE OF e SKIP LOCKED),
  taken AS (DELETE FROM awaited_sales USING due WHERE event_id = id)
  SELECT id, tell FROM due`;

// Who was told since it was due has heard of it, also where the moment was moved a little since. Of two nodes that find
// the same one the second finds the row that the first has written, and tells nothing. Once it has begun nobody needs
// to be reminded.
const TAKE_REMINDERS = `
  INSERT INTO told_moments (event_id, kind, moment, told_at)
  SELECT e.id, 'reminderDue', e.start_date_time, $now FROM events e
   WHERE e.start_date_time > $now::timestamptz AND e.start_date_time <= $until::timestamptz
     AND e.deleted_at IS NULL AND e.status = 'published'
     AND NOT EXISTS (SELECT FROM told_moments t WHERE t.event_id = e.id
                        AND (t.moment = e.start_date_time
                             OR t.told_at >= e.start_date_time - $leadMs * interval '1 millisecond'))
   ORDER BY e.start_date_time, e.id LIMIT ${EVENTS_AT_ONCE} FOR KEY SHARE OF e SKIP LOCKED
  ON CONFLICT DO NOTHING RETURNING event_id AS id, true AS tell`;

/**
 * Tells those who are interested that a sale has started, and attendees that an event is near: late where no node was
 * there in time, and once. Any number of nodes may. Reminders are looked up by the times as they are, so whoever moves
 * an event moves its reminder with it; sales by what is kept with every change of theirs (events.store.ts).
 */
export function tellMoments(
  store: EventsStore,
  database: Database,
  {
    clock,
    config,
    log,
  }: Pick<Kernel, "clock"> & {
    config: Pick<Config, "reminderHours">;
    log: Parameters<typeof repeat>[0]["log"];
  },
): RepeatedWork {
  /** Gives how many were taken. */
  const tellSome = ({ take, bind, told }: Moment, now: Date): Promise<number> =>
    database.transaction(async (transaction) => {
      const taken = await database.query<{ id: string; tell: boolean }>(take, bind, transaction);
      const ids = taken.flatMap(({ id, tell }) => (tell ? id : []));
      if (ids.length > 0) {
        const events = await store.findEach(ids, now, transaction);
        await store.tell(events.flatMap(told), transaction);
      }
      return taken.length;
    });

  return repeat({
    pauseMs: PAUSE_MS,
    log,
    failed: "What was due could not be told",
    async work(stopping) {
      const now = clock.now();
      const { saleStarted, reminderDue } = announcements(now, null);
      const leadMs = config.reminderHours * HOUR_MS;
      const until = new Date(now.getTime() + leadMs);
      const moments: Moment[] = [
        { take: TAKE_SALES, bind: { now }, told: saleStarted },
        { take: TAKE_REMINDERS, bind: { now, until, leadMs }, told: reminderDue },
      ];
      for (const moment of moments) {
        while (!stopping.aborted && (await tellSome(moment, now)) === EVENTS_AT_ONCE);
      }
    },
  });
}
