/**
 * `npm start`: the database, the tables, the services, and a few lines for the person who started it. Ends
 * with exit code 0 when it is told to, with 1 and a sentence when it cannot start.
 */
import { createServer } from "node:net";
import { type Config, jwtSecret, loadConfig, SERVICE_NAMES } from "./lib/config";
import { loadEnvironment } from "./lib/environment";
import { natsServers } from "./lib/nats-options";
import { processDatabase } from "./lib/process-database";
import { OperatorError, type Program, runProgram } from "./lib/program";
import { DEMO_PASSWORD, type DemoLogin, demoLogins } from "./seeders/0002-demo";
import { prepareDatabase, startSystem } from "./system";

const say = (line: string) => process.stdout.write(`${line}\n`);

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
      return new OperatorError(`Port ${port} on ${host} is in use; set PORT to another one.`);
    case "EACCES":
      return new OperatorError(
        `This account may not listen on port ${port}; set PORT to 1024 or more.`,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new OperatorError(`HOST ${host} is no address of this machine.`);
    default:
      return error;
  }
}

/** An address that a person can open: a server that listens everywhere is reached here, too. */
function originOf(host: string, port: number): string {
  const reachable = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
}

function banner(
  { host, services }: Config,
  port: number | undefined,
  logins: readonly DemoLogin[],
): void {
  const origin = port === undefined ? undefined : originOf(host, port);
  const whole = services.length === SERVICE_NAMES.length;
  say("");
  if (!whole) say(`  Marquee runs       ${services.join(", ")}`);
  if (origin) say(`  ${whole ? "Marquee is ready" : "The API         "}   ${origin}/api`);
  if (origin) say(`  Documentation      ${origin}/docs`);
  if (origin && !whole)
    say(`  Ready              once every service runs; ask ${origin}/health/ready`);
  if (whole && logins.length > 0) {
    say(`  Demo logins        password ${DEMO_PASSWORD}`);
    for (const { email, role } of logins) say(`    ${role.padEnd(8)}         ${email}`);
  }
  say("");
}

/** A process that waits for others shall not look like one that hangs. */
function sayOfOthers({ services, natsUrl }: Config): void {
  if (natsUrl !== undefined) {
    say(`Joining other nodes over NATS at ${natsServers(natsUrl)}`);
  } else if (services.length < SERVICE_NAMES.length) {
    say("NATS_URL is not set: this process will meet none that runs the other services.");
  }
}

async function start({ stopping, atEnd, fail }: Program): Promise<void> {
  loadEnvironment();
  const config = loadConfig(process.env);
  await checkPort(config);
  // Before a database is started for nothing.
  if (config.services.includes("core")) jwtSecret(config);
  sayOfOthers(config);
  const database = await processDatabase(config, { log: say, stopping });
  atEnd(database.stop);
  // Whoever supervises the process starts it again; by hand, the sentence says so.
  void database.lost.then(fail);
  await prepareDatabase(database, config, stopping);
  const system = await startSystem({ config, databaseUrl: database.url, stopping }).catch(
    (error) => {
      throw portError(error, config);
    },
  );
  atEnd(system.stop);
  stopping.throwIfAborted();
  const logins = config.seedDemo ? await demoLogins(system.database.query) : [];
  banner(config, system.address?.port, logins);
}

runProgram({ failure: "Marquee cannot start.", stays: true, exitCodeOfSignal: 0 }, start);
