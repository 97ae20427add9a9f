/**
 * `npm run repl`: Moleculer's console on the running configuration. With NATS_URL it joins the nodes as one
 * more that runs no service; without, it runs the services itself, all but the gateway, on the same database.
 */
import type { ServiceBroker } from "moleculer";
import openConsole from "moleculer-repl";
import { brokerOptions, createBroker } from "./lib/broker";
import { type Config, loadConfig, SERVICE_NAMES } from "./lib/config";
import { loadEnvironment } from "./lib/environment";
import { processDatabase } from "./lib/process-database";
import { type Program, runProgram, unlessStopped } from "./lib/program";
import { prepareDatabase, startSystem } from "./system";

type Console = ReturnType<typeof openConsole>;

const PROMPT = "marquee $";
const say = (line: string) => process.stdout.write(`${line}\n`);

/** A node without services, which hears of all the others. */
async function joinNodes(config: Config, { stopping, atEnd }: Program): Promise<ServiceBroker> {
  const broker = createBroker(brokerOptions(config), []);
  atEnd(() => broker.stop());
  await unlessStopped(stopping, broker.start());
  return broker;
}

async function runServices(config: Config, program: Program): Promise<ServiceBroker> {
  const { stopping, atEnd } = program;
  const database = await processDatabase(config, { log: say, stopping, share: true });
  atEnd(database.stop);
  void database.lost.then(program.fail);
  // Nobody else has prepared it then; an operator's database is not changed by looking into it.
  if (database.started) await prepareDatabase(database, config, stopping);
  const run = SERVICE_NAMES.filter((name) => name !== "api");
  const system = await startSystem({ config, databaseUrl: database.url, run, stopping });
  atEnd(system.stop);
  return system.broker;
}

/**
 * Lets one command end before the next begins: the console would begin lines that come from a pipe all at
 * once, and its parser keeps the parameters of one command at a time.
 *
 * @returns waits for the commands typed so far
 */
function oneAtATime(console: Console): () => Promise<void> {
  const evaluate = console.eval;
  let typed = Promise.resolve();
  // The property is read-only by its type alone; Node reads it anew for every line.
  (console as { eval: Console["eval"] }).eval = function (command, context, file, callback) {
    typed = typed.then(
      () =>
        new Promise<void>((resolve) => {
          evaluate.call(this, command, context, file, (...outcome) => {
            callback(...outcome);
            resolve();
          });
        }),
    );
  };
  return () => typed;
}

async function open(program: Program): Promise<void> {
  loadEnvironment();
  // What services tell of themselves would stand between the answers.
  const config = loadConfig({ LOG_LEVEL: "warn", ...process.env });
  const broker = await (config.natsUrl === undefined
    ? runServices(config, program)
    : joinNodes(config, program));
  program.stopping.throwIfAborted();

  // The console's `quit` stops its broker and ends the process; here more has to be stopped than that.
  const guest: ServiceBroker = Object.create(broker, { stop: { value: () => program.end(0) } });
  const console = openConsole(guest, { delimiter: PROMPT, customCommands: null });
  const allDone = oneAtATime(console);
  console.removeAllListeners("exit");
  console.once("exit", () => void allDone().then(() => program.end(0)));
}

runProgram({ failure: "The console cannot open.", stays: true, exitCodeOfSignal: 0 }, open);
