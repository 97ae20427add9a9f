import { randomBytes } from "node:crypto";
import { link, readFile, readlink, rename, stat, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { runProgram } from "./account";
import { codeOf } from "./errors";

/** A PostgreSQL server (its parent process) as its postmaster.pid describes it. */
export interface Postmaster {
  readonly pid: number;
  /** Seconds since 1970, as the file says; with the pid it names one process and no later one */
  readonly startedAt: string;
  readonly port: number;
}

/** What postmaster.pid, which PostgreSQL keeps while it runs, says about a cluster. */
export type PidFile =
  | { readonly state: "absent" }
  | { readonly state: "living"; readonly postmaster: Postmaster }
  /** Left by a server that is dead; `misleading` when PostgreSQL itself would take it for alive */
  | { readonly state: "stale"; readonly text: string; readonly misleading: boolean }
  /** Being written at this moment */
  | { readonly state: "unsettled" };

/** An empty pid file of this age is what a power cut left, not one that is being written. */
const SETTLED_AFTER_MS = 2_000;

const pidFilePath = (dataPath: string): string => join(dataPath, "postmaster.pid");

export async function readPidFile(dataPath: string): Promise<PidFile> {
  const path = pidFilePath(dataPath);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return { state: "absent" };
  const [pidLine = "", , startedAt = "", portLine = ""] = text.split("\n");
  const pid = Number.parseInt(pidLine, 10);
  const port = Number.parseInt(portLine, 10);
  if (!(pid > 0) || !(port > 0)) {
    const written = (await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now();
    if (Date.now() - written < SETTLED_AFTER_MS) return { state: "unsettled" };
    return { state: "stale", text, misleading: true };
  }
  if (await isPostmasterOf(pid, dataPath)) {
    return { state: "living", postmaster: { pid, startedAt, port } };
  }
  return { state: "stale", text, misleading: processExists(pid) };
}

/**
 * After a restart of the machine (or in a container, where pids are few) the pid of a dead server
 * may be anybody's: a living process counts only when it is a postgres that works on this folder.
 */
async function isPostmasterOf(pid: number, dataPath: string): Promise<boolean> {
  if (!processExists(pid)) return false;
  if (process.platform !== "linux") {
    const args = ["-ww", "-o", "command=", "-p", String(pid)];
    const { text } = await runProgram(null, "ps", args, { home: "/" });
    return text.includes(`/postgres -D ${dataPath} `);
  }
  // A zombie has an empty command line; so has, for us, a process that is gone by now.
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const args = command.split("\0");
  if (basename(args[0] ?? "") !== "postgres") return false;
  // The working directory stays right when the folder is renamed; root in a container may not
  // read that of another account, but the command line is everybody's.
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => args[args.indexOf("-D") + 1]);
  return folder === dataPath;
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/**
 * Takes away a pid file for whose dead server PostgreSQL would refuse to start, because some other
 * process has that pid now. Two that start at once may both judge the old file stale, and the
 * slower one must not delete the file of the server that the faster one has started since: so it
 * is moved aside, looked at again, and put back when it is not the one that was judged.
 */
export async function removeStalePidFile(dataPath: string, judged: string): Promise<void> {
  const path = pidFilePath(dataPath);
  const aside = `${path}.stale-${randomBytes(4).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  if ((await readFile(aside, "utf8")) !== judged) await link(aside, path).catch(() => undefined);
  await unlink(aside);
}

/** A zombie has ended, too: in a container there may be nobody to reap an orphan. */
export async function hasEnded(pid: number): Promise<boolean> {
  if (!processExists(pid)) return true;
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return /^\d+ \(.*\) [ZX]/.test(status);
}

/** Whether the cluster's server is still this one. */
export async function isRunning(
  dataPath: string,
  { pid, startedAt }: Postmaster,
): Promise<boolean> {
  const file = await readPidFile(dataPath).catch(() => ({ state: "absent" }) as const);
  if (file.state !== "living") return false;
  return file.postmaster.pid === pid && file.postmaster.startedAt === startedAt;
}
