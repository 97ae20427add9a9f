import { type Bench, USUAL, untilTold } from "../bench";
import { addEvents } from "../database";
import { written } from "../figures";
import type { Load, LoadReport } from "../load";
import { recount } from "../recount";
import type { System } from "../system";

/** What somebody who books may be answered. */
const ALLOWED = /^(201|409 (EVENT_SOLD_OUT|IDEMPOTENCY_IN_PROGRESS)|429( .*)?|503( .*)?)$/;
const MOST_SEATS = 1_000_000;
/**
 * Long enough for most of a node's code to have been compiled: V8 takes 0.75 s of a processor for that in the first
 * second of a rush, 0.1 in the fourth, 0.05 from the sixth on.
 */
const WARM_UP_SECONDS = 5;

export interface Demand {
  connections?: number;
  seconds?: number;
  /** Ends the demand when so many people have asked. */
  people?: number;
  /** Between an answer and the connection's next request. */
  pauseMs?: number;
  load?: Load;
}

/** Events on sale, and who has booked them. */
export class Sale {
  private booked: string[] = [];
  private askedAlready = 0;

  private constructor(
    private readonly bench: Bench,
    private readonly what: string,
    readonly events: readonly string[],
  ) {}

  /** @param what names it in a fault */
  static async of(
    bench: Bench,
    what: string,
    { events = 1, capacity = MOST_SEATS } = {},
  ): Promise<Sale> {
    return new Sale(bench, what, await addEvents(bench.database, events, capacity));
  }

  /** Lets people book, each once, and notes every answer that nobody may get. */
  async book(system: System, demand: Demand = {}): Promise<LoadReport> {
    const { bench, events } = this;
    const { connections = USUAL, pauseMs = 0, load = bench.load } = demand;
    const most = Math.min(demand.people ?? bench.crowd, bench.crowd - this.askedAlready);
    const report = await load.run({
      origin: system.origin,
      secret: bench.jwtSecret,
      connections,
      events,
      people: { first: this.askedAlready, most, crowd: bench.crowd },
      seconds: demand.seconds ?? bench.settings.seconds,
      pauseMs,
    });
    this.askedAlready += report.asked;
    this.booked = this.booked.concat(report.bookings);
    for (const [kind, count] of Object.entries(report.answers)) {
      if (!ALLOWED.test(kind)) bench.fault(`${this.what}: ${written(count)} × ${kind}`);
    }
    return report;
  }

  /** Says that the event was cancelled: nobody has a booking any more. */
  isCancelled(): void {
    this.booked = [];
  }

  /** Counts in the database what was sold, and notes what does not agree. */
  async recount(): Promise<void> {
    const { bench, events, booked } = this;
    for (const fault of await recount(bench.database, events, booked)) {
      bench.fault(`${this.what}: ${fault}`);
    }
  }

  /**
   * Lets people book, on a server that has nothing else to do and nothing to tell any more, and counts what they have
   * got.
   */
  async sell(system: System, demand?: Demand): Promise<LoadReport> {
    await untilTold(this.bench);
    await this.bench.database.settle();
    const report = await this.book(system, demand);
    await this.recount();
    return report;
  }
}

export const bookingsASecond = ({ accepted, seconds }: LoadReport): number => accepted / seconds;

/** Of so many events each node that takes bookings has about its share. */
const EVENTS_FOR_ALL = 32;

/**
 * Gives a system's code time to be compiled, on events that nothing is measured with.
 *
 * @param nodes so many take bookings: an event's all go to one of them, and each needs its time
 */
export async function warmUp(
  bench: Bench,
  system: System,
  { events = 1, nodes = 1 } = {},
): Promise<void> {
  const sale = await Sale.of(bench, "warming up", {
    events: nodes > 1 ? Math.max(events, EVENTS_FOR_ALL) : events,
  });
  const seconds = Math.min(WARM_UP_SECONDS, bench.settings.seconds) * nodes;
  await sale.sell(system, { seconds });
  // Or what is measured next would be measured beside what is still to be told of this.
  await untilTold(bench);
}

/** Every kind of answer and how often it came, for the results. */
export function answersOf(reports: readonly LoadReport[]): string {
  const sum = new Map<string, number>();
  for (const { answers } of reports) {
    for (const [kind, count] of Object.entries(answers)) {
      sum.set(kind, (sum.get(kind) ?? 0) + count);
    }
  }
  return [...sum].map(([kind, count]) => `${written(count)} × ${kind}`).join(", ");
}
