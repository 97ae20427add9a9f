/** What it costs a rush of bookings that people are told of them, and how far behind the telling is after it. */
import { type Bench, onSystem, ROUNDS, type Scenario, untilTold } from "../bench";
import { bookingsASecond, Sale, warmUp } from "../bookings/sale";
import { finding, median, roundsOf } from "../figures";
import { type Layout, ONE_PROCESS, WITHOUT_NOTIFICATIONS } from "../system";
import { forgetNotices } from "./notices";

const RUSH_SECONDS = 30;

async function rushOf(bench: Bench, what: string, layout: Layout, isHeard: boolean) {
  // Nobody hears of it, so it would stay.
  const forget = async () => {
    if (!isHeard) await bench.database.query("DELETE FROM outbox");
  };
  return onSystem(bench, layout, async (system) => {
    const sale = await Sale.of(bench, "warming up");
    await sale.book(system, { seconds: Math.min(5, bench.settings.seconds) });
    await forget();
    await untilTold(bench);
    const rush = await Sale.of(bench, what);
    await bench.database.settle();
    const speed = bookingsASecond(await rush.book(system));
    await rush.recount();
    await forget();
    return speed;
  });
}

/** Bookings a second while people are told, against none being told. */
const cost: Scenario = async (bench) => {
  const [told, untold]: [number[], number[]] = [[], []];
  for (const round of ROUNDS) {
    untold.push(await rushOf(bench, "without consumers", WITHOUT_NOTIFICATIONS, false));
    told.push(await rushOf(bench, "with consumers", ONE_PROCESS, true));
    await forgetNotices(bench.database);
    bench.say(
      `Bookings with and without consumers, round ${round}: ${roundsOf("bookings/s with", told.slice(-1))}, ` +
        roundsOf("without", untold.slice(-1)),
    );
  }
  return [
    finding({
      what: "Bookings/s with consumers ÷ without",
      value: median(told) / median(untold),
      unit: "",
      bar: { least: 0.7 },
      baseline: untold,
      made: `${roundsOf("bookings/s with", told)}; ${roundsOf("without", untold)}`,
    }),
  ];
};

/** Seconds from the end of a long rush until everybody has been told. */
const backlog: Scenario = (bench) =>
  onSystem(bench, ONE_PROCESS, async (system) => {
    await warmUp(bench, system);
    const sale = await Sale.of(bench, "a long rush");
    await bench.database.settle();
    const report = await sale.book(system, { seconds: RUSH_SECONDS });
    const seconds = await untilTold(bench);
    await sale.recount();
    await forgetNotices(bench.database);
    return [
      finding({
        what: `The backlog of a ${RUSH_SECONDS} s rush is heard of within`,
        value: seconds * 1000,
        unit: "ms",
        bar: { most: 30_000 },
        made: `${roundsOf("bookings/s", [bookingsASecond(report)])}; ${report.bookings.length} bookings`,
      }),
    ];
  });

export const rush: Scenario = async (bench) => [...(await cost(bench)), ...(await backlog(bench))];
