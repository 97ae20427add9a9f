import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Account, canWriteInto, runProgram } from "./account";
import type { Binaries } from "./binaries";
import { CLUSTER_NAME, type Credentials } from "./cluster";
import { EmbeddedPostgresError, explained, failureLine } from "./errors";
import { makeFolderFor, removeUnfinished, syncFolder, unfinishedName } from "./places";

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
  const pointer = join(dataDir, CLUSTER_NAME);
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
    // Not the whole text: it also tells, before anything fails, that ICU is going to be used.
    if (!/\bICU\b|collator/i.test(problem)) break;
    await rm(dataPath, { recursive: true, force: true });
  }
  throw new EmbeddedPostgresError(`Cannot create a database in ${dirname(home)}: ${problem}`);
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
