/** Two nodes of bookings against one, the gateway beside them: what they cost each other in the database. */

import { type Bench, onSystem, ROUNDS, type Scenario, whereTimeGoes } from "../bench";
import { type Bar, type Finding, finding, median, roundsOf } from "../figures";
import { apart } from "../system";
import { bookingsASecond, Sale, warmUp } from "./sale";

/** Bookings a second of a hot event and of a hundred, with so many nodes. */
const speedsOf = (bench: Bench, nodes: number) =>
  onSystem(bench, apart(nodes), async (system) => {
    const speed = async (events: number) => {
      await warmUp(bench, system, { events, nodes });
      const sale = await Sale.of(bench, `${nodes} nodes, ${events} events`, { events });
      return bookingsASecond(await sale.sell(system));
    };
    return { hot: await speed(1), hundred: await speed(100) };
  });

const HOT = { least: 0.9 };

/** Of two nodes that were too slow on one event. */
const profile = (bench: Bench): Promise<string> =>
  onSystem(bench, apart(2), async (system) => {
    await warmUp(bench, system, { nodes: 2 });
    const sale = await Sale.of(bench, "2 nodes under observation");
    const where = await whereTimeGoes(bench, system, () => sale.book(system));
    await sale.recount();
    return where;
  });

export const nodes: Scenario = async (bench) => {
  const one: { hot: number; hundred: number }[] = [];
  const two: { hot: number; hundred: number }[] = [];
  for (const round of ROUNDS) {
    const [ofOne, ofTwo] = [await speedsOf(bench, 1), await speedsOf(bench, 2)];
    one.push(ofOne);
    two.push(ofTwo);
    bench.say(
      `Two nodes against one, round ${round}: ${roundsOf("hot", [ofTwo.hot, ofOne.hot])}, ` +
        roundsOf("100 events", [ofTwo.hundred, ofOne.hundred]),
    );
  }
  const compare = (what: string, kind: "hot" | "hundred", bar?: Bar): Finding => {
    const [ofOne, ofTwo] = [one.map((speeds) => speeds[kind]), two.map((speeds) => speeds[kind])];
    return finding({
      what: `${what}: two bookings nodes ÷ one`,
      value: median(ofTwo) / median(ofOne),
      unit: "",
      ...(bar ? { bar } : {}),
      baseline: ofOne,
      made: `${roundsOf("bookings/s of two", ofTwo)}; ${roundsOf("of one", ofOne)}`,
    });
  };
  const hot = compare("Hot event (sharded)", "hot", HOT);
  if (hot.value < HOT.least) hot.made += `; ${await profile(bench)}`;
  return [hot, compare("100 events", "hundred")];
};
