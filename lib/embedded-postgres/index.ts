import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { type Account, chooseAccount } from "./account";
import { prepareBinaries } from "./binaries";
import { type Credentials, createCluster, findCluster, readyCluster } from "./cluster";
import { EmbeddedPostgresError, explained, messageOf } from "./errors";
import { connect, InstanceLock, isPassing, TAKEN_FOR_SURE_AFTER_MS, tryLock } from "./lock";
import {
  defaultSharedRoots,
  isTemporary,
  openDataDir,
  openSharedRoot,
  removeUnfinished,
} from "./places";
import {
  freePort,
  isRunning,
  type Postmaster,
  READY_WITHIN_MS,
  type Runtime,
  readPidFile,
  removeStalePidFile,
  startServer,
  stopServer,
} from "./server";

export { EmbeddedPostgresError } from "./errors";

/** A PostgreSQL server that this process looks after. */
export interface EmbeddedPostgres {
  /** postgres:// URL of the ordinary (non-superuser) application role that owns the database "marquee" */
  readonly url: string;
  /** postgres:// URL of the superuser, database "postgres" (maintenance, tests) */
  readonly adminUrl: string;
  /** Where the cluster's files really lie */
  readonly dataPath: string;
  /** true when a server from an earlier, killed run was still alive and was taken over */
  readonly adopted: boolean;
  /** Stops the server (fast mode) and waits until it is gone; idempotent */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Created where it is missing; a relative path counts from the working directory */
  dataDir: string;
  /** Takes one line for the operator at a time, without a line break */
  log: (line: string) => void;
  /** PostgreSQL settings of this run, by their own names; a living server that is adopted keeps its own */
  settings?: Record<string, string>;
  /** Only for root: where files go that PostgreSQL's account cannot reach in their own place */
  sharedRoots?: readonly string[];
}

const PORT_ATTEMPTS = 10;

/**
 * Starts PostgreSQL on a folder, or takes over the server that a killed Marquee left running on it,
 * and holds it for this process alone until `stop()` (or until the process dies).
 *
 * Safe to be killed at any point, and to be called by several processes at once: one of them gets
 * the database. It knows other servers by their process, so containers that share a volume but
 * not their processes must not share a data folder.
 *
 * @throws EmbeddedPostgresError for everything that an operator can do something about
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  try {
    return await start(options);
  } catch (error) {
    throw explained(error, `start the embedded database in ${options.dataDir}`);
  }
}

async function start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log, settings = {} } = options;
  checkSettings(settings);
  const dataDir = await openDataDir(options.dataDir);
  const { runtime, credentials } = await prepare(dataDir, options);
  const { cluster } = runtime;

  const claim = await claimServer({ dataDir, runtime, credentials, settings });
  const { postmaster, client } = claim;
  const adminUrl = adminUrlOf(credentials, postmaster);
  const lock = new InstanceLock(client, {
    adminUrl,
    serverRuns: () => isRunning(cluster.dataPath, postmaster),
    log,
  });
  // We alone have the folder now: what is unfinished in it is nobody's.
  await removeUnfinished(dataDir, { all: true });

  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    if (!(await lock.isOurs())) return;
    // Never before the server is gone: the lock keeps the next Marquee from a server that ends.
    lock.expectEnd();
    await stopServer(runtime, postmaster, log);
    await lock.release();
  };
  return {
    url: applicationUrlOf(credentials, postmaster),
    adminUrl,
    dataPath: cluster.dataPath,
    adopted: claim.adopted,
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

function checkSettings(settings: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(settings)) {
    if (!/^[a-z_][a-z0-9_.]*$/i.test(name)) {
      throw new EmbeddedPostgresError(`"${name}" is not the name of a PostgreSQL setting`);
    }
  }
}

/** The programs and the cluster, made where they are missing. */
async function prepare(
  dataDir: string,
  { log, sharedRoots = defaultSharedRoots() }: EmbeddedPostgresOptions,
): Promise<{ runtime: Runtime; credentials: Credentials }> {
  let found = await findCluster(dataDir, log);
  let account: Account | null = chooseAccount(found?.owner);
  const binaries = await prepareBinaries({
    account,
    // An ordinary user has no other place that is surely his.
    copyRoot: async () => (account === null ? dataDir : openSharedRoot(sharedRoots, account)),
    log,
  });
  if (found === undefined) {
    log(`Creating a PostgreSQL ${binaries.version} database (only at the first start)`);
    await createCluster({
      dataDir,
      account,
      binaries,
      sharedRoot: () => openSharedRoot(sharedRoots, account),
    });
    found = await findCluster(dataDir, log);
    if (found === undefined) {
      throw new EmbeddedPostgresError(`The new database in ${dataDir} was deleted at once`);
    }
    account = chooseAccount(found.owner);
  }
  if (found.home !== join(dataDir, "postgres")) {
    const warning = isTemporary(found.home)
      ? ": a TEMPORARY folder, whose data may be gone after a restart of the machine"
      : "";
    log(
      `The database lies in ${found.home}${warning}, because the account ` +
        `${account?.name ?? ""} that runs it cannot reach ${dataDir}`,
    );
  }
  const credentials = await readyCluster(found, account, binaries);
  return { runtime: { cluster: found, account, binaries }, credentials };
}

