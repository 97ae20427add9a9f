import { randomBytes } from "node:crypto";
import {
  chown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  unlink,
} from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Account, canWriteInto, runProgram } from "./account";
import type { Binaries } from "./binaries";
import { codeOf, EmbeddedPostgresError, explained, failureLine } from "./errors";
import { isTemporary, makeFolderFor, removeUnfinished, syncFolder, unfinishedName } from "./places";

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

const NAME = "postgres";

/** Fits a laptop. An owner can change them with ALTER SYSTEM or in data/postgresql.conf. */
const FIRST_SETTINGS: Readonly<Record<string, string>> = {
  max_connections: "100",
  shared_buffers: "128MB",
  max_wal_size: "512MB",
  timezone: "UTC",
  log_timezone: "UTC",
  // A query of a killed Marquee gives up its locks within seconds, also when it waits for some.
  client_connection_check_interval: "2s",
};

/**
 * ICU's root collation sorts the names of all languages sensibly, and the same way on every
 * machine, because the package brings its ICU along. C.UTF-8 is the next best without it.
 */
const LOCALES = [
  ["--locale-provider=icu", "--icu-locale=und", "--locale=C"],
  ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
];

/** The cluster of a data folder (absolute path), or undefined when there is none yet. */
export async function findCluster(
  dataDir: string,
  log: (line: string) => void,
): Promise<Cluster | undefined> {
  const pointer = join(dataDir, NAME);
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
 * Makes the cluster of a data folder that has none. When another Marquee that starts in the same
 * moment is faster, its cluster is the one, and ours is thrown away.
 *
 * `sharedRoot` is asked for a place when `account` cannot reach the data folder; the cluster then
 * lies there under a random name, and a symbolic link in the data folder leads to it. With the
 * link (the data folder deleted, say) the way to the cluster is gone, and a new one is made.
 */
export async function createCluster(options: {
  dataDir: string;
  account: Account | null;
  binaries: Binaries;
  sharedRoot: () => Promise<string>;
}): Promise<void> {
  const { dataDir, account, binaries } = options;
  const pointer = join(dataDir, NAME);
  let unfinished = join(dataDir, unfinishedName());
  try {
    await makeFolderFor(account, unfinished);
    if (account === null || (await canWriteInto(account, unfinished))) {
      await fillHome(unfinished, account, binaries);
      await rename(unfinished, pointer);
    } else {
      await rm(unfinished, { recursive: true });
      const clusters = join(await options.sharedRoot(), "clusters");
      await mkdir(clusters, { recursive: true, mode: 0o755 });
      await removeUnfinished(clusters, { all: false });
      unfinished = join(clusters, unfinishedName());
      await makeFolderFor(account, unfinished);
      await fillHome(unfinished, account, binaries);
      const home = join(clusters, randomBytes(8).toString("hex"));
      await rename(unfinished, home);
      unfinished = home;
      await syncFolder(clusters);
      await symlink(home, pointer);
    }
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined);
    // Whatever stopped us (its name was taken, or it tidied ours away): there is a cluster now.
    if (await stat(join(pointer, "data", "PG_VERSION")).catch(() => undefined)) return;
    throw explained(error, `create a database in ${dataDir}`);
  }
  await syncFolder(dataDir);
}

async function fillHome(home: string, account: Account | null, binaries: Binaries): Promise<void> {
  const credentials: Credentials = {
    superuser: randomBytes(24).toString("base64url"),
    application: randomBytes(24).toString("base64url"),
  };
  const passwordFile = join(home, "password");
  await makeFolderFor(account, join(home, "log"));
  await writeFor(account, passwordFile, credentials.superuser);
  await writeFor(account, join(home, "credentials.json"), JSON.stringify(credentials));

  const dataPath = join(home, "data");
  const settings = Object.entries(FIRST_SETTINGS).map(([name, value]) => `--set=${name}=${value}`);
  const common = ["-D", dataPath, "-U", "postgres", "-E", "UTF8", "-A", "scram-sha-256"];
  let problem = "";
  for (const locale of LOCALES) {
    const result = await runProgram(
      account,
      join(binaries.native, "bin", "initdb"),
      [...common, `--pwfile=${passwordFile}`, "--data-checksums", ...locale, ...settings],
      { home },
    );
    if (result.exitCode === 0) {
      await rm(passwordFile);
      await syncFolder(home);
      return;
    }
    problem = failureLine(result.text);
    if (!/\bICU\b/i.test(result.text)) break;
    await rm(dataPath, { recursive: true, force: true });
  }
  throw new EmbeddedPostgresError(`PostgreSQL's initdb failed in ${home}: ${problem}`);
}

async function writeFor(account: Account | null, path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text);
    if (account !== null) await file.chown(account.uid, account.gid);
    await file.sync();
  } finally {
    await file.close();
  }
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

function isCredentials(value: unknown): value is Credentials {
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
