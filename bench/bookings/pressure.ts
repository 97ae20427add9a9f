/** More connections than the system is at its best with, and more people than seats. */

import {
  type Bench,
  onSystem,
  ROUNDS,
  type Scenario,
  USUAL,
  untilTold,
  whereTimeGoes,
} from "../bench";
import { finding, median, roundsOf } from "../figures";
import type { LoadReport } from "../load";
import { ONE_PROCESS, type System } from "../system";
import { answersOf, bookingsASecond, Sale, warmUp } from "./sale";

/** Of a system that was too slow with a load. */
const profile = (
  bench: Bench,
  load: (system: System) => Promise<{ work: () => Promise<unknown>; sale: Sale }>,
): Promise<string> =>
  onSystem(bench, ONE_PROCESS, async (system) => {
    await warmUp(bench, system);
    const { work, sale } = await load(system);
    await untilTold(bench);
    await bench.database.settle();
    const where = await whereTimeGoes(bench, system, work);
    await sale.recount();
    return where;
  });

const CROWDED = 256;
/** At one of these the system is taken to be at its peak. */
const PEAK_AMONG = [USUAL, 128];
const GOODPUT = { least: 0.9 };
const REFUSALS = { least: 1.5 };

export const crowded: Scenario = async (bench) => {
  const what = `${CROWDED} connections that honour Retry-After, hot event`;
  const peaks: number[] = [];
  const reports: LoadReport[] = [];
  for (const round of ROUNDS) {
    await onSystem(bench, ONE_PROCESS, async (system) => {
      await warmUp(bench, system);
      const speeds: number[] = [];
      for (const connections of PEAK_AMONG) {
        const sale = await Sale.of(bench, `${connections} connections`);
        speeds.push(bookingsASecond(await sale.sell(system, { connections })));
      }
      peaks.push(Math.max(...speeds));
      reports.push(await (await Sale.of(bench, what)).sell(system, { connections: CROWDED }));
    });
    bench.say(
      `${what}, round ${round}: ${roundsOf("peak", peaks.slice(-1))}, ` +
        roundsOf("bookings/s", reports.slice(-1).map(bookingsASecond)),
    );
  }
  const goodput = reports.map(bookingsASecond);
  const p99s = reports.map(({ latency }) => latency.p99);
  const found = finding({
    what: `${what}: goodput ÷ peak (of ${PEAK_AMONG.join(" and ")} connections)`,
    value: median(goodput) / median(peaks),
    unit: "",
    bar: GOODPUT,
    baseline: peaks,
    made:
      `${roundsOf("bookings/s", goodput)}; ${roundsOf("peak", peaks)}; ${roundsOf("p99 ms", p99s)}; ` +
      answersOf(reports),
  });
  if (found.value < GOODPUT.least) {
    const where = await profile(bench, async (system) => {
      const sale = await Sale.of(bench, `${what} under observation`);
      return { sale, work: () => sale.book(system, { connections: CROWDED }) };
    });
    found.made += `; ${where}`;
  }
  return [found];
};

const answersASecond = ({ answered, seconds }: LoadReport) => answered / seconds;

export const soldOut: Scenario = async (bench) => {
  const what = "Hot event that is sold out";
  const bookings: number[] = [];
  const refusals: LoadReport[] = [];
  for (const round of ROUNDS) {
    await onSystem(bench, ONE_PROCESS, async (system) => {
      await warmUp(bench, system);
      bookings.push(bookingsASecond(await (await Sale.of(bench, "on sale")).sell(system)));
      refusals.push(await (await soldOutSale(bench, system, what)).sell(system));
    });
    bench.say(
      `${what}, round ${round}: ${roundsOf("bookings/s", bookings.slice(-1))}, ` +
        roundsOf("answers/s", refusals.slice(-1).map(answersASecond)),
    );
  }
  const answers = refusals.map(answersASecond);
  const found = finding({
    what: `${what}: answers/s ÷ bookings/s`,
    value: median(answers) / median(bookings),
    unit: "",
    bar: REFUSALS,
    baseline: bookings,
    made: `${roundsOf("answers/s", answers)}; ${roundsOf("bookings/s", bookings)}; ${answersOf(refusals)}`,
  });
  if (found.value < REFUSALS.least) {
    const where = await profile(bench, async (system) => {
      const sale = await soldOutSale(bench, system, `${what}, under observation`);
      return { sale, work: () => sale.book(system) };
    });
    found.made += `; ${where}`;
  }
  return [found];
};

async function soldOutSale(bench: Bench, system: System, what: string): Promise<Sale> {
  const sale = await Sale.of(bench, what, { capacity: 1 });
  await sale.sell(system, { connections: 1, people: 1 });
  return sale;
}
