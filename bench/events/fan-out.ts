/** A host whom 100,000 follow publishes an event: how long until all are told, and whether the host waits for it. */

import { newId } from "../../lib/ids";
import { type Bench, onSystem, ROUNDS, type Scenario } from "../bench";
import { finding, median, roundsOf, written } from "../figures";
import { HOST, userId } from "../people";
import { ONE_PROCESS, type System } from "../system";
import { addFollowers, addLonelyHost, FOLLOWERS, publish } from "./hosts";
import { forgetNotices } from "./notices";

/** All are told within this, or it has failed. */
const TOLD_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 10;
/** Events that each of the two hosts publishes in a round. */
const TIMES = 7;

// The same rows, with ids in order as those of the system are.
const BARE = `
  INSERT INTO notifications (id, user_id, occurrence_id, type, title, body, event_id, data, created_at)
  SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(row_number() OVER ()), 12, '0'))::uuid, follower_id, $2,
         'event.created', $3, $4, $5, $6::jsonb, now()
    FROM follows WHERE host_id = $1 ORDER BY follower_id`;

/** One statement, one commit; gives its milliseconds. */
async function bare({ database }: Bench): Promise<number> {
  await forgetNotices(database);
  await database.settle();
  const eventId = newId();
  const body =
    "A host you follow has published «An evening of the bench». It starts on Sunday 27 December 2026 at 11:00 (UTC), " +
    "at «Town hall».";
  const data = JSON.stringify({ eventId, bookingId: null, reason: null });
  const startedAt = performance.now();
  await database.query(BARE, [
    userId(HOST),
    newId(),
    "New: An evening of the bench",
    body,
    eventId,
    data,
  ]);
  return performance.now() - startedAt;
}

/** Waits until nothing is left to be told; how many have been told is counted. */
async function untilAllAreTold({ database, stopping, fault }: Bench): Promise<void> {
  const until = performance.now() + TOLD_WITHIN_MS;
  for (;;) {
    stopping.throwIfAborted();
    const left = await database.query("SELECT FROM outbox LIMIT 1");
    if (left.length === 0) break;
    if (performance.now() > until) throw new Error("The followers were not told in time");
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  const [told] = await database.query<{ count: number }>(
    "SELECT count(DISTINCT user_id)::int AS count FROM notifications WHERE type = 'event.created'",
  );
  if (told?.count !== FOLLOWERS) fault(`${told?.count} of ${FOLLOWERS} followers were told`);
}

async function fannedOut(bench: Bench, system: System): Promise<{ answer: number; all: number }> {
  await forgetNotices(bench.database);
  await bench.database.settle();
  const startedAt = performance.now();
  const answer = await publish(bench, system, HOST);
  await untilAllAreTold(bench);
  return { answer, all: performance.now() - startedAt };
}

/** From the request to the last follower's notice, against one statement. */
export const fanOut: Scenario = async (bench) => {
  await addFollowers(bench);
  const bares: number[] = [];
  const times: number[] = [];
  for (const round of ROUNDS) {
    bares.push(await bare(bench));
    await onSystem(bench, ONE_PROCESS, async (system) => {
      // The first one pays for the compiling of code and of plans.
      await fannedOut(bench, system);
      times.push((await fannedOut(bench, system)).all);
    });
    bench.say(
      `Fan-out, round ${round}: ${roundsOf("ms bare", bares.slice(-1))}, ${roundsOf("ms", times.slice(-1))}`,
    );
  }
  await forgetNotices(bench.database);
  return [
    finding({
      what: `Fan-out to ${written(FOLLOWERS)} followers ÷ one bare INSERT … SELECT`,
      value: median(times) / median(bares),
      unit: "",
      bar: { most: 2 },
      baseline: bares,
      made: `${roundsOf("ms from the request to the last notice", times)}; ${roundsOf("bare", bares)}`,
    }),
  ];
};

/** The answer to the host, with and without followers, in turns. */
export const create: Scenario = async (bench) => {
  await addFollowers(bench);
  const lonely = await addLonelyHost(bench.database, bench.crowd);
  const followed: number[] = [];
  const alone: number[] = [];
  await onSystem(bench, ONE_PROCESS, async (system) => {
    for (let i = 0; i < TIMES; i++) await publish(bench, system, lonely);
    for (const round of ROUNDS) {
      const [some, others]: [number[], number[]] = [[], []];
      for (let i = 0; i < TIMES; i++) {
        // From the same state as the other: after a checkpoint what is written first is written whole.
        await forgetNotices(bench.database);
        await bench.database.settle();
        others.push(await publish(bench, system, lonely));
        some.push((await fannedOut(bench, system)).answer);
      }
      followed.push(median(some));
      alone.push(median(others));
      bench.say(
        `POST /events, round ${round}: ${roundsOf("ms followed", followed.slice(-1))}, ` +
          roundsOf("alone", alone.slice(-1)),
      );
    }
  });
  await forgetNotices(bench.database);
  return [
    finding({
      what: `POST /events with ${written(FOLLOWERS)} followers ÷ with none`,
      value: median(followed) / median(alone),
      unit: "",
      bar: { most: 1.2 },
      baseline: alone,
      made: `medians of ${TIMES}: ${roundsOf("ms followed", followed)}; ${roundsOf("alone", alone)}`,
    }),
  ];
};
