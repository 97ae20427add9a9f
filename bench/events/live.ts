/** Open sockets: how soon who books is told, and how soon and at what cost one event reaches all. */
import { createSecretKey } from "node:crypto";
import { type Bench, onSystem, ROUNDS, type Scenario } from "../bench";
import { addEvents } from "../database";
import { type Finding, finding, median, percentile, roundsOf, written } from "../figures";
import { HOST, tokenOf } from "../people";
import { clockMs, type SocketReport, withSockets } from "../sockets";
import { GATEWAY_APART, type Layout, ONE_PROCESS, type System } from "../system";
import { forgetNotices } from "./notices";

const BOOKINGS_A_SECOND = 100;
const SOCKETS = 5_000;
const TOLD_WITHIN_MS = 20_000;
const KB = 1024;
/** So many of the crowd warm the system up; the others are measured. */
const WARM_UP = 200;

const note = ({ fault }: Bench, what: string, { faults }: SocketReport) => {
  for (const one of new Set(faults)) {
    fault(`${what}: ${faults.filter((other) => other === one).length} × ${one}`);
  }
};

/** Lets people with open sockets book in turn; gives the milliseconds until each was told. */
async function bookedAndTold(
  bench: Bench,
  { origin }: System,
  what: string,
  people: { first: number; count: number },
): Promise<number[]> {
  const { database, stopping, jwtSecret: secret } = bench;
  const [eventId = ""] = await addEvents(database, 1, 1_000_000);
  return withSockets(stopping, async (sockets) => {
    await sockets({ kind: "open", origin, secret, ...people });
    await database.settle();
    const report = await sockets({ kind: "book", origin, eventId, aSecond: BOOKINGS_A_SECOND });
    note(bench, what, report);
    return report.latencies;
  });
}

async function latency(bench: Bench, what: string, layout: Layout): Promise<Finding> {
  const p99s: number[] = [];
  const p50s: number[] = [];
  for (const round of ROUNDS) {
    await onSystem(bench, layout, async (system) => {
      await bookedAndTold(bench, system, what, { first: 1, count: WARM_UP });
      const count = BOOKINGS_A_SECOND * bench.settings.seconds;
      const took = await bookedAndTold(bench, system, what, { first: WARM_UP + 1, count });
      p99s.push(percentile(took, 99));
      p50s.push(percentile(took, 50));
    });
    await forgetNotices(bench.database);
    bench.say(`${what}, round ${round}: ${roundsOf("p99 ms", p99s.slice(-1))}`);
  }
  return finding({
    what: `${what}: booking to notification on the socket, p99 at ${BOOKINGS_A_SECOND} bookings/s`,
    value: median(p99s),
    unit: "ms",
    bar: { most: 150 },
    made: `from the request on: ${roundsOf("p99", p99s)}; ${roundsOf("p50", p50s)}`,
  });
}

export const socket: Scenario = async (bench) => [await latency(bench, "One process", ONE_PROCESS)];
export const socketOverNats: Scenario = async (bench) => [
  await latency(bench, "Gateway apart, over NATS", GATEWAY_APART),
];

async function rename(bench: Bench, { origin }: System, eventId: string, title: string) {
  const token = tokenOf(HOST, createSecretKey(Buffer.from(bench.jwtSecret)));
  const { status } = await fetch(`${origin}/api/events/${eventId}`, {
    method: "PATCH",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ title }),
  });
  if (status !== 200) throw new Error(`The event was not changed: ${status}`);
}

/** One change of one event, which all sockets of a gateway subscribe to. */
export const sockets: Scenario = async (bench) => {
  const { database, stopping, jwtSecret: secret } = bench;
  const p99s: number[] = [];
  const sizes: number[] = [];
  const what = `${written(SOCKETS)} open sockets on one gateway`;
  for (const round of ROUNDS) {
    await onSystem(bench, ONE_PROCESS, async (system) => {
      const [eventId = ""] = await addEvents(database, 1, 1_000_000);
      const [{ rss: before } = { rss: Number.NaN }] = await system.ask("memory");
      await withSockets(stopping, async (ask) => {
        const { origin } = system;
        await ask({ kind: "open", origin, secret, first: 1, count: SOCKETS, eventId });
        const [{ rss: after } = { rss: Number.NaN }] = await system.ask("memory");
        sizes.push((after - before) / SOCKETS / KB);
        const told = ask({ kind: "updated", withinMs: TOLD_WITHIN_MS });
        const changedAt = clockMs();
        await rename(bench, system, eventId, `Round ${round}`);
        const report = await told;
        note(bench, what, report);
        p99s.push(
          percentile(
            report.toldAt.map((at) => at - changedAt),
            99,
          ),
        );
      });
    });
    bench.say(
      `${what}, round ${round}: ${roundsOf("p99 ms", p99s.slice(-1))}, ${roundsOf("kB a socket", sizes.slice(-1))}`,
    );
  }
  return [
    finding({
      what: `${what}: one change to all, p99`,
      value: median(p99s),
      unit: "ms",
      bar: { most: 1000 },
      made: `from the host's request on: ${roundsOf("p99", p99s)}; ${roundsOf("kB of the gateway's memory a socket", sizes)}`,
    }),
  ];
};
