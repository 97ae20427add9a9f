/** What every scenario of the bookings' bench works with. */
import type { BenchDatabase } from "./database";
import type { Finding } from "./figures";
import { measureFloor } from "./floor";
import type { Load } from "./load";
import { timeOf } from "./processor-time";
import { sharesOf } from "./profile";
import type { Settings } from "./settings";
import { type Layout, type System, withSystem } from "./system";

export interface Bench {
  readonly settings: Settings;
  readonly database: BenchDatabase;
  /** Attendees in the database. */
  readonly crowd: number;
  readonly load: Load;
  /** A second process that drives the system, for those whose figures another load must not spoil. */
  readonly otherLoad: Load;
  readonly jwtSecret: string;
  /** For whatever is written on the way. */
  readonly folder: string;
  readonly stopping: AbortSignal;
  say(line: string): void;
  /** Notes what must never be: a count that does not agree, an answer that nobody may get. */
  fault(what: string): void;
}

/** A part of the bench: measures and says what it found. */
export type Scenario = (bench: Bench) => Promise<Finding[]>;

export const ROUNDS = [1, 2, 3] as const;
/** Connections of the usual load. */
export const USUAL = 64;

/** After this time nobody is waited for any more who is still to be told of a booking. */
const TOLD_WITHIN_S = 60;
const LOOK_EVERY_MS = 100;

/** Runs something on a freshly started system, and ends it when everybody has been told of everything. */
export function onSystem<T>(
  bench: Bench,
  layout: Layout,
  work: (system: System) => Promise<T>,
): Promise<T> {
  const { database, settings, jwtSecret, folder, stopping } = bench;
  const options = {
    layout,
    databaseUrl: database.url,
    natsUrl: settings.natsUrl,
    logLevel: settings.logLevel,
    jwtSecret,
    folder,
    stopping,
  };
  return withSystem(options, async (system) => {
    const result = await work(system);
    await untilTold(bench);
    return result;
  });
}

/** Waits until the outbox is empty; gives the seconds that took. */
export async function untilTold({ database, stopping, fault }: Bench): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    stopping.throwIfAborted();
    const waiting = await database.query("SELECT FROM outbox LIMIT 1");
    const seconds = (performance.now() - startedAt) / 1000;
    if (waiting.length === 0) return seconds;
    if (seconds > TOLD_WITHIN_S) {
      const [left] = await database.query<{ count: number }>(
        "WITH gone AS (DELETE FROM outbox RETURNING id) SELECT count(*)::int AS count FROM gone",
      );
      fault(`${left?.count} rows were in the outbox ${TOLD_WITHIN_S} s after the last booking`);
      return seconds;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** Says where the time goes while a system is at work: of the machine's processors, and within each node. */
export async function whereTimeGoes(
  bench: Bench,
  system: System,
  work: () => Promise<unknown>,
): Promise<string> {
  const spent = timeOf(bench, system);
  await system.ask("watch");
  await work();
  const shares = sharesOf(await system.ask("time"));
  const parts = spent().map(([what, seconds]) => `${what} ${seconds.toFixed(1)} s`);
  return `where the time went: ${[...parts, shares].join("; ")}`;
}

export const floorOf = ({ database, settings, crowd, stopping }: Bench): Promise<number> =>
  measureFloor(database, { seconds: settings.seconds, attendees: crowd, stopping });
