/**
 * Runs the scenarios of a bench and writes what they found.
 *
 * Exit codes: 0 every bar that there is was reached; 1 a count did not agree, somebody was answered what nobody
 * may be, or the bench could not run; 2 the machine was not quiet enough for a verdict; 3 a bar was missed.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { EmbeddedPostgresError } from "../lib/embedded-postgres";
import { natsAnswers } from "../test/support/nats";
import { type Bench, ROUNDS, type Scenario } from "./bench";
import { addPeople, wantNoMails, withDatabase, withFolder } from "./database";
import { type Finding, onMachineThatIs } from "./figures";
import { withLoad } from "./load";
import { busyShare, describeMachine } from "./machine";
import { findingsTable, page, type Results } from "./report";
import { readSettings, type Settings, SettingsError } from "./settings";

export interface BenchPlan {
  /** Behind `npm run bench:`. */
  name: string;
  title: string;
  scenarios: Readonly<Record<string, { run: Scenario; needsNats?: true }>>;
  /** Whether people get mails. */
  mails: boolean;
  /** How many attendees come. */
  crowdOf(settings: Settings): number;
}

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

async function run(plan: BenchPlan): Promise<number> {
  const { title, scenarios, crowdOf } = plan;
  const file = `bench/results/${plan.name}.md`;
  const settings = readSettings(process.env, Object.keys(scenarios));
  const stopping = stopSignal(settings.seconds);
  const { only, seconds, natsUrl } = settings;
  const isWhole = only.length === Object.keys(scenarios).length;
  const skipped: string[] = [];
  const faults: string[] = [];
  const findings: Finding[] = [];
  const crowd = crowdOf(settings);

  const results = await withFolder((folder) =>
    withDatabase({ given: settings.databaseUrl, folder }, (database) =>
      withLoad(stopping, (load) =>
        withLoad(stopping, async (otherLoad) => {
          const machine = describeMachine(database.version, database.dataPath);
          say(`${crowd.toLocaleString("en-GB")} people come to a PostgreSQL ${database.version}`);
          await addPeople(database, crowd, stopping);
          if (!plan.mails) await wantNoMails(database);
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
            const scenario = scenarios[name];
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
            title,
            date: new Date(),
            machine,
            seconds,
            rounds: ROUNDS.length,
            findings,
            skipped,
            faults,
            command:
              `npm install && BENCH_SECONDS=${seconds} ` +
              `${isWhole ? "" : `BENCH_ONLY=${only.join(",")} `}npm run bench:${plan.name}`,
          };
        }),
      ),
    ),
  );
  // Some scenarios alone are for whoever works on them, and no results of the bench.
  if (isWhole) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, page(results));
    say(`\n${findingsTable(findings)}\n\nWritten to ${file}`);
    for (const line of [...skipped, ...faults]) say(line);
  } else {
    say(`\n${page(results)}`);
  }
  return exitCodeOf(results);
}

/** Runs a bench; the process ends with it. */
export function runBench(plan: BenchPlan): void {
  run(plan).then(
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
}