interface Claim {
  readonly postmaster: Postmaster;
  /** Holds the lock */
  readonly client: Client;
  readonly adopted: boolean;
}

/**
 * Gets a server to run on the cluster and the lock on it, and the application's role and database
 * into it. Others may start, end and be killed on the same cluster meanwhile, so each turn looks
 * at what is there now and does the next step; PostgreSQL itself sees to it that no two servers
 * run on one cluster, and the lock that no two Marquees use one server.
 */
async function claimServer(options: {
  dataDir: string;
  runtime: Runtime;
  credentials: Credentials;
  settings: Readonly<Record<string, string>>;
}): Promise<Claim> {
  const { dataDir, runtime, credentials, settings } = options;
  const { dataPath } = runtime.cluster;
  const deadline = Date.now() + READY_WITHIN_MS;
  let reason = "";
  let started: Postmaster | undefined;
  let ports = 0;
  let takenSince: number | undefined;

  while (Date.now() < deadline) {
    const file = await readPidFile(dataPath);
    if (file.state === "living") {
      const { postmaster } = file;
      const attempt = await tryLock(adminUrlOf(credentials, postmaster)).catch(
        stopFirst(runtime, started),
      );
      if (attempt.outcome === "taken") {
        takenSince ??= Date.now();
        if (Date.now() - takenSince > TAKEN_FOR_SURE_AFTER_MS) {
          throw new EmbeddedPostgresError(
            `The data folder ${dataDir} is in use by another Marquee on this machine: stop that ` +
              "one, or give this one a folder of its own",
          );
        }
      } else if (attempt.outcome === "locked") {
        const { client } = attempt;
        const usable = await bootstrap(client, credentials, postmaster).catch(
          stopFirst(runtime, postmaster),
        );
        if (usable) return { postmaster, client, adopted: postmaster.pid !== started?.pid };
        await client.end().catch(() => undefined);
      } else {
        reason = attempt.reason;
      }
    } else if (file.state !== "unsettled") {
      if (file.state === "stale" && file.misleading) await removeStalePidFile(dataPath, file.text);
      const result = await startServer(runtime, await freePort(), settings);
      if (result.outcome === "started") {
        const now = await readPidFile(dataPath);
        if (now.state === "living") started = now.postmaster;
        continue;
      }
      if (result.outcome === "failed") {
        // pg_ctl also gives up on a server that another Marquee has ended meanwhile, or started.
        if ((await readPidFile(dataPath)).state === "living") continue;
        throw new EmbeddedPostgresError(
          `PostgreSQL does not start on ${dataPath}: ${result.reason}`,
        );
      }
      if (result.outcome === "busy") reason = result.reason;
      if (result.outcome === "port-taken") {
        ports += 1;
        reason = "every port that was tried got taken";
        if (ports >= PORT_ATTEMPTS) break;
      }
    }
    await sleep(50);
  }
  throw new EmbeddedPostgresError(
    `The database in ${dataPath} did not get ready within ${READY_WITHIN_MS / 1000} s (${reason}): ` +
      `see ${runtime.cluster.logPath}, or try again`,
  );
}

/** For an error that ends the start: what we have started, or hold alone, must not stay behind. */
function stopFirst(runtime: Runtime, postmaster: Postmaster | undefined) {
  return async (error: unknown): Promise<never> => {
    if (postmaster !== undefined) await stopServer(runtime, postmaster, () => undefined);
    throw error;
  };
}

/**
 * Creates the application's role and database where they are missing, each step by itself, for a
 * kill may fall between any two. Then logs in with them: that works only on a server that stays,
 * because one that is being stopped by the lock's previous holder takes no new connection.
 *
 * @returns false when the server went away meanwhile
 */
async function bootstrap(
  client: Client,
  credentials: Credentials,
  postmaster: Postmaster,
): Promise<boolean> {
  try {
    const role = await client.query("select from pg_roles where rolname = 'marquee'");
    if (role.rowCount === 0) {
      const password = client.escapeLiteral(credentials.application);
      await client.query(
        `create role marquee login nosuperuser nocreatedb nocreaterole password ${password}`,
      );
    }
    const database = await client.query("select from pg_database where datname = 'marquee'");
    if (database.rowCount === 0) await client.query("create database marquee owner marquee");
    const application = await connect(applicationUrlOf(credentials, postmaster), "marquee-start");
    await application.end();
    return true;
  } catch (error) {
    if (isPassing(error)) return false;
    const said = messageOf(error);
    throw new EmbeddedPostgresError(`The embedded database cannot be prepared: ${said}`, {
      cause: error,
    });
  }
}

function adminUrlOf({ superuser }: Credentials, { port }: Postmaster): string {
  return `postgres://postgres:${superuser}@127.0.0.1:${port}/postgres`;
}

function applicationUrlOf({ application }: Credentials, { port }: Postmaster): string {
  return `postgres://marquee:${application}@127.0.0.1:${port}/marquee`;
}
