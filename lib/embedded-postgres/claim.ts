import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import type { Credentials } from "./cluster";
import { EmbeddedPostgresError, messageOf } from "./errors";
import { connect, isPassing, TAKEN_FOR_SURE_AFTER_MS, tryLock } from "./lock";
import { type Postmaster, readPidFile, removeStalePidFile } from "./pid-file";
import { freePort, READY_WITHIN_MS, type Runtime, startServer, stopServer } from "./server";

const PORT_ATTEMPTS = 10;

export interface Claim {
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
export async function claimServer(options: {
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
    // And the lock is still ours: its connection may have been cut meanwhile, before anybody listens.
    await client.query("select");
    return true;
  } catch (error) {
    if (isPassing(error)) return false;
    const said = messageOf(error);
    throw new EmbeddedPostgresError(`The embedded database cannot be prepared: ${said}`, {
      cause: error,
    });
  }
}

export function adminUrlOf({ superuser }: Credentials, { port }: Postmaster): string {
  return `postgres://postgres:${superuser}@127.0.0.1:${port}/postgres`;
}

export function applicationUrlOf({ application }: Credentials, { port }: Postmaster): string {
  return `postgres://marquee:${application}@127.0.0.1:${port}/marquee`;
}
