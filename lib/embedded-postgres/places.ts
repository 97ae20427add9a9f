import { randomBytes } from "node:crypto";
import { chmod, lstat, mkdir, open, readdir, realpath, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Account, canWriteInto } from "./account";
import { EmbeddedPostgresError, explained, USE_YOUR_OWN } from "./errors";
import { makeFolder } from "./folders";

/** Folders that are not finished yet are named like this, beside where they will be renamed to. */
const UNFINISHED = ".new-";

/** Long enough that nobody is still working in an unfinished folder of this age. */
const ABANDONED_AFTER_MS = 60 * 60 * 1000;

/** Where root's PostgreSQL goes when its account cannot reach the data folder; first usable wins. */
export function defaultSharedRoots(): string[] {
  const name = `marquee-${process.getuid?.() ?? 0}`;
  return ["/var/lib/marquee", join(tmpdir(), name), join("/tmp", name)];
}

/** Whether a machine may empty this place by itself, at a restart or after some days. */
export function isTemporary(path: string): boolean {
  // On macOS the real path of each of them begins with /private.
  const real = path.replace(/^\/private\//, "/");
  return [tmpdir(), "/tmp", "/var/tmp"].some((root) => real.startsWith(`${root}/`));
}

export function unfinishedName(): string {
  return `${UNFINISHED}${process.pid}-${randomBytes(6).toString("hex")}`;
}

/** Creates the data folder where it is missing. Returns its absolute path without symbolic links. */
export async function openDataDir(dataDir: string): Promise<string> {
  const wanted = resolve(dataDir);
  try {
    makeFolder(wanted);
    const folder = await realpath(wanted);
    // pg_ctl hands the path to a shell between double quotes, without escaping it.
    if (/["`$\\\n]/.test(folder)) {
      throw new EmbeddedPostgresError(
        `The data folder ${JSON.stringify(folder)} has a character in its path that PostgreSQL's ` +
          "tools cannot take (a quote, a backquote, a dollar sign, a backslash): choose another",
      );
    }
    const probe = join(folder, unfinishedName());
    await mkdir(probe);
    // Another Marquee that starts here may tidy it away first.
    await rm(probe, { recursive: true, force: true });
    return folder;
  } catch (error) {
    throw explained(error, `use the data folder ${wanted}`);
  }
}

/**
 * The first of `roots` that exists or can be made, belongs to us and that `account` can look into.
 * One that somebody else owns or may write to is passed over: in a common temporary folder
 * anybody can put a "postgres" under a name that he guessed.
 */
export async function openSharedRoot(
  roots: readonly string[],
  account: Account | null,
): Promise<string> {
  for (const root of roots) {
    try {
      await mkdir(root, { recursive: true });
      const found = await lstat(root);
      if (!found.isDirectory() || found.uid !== process.getuid?.()) continue;
      if ((found.mode & 0o022) !== 0) continue;
      // mkdir is subject to the umask, and root's may be 077.
      await chmod(root, 0o755);
      if (account === null || (await accountReaches(account, root))) return root;
    } catch {
      // Read-only, a file in the way, …: the next one may do.
    }
  }
  throw new EmbeddedPostgresError(
    `The account ${account?.name ?? "of Marquee"} can reach neither the data folder nor any of ` +
      `${roots.join(", ")}: start Marquee as an ordinary user, or ${USE_YOUR_OWN}`,
  );
}

async function accountReaches(account: Account, root: string): Promise<boolean> {
  const probe = join(root, unfinishedName());
  await makeFolderFor(account, probe);
  try {
    return await canWriteInto(account, probe);
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

/** A folder that only `account` (null: we ourselves) can look into. */
export async function makeFolderFor(account: Account | null, path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  if (account === null) return;
  const handle = await open(path, "r");
  try {
    await handle.chown(account.uid, account.gid);
  } finally {
    await handle.close();
  }
}

/** Puts a rename on the disk: without it a power cut may bring the old name back. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Deletes unfinished folders that a killed start left in `parent`: all of them when the caller holds
 * the lock on the place, else only those that are old enough to be nobody's.
 */
export async function removeUnfinished(parent: string, { all }: { all: boolean }): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(UNFINISHED))) {
    const path = join(parent, name);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    if (!all && Date.now() - found.mtimeMs < ABANDONED_AFTER_MS) continue;
    // Its initdb may outlive the killed start by a second and still write: try again then.
    await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(
      () => undefined,
    );
  }
}
