/**
 * `npm run migrate`, `npm run seed` and their `:undo`: one task on the database of the configuration, then
 * the end. With the embedded database they start it for as long as it takes.
 */
import { ConfigError, loadConfig } from "./lib/config";
import { EmbeddedPostgresError } from "./lib/embedded-postgres";
import { loadEnvironment } from "./lib/environment";
import { processDatabase } from "./lib/process-database";
import { migrate, seed, undoMigrations, undoSeed } from "./system";

const TASKS = {
  migrate,
  "migrate:undo": (url: string) => undoMigrations(url, { all: process.argv.includes("--all") }),
  seed,
  "seed:undo": undoSeed,
};

async function run(name: string | undefined): Promise<void> {
  const task = Object.entries(TASKS).find(([known]) => known === name)?.[1];
  if (!task) throw new ConfigError([`There is no task ${name}; there are ${Object.keys(TASKS).join(", ")}.`]);
  loadEnvironment();
  const config = loadConfig(process.env);
  const database = await processDatabase(config, console.log);
  try {
    const done = await task(database.url, config);
    console.log(done.length ? `${name}: ${done.join(", ")}` : `${name}: nothing to do`);
  } finally {
    await database.stop();
  }
}

run(process.argv[2]).catch((error: Error) => {
  const expected = error instanceof ConfigError || error instanceof EmbeddedPostgresError;
  console.error(expected ? error.message : error.stack);
  process.exitCode = 1;
});
