import { join } from "node:path";
import { type Account, chooseAccount } from "./account";
import { prepareBinaries } from "./binaries";
import { adminUrlOf, applicationUrlOf, claimServer } from "./claim";
import { type Credentials, findCluster, readyCluster } from "./cluster";
import { EmbeddedPostgresError, explained } from "./errors";
import { InstanceLock } from "./lock";
import { createCluster } from "./new-cluster";
import { isRunning } from "./pid-file";
import {
  defaultSharedRoots,
  isTemporary,
  openDataDir,
  openSharedRoot,
  removeUnfinished,
} from "./places";
import { type Runtime, stopServer } from "./server";

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
  /** Comes when the server has ended by itself or by somebody else's hand; never after `stop()` */
  readonly lost: Promise<EmbeddedPostgresError>;
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
  let serverEnded = () => {};
  const lost = new Promise<EmbeddedPostgresError>((resolve) => {
    serverEnded = () =>
      resolve(
        new EmbeddedPostgresError(
          "The embedded database has ended unexpectedly: start Marquee again, which recovers it; " +
            `its log is in ${cluster.logPath}`,
        ),
      );
  });
  const lock = new InstanceLock(client, {
    adminUrl,
    serverRuns: () => isRunning(cluster.dataPath, postmaster),
    serverEnded,
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
    lost,
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
