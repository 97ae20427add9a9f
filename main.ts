/**
 * `npm start`: the database, the tables, the services, and a few lines for the person who started it. Ends
 * with exit code 0 on SIGINT or SIGTERM, with 1 and a sentence when it cannot start.
 */
import { createServer } from "node:net";
import { type Config, ConfigError, loadConfig } from "./lib/config";
import { EmbeddedPostgresError } from "./lib/embedded-postgres";
import { loadEnvironment } from "./lib/environment";
import { processDatabase } from "./lib/process-database";
import { DEMO_PASSWORD, DEMO_USERS } from "./seeders/0002-demo";
import { migrate, seed, startSystem } from "./system";

/** A stop that takes longer than this has failed. */
const STOP_DEADLINE_MS = 20_000;

const say = (line: string) => process.stdout.write(`${line}\n`);

/** A reason not to start that needs no stack: a sentence for the operator. */
class StartError extends Error {}

/** Looks whether the port is free before anything else is started; a taken one is the commonest mishap. */
function checkPort({ host, port, services }: Config): Promise<void> {
  if (!services.includes("api")) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => reject(portError(error, { host, port })));
    probe.listen(port, host, () => probe.close(() => resolve()));
  });
}

function portError(
  error: NodeJS.ErrnoException,
  { host, port }: Pick<Config, "host" | "port">,
): Error {
  switch (error.code) {
    case "EADDRINUSE":
      return new StartError(`Port ${port} on ${host} is in use; set PORT to another one.`);
    case "EACCES":
      return new StartError(
        `This account may not listen on port ${port}; set PORT to 1024 or more.`,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new StartError(`HOST ${host} is no address of this machine.`);
    default:
      return error;
  }
}

const reasonOf = (error: unknown): string => {
  const code = (error as { original?: { code?: string } }).original?.code;
  return code ?? (error instanceof Error ? error.message : String(error));
};

function banner(config: Config, origin: string | undefined): void {
  if (origin === undefined) {
    say(`Marquee runs ${config.services.join(", ")}.`);
    return;
  }
  say("");
  say(`  Marquee is ready   ${origin}/api`);
  say(`  Documentation      ${origin}/docs`);
  if (config.seedDemo) {
    say(`  Demo logins        password ${DEMO_PASSWORD}`);
    for (const { email, role } of DEMO_USERS) say(`    ${role.padEnd(8)}         ${email}`);
  }
  say("");
}

type Cleanup = () => Promise<void>;

async function start(config: Config, cleanups: Cleanup[]): Promise<void> {
  await checkPort(config);
  const database = await processDatabase(config, say);
  cleanups.push(() => database.stop());
  try {
    await migrate(database.url);
    await seed(database.url, config);
  } catch (error) {
    throw database.embedded || !/Connection|Access/.test((error as Error).name)
      ? error
      : new StartError(`The database of DATABASE_URL does not answer: ${reasonOf(error)}.`);
  }
  const system = await startSystem({ config, databaseUrl: database.url }).catch((error) => {
    throw portError(error, config);
  });
  cleanups.push(() => system.stop());
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  banner(config, system.address && `http://${host}:${system.address.port}`);
}

async function run(): Promise<void> {
  loadEnvironment();
  const cleanups: Cleanup[] = [];
  let stopping = false;

  const stop = async (code: number): Promise<never> => {
    setTimeout(() => process.exit(1), STOP_DEADLINE_MS).unref();
    // Last started, first stopped; a failure of one must not keep the others running.
    for (const cleanup of cleanups.splice(0).reverse()) {
      await cleanup().catch((error) => process.stderr.write(`${reasonOf(error)}\n`));
    }
    process.exit(code);
  };

  const config = loadConfig(process.env);
  const started = start(config, cleanups);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, async () => {
      if (stopping) return;
      stopping = true;
      say("Stopping…");
      // What is half started can only be stopped once it stands.
      const patience = new Promise((resolve) => setTimeout(resolve, STOP_DEADLINE_MS / 2).unref());
      await Promise.race([started.catch(() => {}), patience]);
      await stop(0);
    });
  }
  await started.catch(async (error: unknown) => {
    if (stopping) return;
    report(error);
    await stop(1);
  });
}

function report(error: unknown): void {
  const expected =
    error instanceof StartError ||
    error instanceof EmbeddedPostgresError ||
    error instanceof ConfigError;
  const words = error instanceof Error ? (expected ? error.message : error.stack) : String(error);
  process.stderr.write(`Marquee cannot start. ${words}\n`);
}

run().catch((error) => {
  report(error);
  process.exitCode = 1;
});
