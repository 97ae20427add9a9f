import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServiceBroker, Transporters } from "moleculer";
import { natsTransporter, type Transporter } from "../../lib/broker";
import {
  type Config,
  type Environment,
  loadConfig,
  SERVICE_NAMES,
  type ServiceName,
} from "../../lib/config";
import { type System, type SystemOptions, startSystem } from "../../system";
import { createTestDatabase, type TestDatabase } from "./database";
import { freePort } from "./free-port";
import { NATS_URL } from "./nats";

/** Cheap hashes, no limits on requests, a port of its own, only errors in the log. */
const QUIET: Environment = {
  PORT: "0",
  JWT_SECRET: "a secret for tests alone, 32 bytes",
  BCRYPT_ROUNDS: "4",
  RATE_LIMIT_AUTH: "0",
  RATE_LIMIT_API: "0",
  LOG_LEVEL: "fatal",
  LOG_FORMAT: "json",
};

/** A folder that is not there yet, for one system; all of them go when the tests have run. */
const newDataDir = (): string => join(process.env.MARQUEE_TEST_DATA ?? tmpdir(), randomUUID());

export const testConfig = (databaseUrl: string, environment: Environment = {}): Config =>
  loadConfig({ ...QUIET, DATA_DIR: newDataDir(), DATABASE_URL: databaseUrl, ...environment });

/** How the services of a test are spread over brokers. */
export type Spread = "one process" | "a broker each over TCP" | "a broker each over NATS";

/** Every way that can be tried on this machine; over NATS where one answers, which the global setup looks for. */
export const SPREADS: readonly Spread[] = [
  "one process",
  "a broker each over TCP",
  ...(process.env.MARQUEE_TEST_NATS === "yes" ? (["a broker each over NATS"] as const) : []),
];

export interface TestSystem {
  /** `http://127.0.0.1:…` */
  readonly origin: string;
  readonly database: TestDatabase;
  readonly systems: readonly System[];
  /** Where they keep their files. */
  readonly dataDir: string;
  stop(): Promise<void>;
}

export interface TestSystemOptions extends Partial<Omit<SystemOptions, "config" | "databaseUrl">> {
  environment?: Environment;
  spread?: Spread;
  /** Services that a second broker runs as well, where each has one of its own. */
  twice?: readonly ServiceName[];
  /** One that exists already, e.g. for a second process on the same data; it is not dropped. */
  database?: TestDatabase;
  /** How long anybody waits for a row that somebody else holds; as the product has it unless told. */
  lockTimeoutMs?: number;
}

/** For tests that hold a row while somebody waits for it, where how long that takes is not what they are about. */
export const PATIENT_MS = 30_000;

/** How often a node that starts asks the others what they know; Moleculer's own shortest pause is a second. */
const EAGER_GOSSIP_MS = 50;

/** TCP between nodes that find each other at once, and not by and by: that took most of such a test's time. */
class EagerTcp extends Transporters.TCP {
  private asking: NodeJS.Timeout | undefined;

  override startTimers(): void {
    super.startTimers();
    this.asking = setInterval(() => this.sendGossipRequest(), EAGER_GOSSIP_MS);
    this.asking.unref();
  }

  override stopTimers(): void {
    this.calmDown();
    super.stopTimers();
  }

  /** From now on only Moleculer's own timer asks. */
  calmDown(): void {
    clearInterval(this.asking);
  }
}

/** A node that has started tells the others so at once; by itself it lets a second go by. */
function tellAtOnce(system: System): System {
  ServiceBroker.prototype.localServiceChanged.call(system.broker);
  return system;
}

/** For every node the transporter of its broker. */
async function transporters(
  spread: Spread,
  nodes: readonly string[],
): Promise<Map<string, Transporter>> {
  if (spread === "a broker each over NATS") {
    const nats = natsTransporter({ natsUrl: NATS_URL });
    return new Map(nodes.flatMap((name) => (nats ? [[name, nats]] : [])));
  }
  const ports = new Map<string, number>();
  for (const name of nodes) ports.set(name, await freePort());
  const urls = [...ports].map(([name, port]) => `tcp://127.0.0.1:${port}/${name}`);
  return new Map(
    [...ports].map(([name, port]): [string, Transporter] => [
      name,
      // Without discovery by UDP, whose types lack `urls`: the nodes of one test shall meet nobody else's.
      new EagerTcp({ udpDiscovery: false, port, urls, gossipPeriod: 1 } as object),
    ]),
  );
}

async function startSpread(
  options: SystemOptions,
  spread: Spread,
  twice: readonly ServiceName[],
): Promise<System[]> {
  if (spread === "one process") return [await startSystem(options)];
  const nodes: { name: string; runs: ServiceName }[] = [
    ...SERVICE_NAMES.map((runs) => ({ name: runs, runs })),
    ...twice.map((runs) => ({ name: `${runs}-2`, runs })),
  ];
  const byNode = await transporters(
    spread,
    nodes.map(({ name }) => name),
  );
  // One namespace a run: two runs on one NATS must not hear each other.
  const suffix = `${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  return Promise.all(
    nodes.map(async ({ name, runs }) => {
      const transporter = byNode.get(name);
      const system = await startSystem({
        ...options,
        config: { ...options.config, databasePool: 3 },
        run: [runs],
        ...(transporter ? { transporter } : {}),
        nodeID: spread === "a broker each over TCP" ? name : `${name}-${suffix}`,
        namespace: `test-${suffix}`,
      });
      return tellAtOnce(system);
    }),
  );
}

async function untilReady(origin: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const ready = await fetch(`${origin}/health/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ready) return;
    if (Date.now() > deadline) throw new Error("The system did not become ready");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Starts a system of its own for a test file; `stop` fails when a connection leaked. */
export async function startTestSystem(options: TestSystemOptions = {}): Promise<TestSystem> {
  const { environment, spread = "one process", twice = [], ...others } = options;
  const { database: given, lockTimeoutMs, ...rest } = others;
  const database = given ?? (await createTestDatabase());
  const databaseUrl = lockTimeoutMs
    ? `${database.url}?lock_timeout=${lockTimeoutMs}`
    : database.url;
  const config = testConfig(databaseUrl, environment);
  const systems = await startSpread({ ...rest, config, databaseUrl }, spread, twice);
  const address = systems.map((system) => system.address).find((found) => found !== undefined);
  const origin = `http://127.0.0.1:${address?.port}`;
  const stop = async () => {
    await Promise.all(systems.map((system) => system.stop()));
    if (!given) await database.drop();
  };
  try {
    // Ready is what the gateway sees; here every node must have heard of every other.
    await Promise.all(
      systems.map(({ broker }) => broker.waitForServices([...SERVICE_NAMES], 20_000)),
    );
    await untilReady(origin);
    // What they do from now on, they do as anywhere.
    for (const { broker } of systems) {
      if (broker.transit?.tx instanceof EagerTcp) broker.transit.tx.calmDown();
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { origin, database, systems, dataDir: config.dataDir, stop };
}
