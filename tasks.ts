/**
 * `npm run migrate`, `npm run seed` and their `:undo`: one task on the database of the configuration, then
 * the end. The embedded database is used where it runs already, else started for as long as it takes.
 */
import { type Config, loadConfig } from "./lib/config";
import { loadEnvironment } from "./lib/environment";
import { explainedByDatabase, processDatabase } from "./lib/process-database";
import { OperatorError, type Program, runProgram, unlessStopped } from "./lib/program";
import { migrate, seed, undoMigrations, undoSeed } from "./system";

interface Task {
  /** What is said of the steps. */
  done: string;
  /** Options that it takes. */
  options: readonly string[];
  run(databaseUrl: string, config: Config, options: readonly string[]): Promise<string[]>;
}

const TASKS: Readonly<Record<string, Task>> = {
  migrate: { done: "Migrated", options: [], run: migrate },
  "migrate:undo": {
    done: "Undone",
    options: ["--all"],
    run: (url, _config, options) => undoMigrations(url, { all: options.includes("--all") }),
  },
  seed: { done: "Seeded", options: [], run: seed },
  "seed:undo": { done: "Undone", options: [], run: undoSeed },
};

const say = (line: string) => process.stdout.write(`${line}\n`);

/** @throws OperatorError for a task or an option that does not exist */
function readCommand([name = "", ...options]: readonly string[]): { name: string; task: Task } {
  const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
  if (!task) {
    throw new OperatorError(
      `There is no task "${name}"; there are ${Object.keys(TASKS).join(", ")}.`,
    );
  }
  const unknown = options.filter((option) => !task.options.includes(option));
  if (unknown.length) {
    const known = task.options.length ? task.options.join(", ") : "none";
    throw new OperatorError(`${name} does not take ${unknown.join(" ")}; its options: ${known}.`);
  }
  return { name, task };
}

async function run({ stopping, atEnd }: Program): Promise<void> {
  const command = process.argv.slice(2);
  const { name, task } = readCommand(command);
  loadEnvironment();
  const config = loadConfig(process.env);
  const database = await processDatabase(config, { log: say, stopping, share: true });
  atEnd(database.stop);
  try {
    const work = task.run(database.url, config, command.slice(1));
    // A server that is ours is stopped after the step, another's may let us wait for other nodes.
    const steps = await (database.started ? work : unlessStopped(stopping, work));
    say(steps.length ? `${task.done}: ${steps.join(", ")}` : `${name}: there was nothing to do`);
  } catch (error) {
    throw explainedByDatabase(error, name);
  }
}

runProgram({ failure: "Not done.", stays: false, exitCodeOfSignal: 1 }, run);
