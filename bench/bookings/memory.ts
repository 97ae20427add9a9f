/** Whether a process grows with what it has sold. */

import { onSystem, type Scenario, untilTold } from "../bench";
import { finding, written } from "../figures";
import { ONE_PROCESS } from "../system";
import { Sale } from "./sale";

const FIRST = 20_000;
/** People that this scenario needs. */
export const IN_ALL = 200_000;
/** It is about how many, not about how long; a bench must end. */
const MOST_SECONDS = 300;
const MB = 1024 * 1024;
const NOTHING = { rss: Number.NaN, heapUsed: Number.NaN };

export const memory: Scenario = (bench) =>
  onSystem(bench, ONE_PROCESS, async (system) => {
    const what = `Memory after ${written(IN_ALL)} bookings ÷ after ${written(FIRST)}`;
    const sale = await Sale.of(bench, what);
    const after = async (people: number) => {
      const { bookings } = await sale.sell(system, { people, seconds: MOST_SECONDS });
      await untilTold(bench);
      const [{ rss, heapUsed } = NOTHING] = await system.ask("memory");
      return { rss, heapUsed, sold: bookings.length };
    };
    const few = await after(FIRST);
    const many = await after(IN_ALL - FIRST);
    const sold = few.sold + many.sold;
    const sizes = ({ rss, heapUsed }: typeof few) =>
      `${written(rss / MB)} MB (objects ${written(heapUsed / MB)} MB)`;
    return [
      finding({
        what,
        // On a machine that was too busy to sell so many there is nothing to compare.
        value: sold === IN_ALL ? many.rss / few.rss : Number.NaN,
        unit: "",
        bar: { most: 1.2 },
        made: `RSS after a garbage collection: ${sizes(many)}; ${sizes(few)}; ${written(sold)} bookings`,
      }),
    ];
  });
