/**
 * `npm run bench:bookings`: how fast seats are sold, on this machine, against what one client does with one
 * booking a commit. docs/benchmarks.md says what is measured and how to read it.
 *
 * Exit codes: 0 every bar that there is was reached; 1 a count did not agree, somebody was answered what nobody
 * may be, or the bench could not run; 2 the machine was not quiet enough for a verdict; 3 a bar was missed.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { EmbeddedPostgresError } from "../lib/embedded-postgres";
import { natsAnswers } from "../test/support/nats";
import { hot, hundred, overNats } from "./bookings/against-floor";
import { type Bench, ROUNDS, type Scenario } from "./bookings/bench";
import { memory, IN_ALL as PEOPLE_FOR_MEMORY } from "./bookings/memory";
import { host, rush } from "./bookings/neighbours";
import { nodes } from "./bookings/nodes";
import { crowded, soldOut } from "./bookings/pressure";
import { addPeople, withDatabase, withFolder } from "./database";
import { type Finding, onMachineThatIs } from "./figures";
import { withLoad } from "./load";
import { busyShare, describeMachine } from "./machine";
import { findingsTable, page, type Results } from "./report";
import { readSettings, SettingsError } from "./settings";

const SCENARIOS: Readonly<Record<string, { run: Scenario; needsNats?: true }>> = {
  hot: { run: hot },
  hundred: { run: hundred },
  nats: { run: overNats, needsNats: true },
  nodes: { run: nodes, needsNats: true },
  crowd: { run: crowded },
  "sold-out": { run: soldOut },
  memory: { run: memory },
  rush: { run: rush },
  host: { run: host },
};
const RESULTS = "bench/results/bookings.md";

/** Nobody books faster than this on a small machine; a measurement that runs out of people ends early. */
const MOST_BOOKINGS_A_SECOND = 12_000;
const MOST_PEOPLE = 400_000;
/** All scenarios together make fewer measurements than this; what they do beside that takes so long at the most. */
const MOST_MEASUREMENTS = 150;
const OTHERWISE_MINUTES = 30;
/** Ending takes so long at the most. */
const PATIENCE_MS = 60_000;

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Somebody wants the bench to end. */
class Stopped extends Error {}

/** Aborted by a signal, and by a time that no bench takes. */
function stopSignal(seconds: number): AbortSignal {
  const stopping = new AbortController();
  const stop = (reason: string) => {
    if (stopping.signal.aborted) return;
    stopping.abort(new Stopped(reason));
    // Only where something hangs: the bench ends by itself once all that it started has.
    setTimeout(() => process.exit(1), PATIENCE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => stop("Stopped; nothing was written."));
  }
  const minutes = OTHERWISE_MINUTES + Math.ceil((MOST_MEASUREMENTS * seconds) / 60);
  const tooLong = `It has not come to an end within ${minutes} minutes; nothing was written.`;
  setTimeout(() => stop(tooLong), minutes * 60_000).unref();
  return stopping.signal;
}

function exitCodeOf({ faults, findings }: Results): number {
  const has = (verdict: Finding["verdict"]) => findings.some((found) => found.verdict === verdict);
  if (faults.length > 0) return 1;
  if (has("no verdict")) return 2;
  return has("missed") ? 3 : 0;
}

async function run(): Promise<number> {
  const settings = readSettings(process.env, Object.keys(SCENARIOS));
  const stopping = stopSignal(settings.seconds);
  const { only, seconds, natsUrl } = settings;
  const isWhole = only.length === Object.keys(SCENARIOS).length;
  const skipped: string[] = [];
  const faults: string[] = [];
  const findings: Finding[] = [];
  const crowd = Math.max(
    Math.min(seconds * MOST_BOOKINGS_A_SECOND, MOST_PEOPLE),
    only.includes("memory") ? PEOPLE_FOR_MEMORY : 0,
  );

  const results = await withFolder((folder) =>
    withDatabase({ given: settings.databaseUrl, folder }, (database) =>
      withLoad(stopping, (load) =>
        withLoad(stopping, async (otherLoad) => {
          const machine = describeMachine(database.version, database.dataPath);
          say(`${crowd.toLocaleString("en-GB")} people come to a PostgreSQL ${database.version}`);
          await addPeople(database, crowd, stopping);
          const bench: Bench = {
            settings,
            database,
            crowd,
            load,
            otherLoad,
            jwtSecret: randomBytes(48).toString("base64url"),
            folder,
            stopping,
            say,
            fault(what) {
              say(`FAULT: ${what}`);
              faults.push(what);
            },
          };
          const natsIsThere = await natsAnswers(natsUrl);
          for (const name of only) {
            const scenario = SCENARIOS[name];
            if (scenario?.needsNats && !natsIsThere) {
              skipped.push(`${name}: no NATS server answers at ${natsUrl}`);
            } else if (scenario) {
              const busy = await busyShare();
              // What has gone wrong in one scenario shall not lose the figures of the others.
              const found = await scenario.run(bench).catch((error: unknown) => {
                stopping.throwIfAborted();
                bench.fault(`${name} broke off: ${error instanceof Error ? error.stack : error}`);
                return [];
              });
              findings.push(...found.map((one) => onMachineThatIs(busy, one)));
            }
          }
          return {
            title: "Bookings",
            date: new Date(),
            machine,
            seconds,
            rounds: ROUNDS.length,
            findings,
            skipped,
            faults,
            command:
              `npm install && BENCH_SECONDS=${seconds} ` +
              `${isWhole ? "" : `BENCH_ONLY=${only.join(",")} `}npm run bench:bookings`,
          };
        }),
      ),
    ),
  );
  // Some scenarios alone are for whoever works on them, and no results of the bench.
  if (isWhole) {
    mkdirSync(dirname(RESULTS), { recursive: true });
    writeFileSync(RESULTS, page(results));
    say(`\n${findingsTable(findings)}\n\nWritten to ${RESULTS}`);
    for (const line of [...skipped, ...faults]) say(line);
  } else {
    say(`\n${page(results)}`);
  }
  return exitCodeOf(results);
}

run().then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    const expected =
      error instanceof Stopped ||
      error instanceof SettingsError ||
      error instanceof EmbeddedPostgresError;
    console.error(expected ? error.message : error);
    process.exit(1);
  },
);
