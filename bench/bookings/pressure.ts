/** More connections than the system is at its best with, and more people than seats. */
import { finding, median, roundsOf } from "../figures";
import type { LoadReport } from "../load";
import { ONE_PROCESS, type System } from "../system";
import { type Bench, onSystem, ROUNDS, type Scenario, USUAL } from "./bench";
import { answersOf, bookingsASecond, Sale, warmUp } from "./sale";

const CROWDED = 256;
/** At one of these the system is taken to be at its peak. */
const PEAK_AMONG = [USUAL, 128];

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
  return [
    finding({
      what: `${what}: goodput ÷ peak (of ${PEAK_AMONG.join(" and ")} connections)`,
      value: median(goodput) / median(peaks),
      unit: "",
      bar: { least: 0.9 },
      baseline: peaks,
      made:
        `${roundsOf("bookings/s", goodput)}; ${roundsOf("peak", peaks)}; ${roundsOf("p99 ms", p99s)}; ` +
        answersOf(reports),
    }),
  ];
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
      refusals.push(await refuse(bench, system, what));
    });
    bench.say(
      `${what}, round ${round}: ${roundsOf("bookings/s", bookings.slice(-1))}, ` +
        roundsOf("answers/s", refusals.slice(-1).map(answersASecond)),
    );
  }
  const answers = refusals.map(answersASecond);
  return [
    finding({
      what: `${what}: answers/s ÷ bookings/s`,
      value: median(answers) / median(bookings),
      unit: "",
      bar: { least: 1.5 },
      baseline: bookings,
      made: `${roundsOf("answers/s", answers)}; ${roundsOf("bookings/s", bookings)}; ${answersOf(refusals)}`,
    }),
  ];
};

async function refuse(bench: Bench, system: System, what: string): Promise<LoadReport> {
  const sale = await Sale.of(bench, what, { capacity: 1 });
  await sale.sell(system, { connections: 1, people: 1 });
  return sale.sell(system);
}
