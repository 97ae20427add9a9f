import {
  chown,
  lstat,
  readdir,
  readFile,
  readlink,
  realpath,
  stat,
  unlink,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Account, canWriteInto } from "./account";
import type { Binaries } from "./binaries";
import { codeOf, EmbeddedPostgresError, explained } from "./errors";
import { isTemporary, makeFolderFor } from "./places";

/**
 * A cluster's home: `postgres` in the data folder, or where the symbolic link of that name leads.
 * It holds data/ (PostgreSQL's own), log/ and credentials.json, and it appears by one rename: it
 * is there in whole or not at all.
 */
export interface Cluster {
  readonly home: string;
  /** PostgreSQL's data directory, without symbolic links */
  readonly dataPath: string;
  readonly logPath: string;
  readonly owner: { readonly uid: number; readonly gid: number };
}

export interface Credentials {
  readonly superuser: string;
  readonly application: string;
}

/** In the data folder: the home itself, or a link to it. */
export const CLUSTER_NAME = "postgres";

/** The cluster of a data folder (absolute path), or undefined when there is none yet. */
export async function findCluster(
  dataDir: string,
  log: (line: string) => void,
): Promise<Cluster | undefined> {
  const pointer = join(dataDir, CLUSTER_NAME);
  const found = await lstat(pointer).catch(() => undefined);
  if (found === undefined) return undefined;
  const home = await realpath(pointer).catch(() => undefined);
  if (home === undefined) return forgetLost(pointer, log);

  assertOurs(home, (await stat(home)).uid);

  const dataPath = join(home, "data");
  const version = await stat(join(dataPath, "PG_VERSION")).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw explained(error, `read the database in ${dataPath}`);
  });
  if (version === undefined) {
    // rename() replaces an empty folder.
    if (found.isDirectory() && (await readdir(pointer)).length === 0) return undefined;
    throw new EmbeddedPostgresError(
      `${pointer} exists, but holds no database of Marquee's: move it out of the way`,
    );
  }
  const { uid, gid } = version;
  assertOurs(home, uid);
  return { home, dataPath, logPath: join(home, "log"), owner: { uid, gid } };
}

function assertOurs(home: string, owner: number): void {
  const us = process.getuid?.();
  if (us === 0 || us === owner) return;
  throw new EmbeddedPostgresError(
    `The database in ${home} belongs to another account (uid ${owner}), probably because Marquee ` +
      "was started as root before: start it as root again, or give it to yourself with " +
      `chown -R ${us} ${home}`,
  );
}

/** A pointer into nothing: expected of a temporary folder, elsewhere a loss to be told, not hidden. */
async function forgetLost(pointer: string, log: (line: string) => void): Promise<undefined> {
  const target = resolve(dirname(pointer), await readlink(pointer));
  if (!isTemporary(target)) {
    throw new EmbeddedPostgresError(
      `${pointer} points to the database in ${target}, which is gone: bring it back, or delete ` +
        `${pointer} to begin with an empty one`,
    );
  }
  log(`The database in the temporary folder ${target} is gone; beginning with an empty one`);
  await unlink(pointer);
}

/**
 * Checks a found cluster before a server is started on it.
 *
 * @throws EmbeddedPostgresError when its account cannot reach it (any more), when another major
 *   version of PostgreSQL made it, or when its credentials are missing
 */
export async function readyCluster(
  cluster: Cluster,
  account: Account | null,
  binaries: Binaries,
): Promise<Credentials> {
  const { home, dataPath } = cluster;
  // Copied by root, from a backup perhaps.
  if (account !== null && cluster.owner.uid === 0) await giveTo(account, home);
  if (account !== null && !(await canWriteInto(account, dataPath))) {
    throw new EmbeddedPostgresError(
      `The account ${account.name}, which runs PostgreSQL for root, cannot reach ${dataPath}: let ` +
        "it pass every folder on the way (chmod o+x), or move the data folder",
    );
  }
  await makeFolderFor(account, cluster.logPath).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw error;
  });
  const made = (await readFile(join(dataPath, "PG_VERSION"), "utf8")).trim();
  if (made !== binaries.version.split(".")[0]) {
    throw new EmbeddedPostgresError(
      `The database in ${dataPath} was made by PostgreSQL ${made}, and this Marquee brings ` +
        `${binaries.version}: export it with the old one (pg_dump) and import it into a new folder`,
    );
  }
  const file = join(home, "credentials.json");
  try {
    const parsed: unknown = JSON.parse(await readFile(file, "utf8"));
    if (isCredentials(parsed)) return parsed;
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && !(error instanceof SyntaxError)) {
      throw explained(error, `read ${file}`);
    }
  }
  throw new EmbeddedPostgresError(
    `The passwords of the database, ${file}, are missing or damaged: bring the file back from a ` +
      `backup, or delete ${home} to begin with an empty database`,
  );
}

export function isCredentials(value: unknown): value is Credentials {
  return (
    typeof value === "object" &&
    value !== null &&
    "superuser" in value &&
    typeof value.superuser === "string" &&
    "application" in value &&
    typeof value.application === "string"
  );
}

async function giveTo(account: Account, home: string): Promise<void> {
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    await chown(join(entry.parentPath, entry.name), account.uid, account.gid);
  }
  await chown(home, account.uid, account.gid);
}
