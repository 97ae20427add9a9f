import type { AddressInfo } from "node:net";
import type { ServiceBroker } from "moleculer";
import { brokerOptions, createBroker, type Transporter } from "./lib/broker";
import { type Clock, systemClock } from "./lib/clock";
import type { Config, ServiceName } from "./lib/config";
import { type Database, openDatabase } from "./lib/database";
import { explainedByDatabase, type ProcessDatabase } from "./lib/process-database";
import { unlessStopped } from "./lib/program";
import { openForSteps, type Steps, stepsOf } from "./lib/steps";
import { migrations } from "./migrations";
import { brokerAt, channels } from "./mixins/channels";
import { outboxNudges } from "./mixins/nudges";
import { allSeeders, seedersOf } from "./seeders";
import { services } from "./services";
import { consumersOf, hearers } from "./services/contracts";

export interface SystemOptions {
  config: Config;
  /** `postgres://…`, migrated. */
  databaseUrl: string;
  clock?: Clock;
  /** Services of this process; those of the configuration unless told. */
  run?: readonly ServiceName[];
  /** Between nodes; that of the configuration unless told. */
  transporter?: Transporter;
  nodeID?: string;
  /** Nodes of one namespace hear each other. */
  namespace?: string;
  /** Gives up a start that is under way, e.g. one that waits for nodes that never come. */
  stopping?: AbortSignal;
  /** Stands between the services and the database; tests use it to take a guard away. */
  wrapDatabase?: (database: Database) => Database;
}

/** Services at work in one broker, with one pool of connections. */
export interface System {
  readonly broker: ServiceBroker;
  readonly database: Database;
  /** Where the gateway listens, if this process runs it. */
  readonly address: AddressInfo | undefined;
  /** Finishes what is in hand, then stops everything. */
  stop(): Promise<void>;
}

interface ListeningSchema {
  address?: () => AddressInfo | null;
}

/** A start that is given up gets so long to come to stand all the same: half started services stop badly. */
const GIVEN_UP_AFTER_MS = 2_000;

async function startOf(broker: ServiceBroker, stopping?: AbortSignal): Promise<void> {
  const starting = broker.start();
  try {
    await (stopping ? unlessStopped(stopping, starting) : starting);
  } catch (error) {
    const patience = new Promise((resolve) => setTimeout(resolve, GIVEN_UP_AFTER_MS));
    if (stopping?.aborted) await Promise.race([starting.catch(() => {}), patience]);
    throw error;
  }
}

/**
 * Starts services against a database.
 *
 * @throws what a service's start throws, e.g. code EADDRINUSE for a taken port; nothing is left running then
 */
export async function startSystem(options: SystemOptions): Promise<System> {
  const { config, databaseUrl, clock = systemClock } = options;
  const pool = openDatabase(databaseUrl, { connections: config.databasePool });
  const database = options.wrapDatabase?.(pool) ?? pool;
  const kernel = { config, clock, database };
  const names = options.run ?? config.services;
  const { middlewares = [], ...brokerSettings } = brokerOptions(config, options);
  const messageBroker = brokerAt(config.channelsUrl, options.namespace ?? config.namespace);
  const carrying = channels(database, { consumersOf, hearers, messageBroker });
  const broker = createBroker(
    {
      ...brokerSettings,
      middlewares: [...middlewares, carrying, outboxNudges(consumersOf)],
    },
    names.map((name) => services[name](kernel)),
  );
  const stop = async () => {
    await broker.stop();
    await database.close();
  };
  try {
    await startOf(broker, options.stopping);
  } catch (error) {
    await stop();
    throw error;
  }
  const gateway = broker.services.find(({ name }) => name === "api");
  return {
    broker,
    database,
    address: (gateway?.schema as ListeningSchema | undefined)?.address?.() ?? undefined,
    stop,
  };
}

async function withSteps<T>(
  databaseUrl: string,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const database = openForSteps(databaseUrl);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

const migrationsOf = (database: Database): Steps => stepsOf(database, "migrations", migrations);

/** Brings the tables up to date; gives the names of the migrations that ran. */
export const migrate = (databaseUrl: string): Promise<string[]> =>
  withSteps(databaseUrl, (database) => migrationsOf(database).up());

/** Takes back the newest migration, or all. */
export const undoMigrations = (databaseUrl: string, how?: { all: boolean }): Promise<string[]> =>
  withSteps(databaseUrl, (database) => migrationsOf(database).down(how));

/** Fills the tables with what the configuration asks for; gives the names of the seeders that ran. */
export const seed = (databaseUrl: string, config: Pick<Config, "seedDemo">): Promise<string[]> =>
  withSteps(databaseUrl, (database) => stepsOf(database, "seeders", seedersOf(config)).up());

/** Takes back the newest seeder. */
export const undoSeed = (databaseUrl: string): Promise<string[]> =>
  withSteps(databaseUrl, (database) => stepsOf(database, "seeders", allSeeders).down());

/**
 * Brings a process's database up to date and fills it, for as long as nobody stops the process.
 *
 * @throws OperatorError with a sentence for the operator
 */
export async function prepareDatabase(
  { url, started }: Pick<ProcessDatabase, "url" | "started">,
  config: Config,
  stopping: AbortSignal,
): Promise<void> {
  const work = async () => {
    await migrate(url);
    stopping.throwIfAborted();
    await seed(url, config);
  };
  try {
    // Every step is a transaction, so one that is cut off has not been. A server that we stop ourselves
    // comes to the end of the step first, which is short; another's may let us wait for other nodes.
    await (started ? work() : unlessStopped(stopping, work()));
  } catch (error) {
    throw explainedByDatabase(error, "The tables cannot be brought up to date");
  }
}
