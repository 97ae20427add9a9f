/** Bookings a second against the floor, in turns: hot event, a hundred events, two processes. */

import {
  type Bench,
  floorOf,
  onSystem,
  ROUNDS,
  type Scenario,
  untilTold,
  whereTimeGoes,
} from "../bench";
import { type Bar, type Finding, finding, median, roundsOf } from "../figures";
import type { LoadReport } from "../load";
import { apart, type Layout, ONE_PROCESS, type System } from "../system";
import { answersOf, bookingsASecond, Sale, warmUp } from "./sale";

interface Setup {
  what: string;
  layout: Layout;
  events: number;
  bar: { least: number };
}

interface Rounds {
  floors: number[];
  reports: LoadReport[];
  /** Seconds from the end of the load until everybody had been told of what they had booked. */
  told: number[];
}

async function readySale(bench: Bench, system: System, { what, events }: Setup): Promise<Sale> {
  await warmUp(bench, system, { events });
  return Sale.of(bench, what, { events });
}

async function inTurns(bench: Bench, setup: Setup): Promise<Rounds> {
  const floors: number[] = [];
  const reports: LoadReport[] = [];
  const told: number[] = [];
  for (const round of ROUNDS) {
    floors.push(await floorOf(bench));
    await onSystem(bench, setup.layout, async (system) => {
      const sale = await readySale(bench, system, setup);
      await bench.database.settle();
      reports.push(await sale.book(system));
      told.push(await untilTold(bench));
      await sale.recount();
    });
    bench.say(
      `${setup.what}, round ${round}: ${roundsOf("floor", floors.slice(-1))}, ` +
        roundsOf("bookings/s", reports.slice(-1).map(bookingsASecond)),
    );
  }
  return { floors, reports, told };
}

async function againstFloor(
  bench: Bench,
  setup: Setup,
): Promise<{ rounds: Rounds; ratio: Finding }> {
  const rounds = await inTurns(bench, setup);
  const { floors, reports, told } = rounds;
  const speeds = reports.map(bookingsASecond);
  const ratio = finding({
    what: `${setup.what}: bookings/s ÷ floor`,
    value: median(speeds) / median(floors),
    unit: "",
    bar: setup.bar,
    baseline: floors,
    made:
      `${roundsOf("bookings/s", speeds)}; ${roundsOf("floor", floors)}; ${answersOf(reports)}; ` +
      roundsOf("seconds until all were told", told),
  });
  // Also where the machine was too busy for a verdict: the shares are of the nodes' own time.
  if (ratio.value < setup.bar.least) ratio.made += `; ${await profile(bench, setup)}`;
  return { rounds, ratio };
}

/** Of a system that was too slow. */
const profile = (bench: Bench, setup: Setup): Promise<string> =>
  onSystem(bench, setup.layout, async (system) => {
    const sale = await readySale(bench, system, setup);
    const where = await whereTimeGoes(bench, system, () => sale.book(system));
    await sale.recount();
    return where;
  });

const latencyOf = (what: string, { floors, reports }: Rounds, bar?: Bar): Finding => {
  const [p99s, p50s] = [
    reports.map(({ latency }) => latency.p99),
    reports.map(({ latency }) => latency.p50),
  ];
  return finding({
    what: `${what}: p99 of accepted bookings`,
    value: median(p99s),
    unit: "ms",
    ...(bar ? { bar } : {}),
    baseline: floors,
    made: `${roundsOf("p99", p99s)}; ${roundsOf("p50", p50s)}`,
  });
};

export const hot: Scenario = async (bench) => {
  const what = "Hot event, one process, 64 connections";
  const setup = { what, layout: ONE_PROCESS, events: 1, bar: { least: 2.5 } };
  const { rounds, ratio } = await againstFloor(bench, setup);
  return [ratio, latencyOf(what, rounds, { most: 60 })];
};

export const hundred: Scenario = async (bench) => {
  const what = "100 events, one process, 64 connections";
  const setup = { what, layout: ONE_PROCESS, events: 100, bar: { least: 2.5 } };
  const { rounds, ratio } = await againstFloor(bench, setup);
  return [ratio, latencyOf(what, rounds)];
};

export const overNats: Scenario = async (bench) => {
  const what = "Hot event, gateway and bookings in two processes over NATS";
  const setup = { what, layout: apart(1), events: 1, bar: { least: 1.25 } };
  const { rounds, ratio } = await againstFloor(bench, setup);
  return [ratio, latencyOf(what, rounds)];
};
