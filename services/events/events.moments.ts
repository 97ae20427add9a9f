import type { Config } from "../../lib/config";
import type { Database } from "../../lib/database";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import { announcements, type Told } from "./events.announcements";
import { type Event, SALE_TOLD_WITHIN_MS } from "./events.rules";
import type { EventsStore } from "./events.store";

/** After its moment somebody waits for so long to be told, at the most, while a node runs. */
const PAUSE_MS = 1_000;
const EVENTS_AT_ONCE = 100;
const HOUR_MS = 3_600_000;

/** What is told of an event when its time has come. */
interface Moment {
  kind: "saleStarted" | "reminderDue";
  /** SQL: the moment that it is about. */
  at: string;
  /** SQL: of which events besides. */
  also: string;
  /** So long before that moment it is due. */
  leadMs: number;
  /** So long after it was due it is told all the same. */
  lateMs: number;
  told(event: Event): Told;
}

/**
 * Tells those who are interested that a sale has started, and attendees that an event is near: late where no node was
 * there in time, and once. Any number of nodes may. Both are looked up by the times as they are, so whoever moves an
 * event or its sale moves this with it.
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
  /** Gives how many were told. */
  const tellSome = ({ kind, at, also, leadMs, lateMs, told }: Moment): Promise<number> =>
    database.transaction(async (transaction) => {
      const now = clock.now();
      const until = new Date(now.getTime() + leadMs);
      const due = await database.query<{ id: string }>(
        // Who was told since it was due has heard of it, also where the moment was moved a little since. Of two nodes
        // that find the same one the second finds the row that the first has written, and tells nothing.
        // FOR KEY SHARE: not of an event whose host is just changing it; the next round sees what has become of it.
        `INSERT INTO told_moments (event_id, kind, moment, told_at)
         SELECT e.id, $kind, ${at}, $now FROM events e
          WHERE ${at} > $after::timestamptz AND ${at} <= $until::timestamptz
            AND e.deleted_at IS NULL AND e.status = 'published' AND ${also}
            AND NOT EXISTS (SELECT FROM told_moments t WHERE t.event_id = e.id AND t.kind = $kind
                               AND (t.moment = ${at}
                                    OR t.told_at >= ${at} - $leadMs * interval '1 millisecond'))
          ORDER BY ${at}, e.id LIMIT ${EVENTS_AT_ONCE} FOR KEY SHARE OF e SKIP LOCKED
         ON CONFLICT DO NOTHING RETURNING event_id AS id`,
        { kind, now, until, after: new Date(until.getTime() - lateMs), leadMs },
        transaction,
      );
      if (due.length === 0) return 0;
      const events = await store.findEach(
        due.map(({ id }) => id),
        now,
        transaction,
      );
      await store.tell(events.flatMap(told), transaction);
      return due.length;
    });

  return repeat({
    pauseMs: PAUSE_MS,
    log,
    failed: "What was due could not be told",
    async work(stopping) {
      const { saleStarted, reminderDue } = announcements(clock.now(), null);
      const leadMs = config.reminderHours * HOUR_MS;
      const moments: Moment[] = [
        {
          kind: "saleStarted",
          at: "e.sale_starts_at",
          also: "e.end_date_time > $now AND (e.sale_ends_at IS NULL OR e.sale_ends_at > $now)",
          leadMs: 0,
          lateMs: SALE_TOLD_WITHIN_MS,
          told: saleStarted,
        },
        // Once it has begun nobody needs to be reminded.
        {
          kind: "reminderDue",
          at: "e.start_date_time",
          also: "true",
          leadMs,
          lateMs: leadMs,
          told: reminderDue,
        },
      ];
      for (const moment of moments) {
        while (!stopping.aborted && (await tellSome(moment)) === EVENTS_AT_ONCE);
      }
    },
  });
}
