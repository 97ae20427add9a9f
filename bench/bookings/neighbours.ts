/** What those who book one event notice of another one: of a rush, and of what its host does. */
import { createSecretKey } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Bench, onSystem, ROUNDS, type Scenario, untilTold, whereTimeGoes } from "../bench";
import { type Finding, finding, median, roundsOf, written } from "../figures";
import { HOST, tokenOf } from "../people";
import { ONE_PROCESS, type System } from "../system";
import { bookingsASecond, type Demand, Sale, warmUp } from "./sale";

/** A few who book at their leisure: some 150 bookings a second, whatever else happens. */
const neighbours = (bench: Bench): Demand => ({
  connections: 4,
  pauseMs: 20,
  load: bench.otherLoad,
});

/** p99 of neighbours who have the system for themselves, in ms. */
async function quietly(bench: Bench, system: System): Promise<number> {
  const sale = await Sale.of(bench, "a quiet event");
  return (await sale.sell(system, neighbours(bench))).latency.p99;
}

/** Batches that have booked something: each writes its bookings with one time. */
async function batchesOf({ database }: Bench, events: readonly string[]): Promise<number> {
  const [found] = await database.query<{ batches: number }>(
    "SELECT count(DISTINCT created_at)::int AS batches FROM bookings WHERE event_id = ANY ($1::uuid[])",
    [events],
  );
  return found?.batches ?? 0;
}

/** One event under rush, and a neighbour of it. */
async function rushOn(bench: Bench, system: System) {
  const rushed = await Sale.of(bench, "an event under rush");
  const beside = await Sale.of(bench, "its neighbour");
  await bench.database.settle();
  return {
    events: [...rushed.events, ...beside.events],
    book: () => Promise.all([rushed.book(system), beside.book(system, neighbours(bench))] as const),
    async recount() {
      await rushed.recount();
      await beside.recount();
    },
  };
}

/** Of a system in which the neighbour had to wait for too long. */
const profileOfRush = (bench: Bench): Promise<string> =>
  onSystem(bench, ONE_PROCESS, async (system) => {
    await warmUp(bench, system);
    const { book, recount } = await rushOn(bench, system);
    const where = await whereTimeGoes(bench, system, book);
    await recount();
    return where;
  });

export const rush: Scenario = async (bench) => {
  const quiet: number[] = [];
  const busy: number[] = [];
  const batchMs: number[] = [];
  const rushes: number[] = [];
  for (const round of ROUNDS) {
    await onSystem(bench, ONE_PROCESS, async (system) => {
      await warmUp(bench, system);
      quiet.push(await quietly(bench, system));
      const { events, book, recount } = await rushOn(bench, system);
      const [theirs, ours] = await book();
      busy.push(ours.latency.p99);
      rushes.push(bookingsASecond(theirs));
      const batches = await batchesOf(bench, events);
      batchMs.push((theirs.seconds * 1000) / batches);
      await recount();
    });
    bench.say(
      `A neighbour of a rush, round ${round}: ${roundsOf("p99 ms quiet", quiet.slice(-1))}, ` +
        `${roundsOf("in the rush", busy.slice(-1))}, ${roundsOf("a batch", batchMs.slice(-1))}`,
    );
  }
  const bar = { most: median(quiet) + 2 * median(batchMs) };
  const found = finding({
    what: "Event B's p99 while event A is under rush, at most the quiet p99 and two batches",
    value: median(busy),
    unit: "ms",
    bar,
    baseline: rushes,
    made:
      `${roundsOf("p99", busy)}; ${roundsOf("quiet", quiet)}; ${roundsOf("a batch", batchMs)}; ` +
      roundsOf("A's bookings/s", rushes),
  });
  if (found.value > bar.most) found.made += `; ${await profileOfRush(bench)}`;
  return [found];
};

const ATTENDEES = 10_000;
const CHANGES_EVERY_MS = 1_000;
/** A cancellation is given up after this time. */
const PATIENCE_S = 60;

/** What the host does, over HTTP. */
function hostOf({ jwtSecret, fault }: Bench, system: System) {
  const token = tokenOf(HOST, createSecretKey(Buffer.from(jwtSecret)));
  return async (method: string, path: string, body: object) => {
    const answer = await fetch(`${system.origin}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (answer.status !== 200) fault(`${method} of the host: ${answer.status} ${text}`);
  };
}

/** p99 of neighbours, in ms, while something is done to another event; ends with it. */
async function during(bench: Bench, system: System, work: () => Promise<void>): Promise<number> {
  const sale = await Sale.of(bench, "a neighbour of what a host does");
  await bench.database.settle();
  const booking = sale.book(system, { ...neighbours(bench), seconds: PATIENCE_S });
  await work().finally(() => bench.otherLoad.enough());
  const { latency } = await booking;
  await sale.recount();
  return latency.p99;
}

/** One round: what neighbours notice of changes of capacity, and then of a cancellation. */
async function ofHost(bench: Bench, system: System) {
  await warmUp(bench, system);
  const quiet = await quietly(bench, system);
  const large = await Sale.of(bench, "an event with many attendees", { capacity: ATTENDEES });
  await large.sell(system, { people: ATTENDEES, seconds: PATIENCE_S });
  await untilTold(bench);
  const [eventId] = large.events;
  const asks = hostOf(bench, system);

  const changes = await during(bench, system, async () => {
    const end = performance.now() + bench.settings.seconds * 1000;
    for (let capacity = ATTENDEES + 1; performance.now() < end; capacity++) {
      await asks("PATCH", `/events/${eventId}`, { capacity });
      await sleep(CHANGES_EVERY_MS);
    }
  });
  await large.recount();
  let cancelSeconds = Number.NaN;
  const cancellation = await during(bench, system, async () => {
    const startedAt = performance.now();
    await asks("POST", `/events/${eventId}/cancel`, {});
    cancelSeconds = (performance.now() - startedAt) / 1000;
  });
  large.isCancelled();
  await large.recount();
  return { quiet, changes, cancellation, cancelSeconds };
}

export const host: Scenario = async (bench) => {
  const rounds: Awaited<ReturnType<typeof ofHost>>[] = [];
  for (const round of ROUNDS) {
    const found = await onSystem(bench, ONE_PROCESS, (system) => ofHost(bench, system));
    rounds.push(found);
    const { quiet, changes, cancellation } = found;
    bench.say(
      `A neighbour of what a host does, round ${round}: ` +
        roundsOf("p99 ms quiet, changes, cancellation", [quiet, changes, cancellation]),
    );
  }
  const all = (kind: keyof (typeof rounds)[number]) => rounds.map((round) => round[kind]);
  const noticed = (what: string, kind: "changes" | "cancellation", more = ""): Finding =>
    finding({
      what: `Event B's p99 while the host of an event with ${written(ATTENDEES)} bookings ${what}`,
      value: median(all(kind)),
      unit: "ms",
      made: `${roundsOf("p99", all(kind))}; ${roundsOf("quiet", all("quiet"))}${more}`,
    });
  const took = roundsOf("seconds to the answer", all("cancelSeconds"));
  return [
    noticed("changes its capacity every second", "changes"),
    noticed("cancels it", "cancellation", `; ${took}`),
  ];
};
