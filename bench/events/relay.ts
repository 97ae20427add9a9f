/** How many events a second one consumer with an inbox hears of on the PostgreSQL channel. */
import { type Bench, onSystem, ROUNDS, type Scenario } from "../bench";
import { addEvents } from "../database";
import { finding, median, roundsOf, written } from "../figures";
import { userId } from "../people";
import { ONE_PROCESS } from "../system";
import { forgetNotices } from "./notices";

const EVENTS = 50_000;
const HEARD_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 10;
/** So that their statements are prepared and the code is compiled. */
const WARM_UP = 10_000;

/** Confirmations as bookings writes them, of as many people. */
const WRITE = `
  INSERT INTO outbox (id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data)
  SELECT ('01900000-0000-7000-a000-' || lpad(to_hex($4::bigint + n), 12, '0'))::uuid, 'booking', 'confirmed',
         gen_random_uuid(), 1, now(), gen_random_uuid()::text,
         json_build_object('bookingId', gen_random_uuid(), 'eventId', $2::uuid, 'userId', id, 'quantity', 1,
                           'eventTitle', 'An evening of the bench', 'eventStartDateTime', $3::text,
                           'eventTimeZone', 'UTC', 'holdExpiresAt', NULL, 'fromWaitlist', false)
    FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, n)`;

/** Writes events at once; gives how many were heard of in a second. */
async function heard({ database, stopping, fault }: Bench, count: number): Promise<number> {
  await forgetNotices(database);
  const [event = ""] = await addEvents(database, 1, 1_000_000);
  const users = Array.from({ length: count }, (_, i) => userId(1 + i));
  await database.settle();
  await database.query(WRITE, [users, event, new Date().toISOString(), 0]);
  const startedAt = performance.now();
  for (;;) {
    stopping.throwIfAborted();
    if ((await database.query("SELECT FROM outbox LIMIT 1")).length === 0) break;
    if (performance.now() - startedAt > HEARD_WITHIN_MS)
      throw new Error("They were not heard of in time");
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const [told] = await database.query<{ count: number }>(
    "SELECT count(*)::int AS count FROM notifications",
  );
  if (told?.count !== count) fault(`${told?.count} notices of ${count} events`);
  return count / seconds;
}

export const relay: Scenario = async (bench) => {
  const speeds: number[] = [];
  for (const round of ROUNDS) {
    await onSystem(bench, ONE_PROCESS, async () => {
      await heard(bench, WARM_UP);
      speeds.push(await heard(bench, EVENTS));
    });
    bench.say(`Channel on PostgreSQL, round ${round}: ${roundsOf("events/s", speeds.slice(-1))}`);
  }
  await forgetNotices(bench.database);
  return [
    finding({
      what: `${written(EVENTS)} events on the PostgreSQL channel, one consumer with inbox: events/s`,
      value: median(speeds),
      unit: "",
      bar: { least: 5000 },
      made: roundsOf("events/s from the commit of all to the last one heard of", speeds),
    }),
  ];
};
