import { randomBytes } from "node:crypto";
import { open, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Account, runProgram } from "./account";
import type { Binaries } from "./binaries";
import type { Cluster } from "./cluster";
import { failureLine } from "./errors";
import { hasEnded, isRunning, type Postmaster } from "./pid-file";

export type StartOutcome =
  | { readonly outcome: "started" }
  /** Somebody took the port between our look and the server's */
  | { readonly outcome: "port-taken" }
  /** Another server is just starting or ending on this cluster; look again */
  | { readonly outcome: "busy"; readonly reason: string }
  | { readonly outcome: "failed"; readonly reason: string };

/** What a server needs besides its cluster. */
export interface Runtime {
  readonly cluster: Cluster;
  readonly account: Account | null;
  readonly binaries: Binaries;
}

/** Time for crash recovery after a kill; for a database of this kind seconds are the rule. */
export const READY_WITHIN_MS = 120_000;

/** A fast shutdown writes one checkpoint. After this, recovery at the next start is the lesser evil. */
const STOP_WITHIN_MS = 30_000;

const EXIT_WITHIN_MS = 2_000;

const LOG_KEPT_FOR_MS = 6 * 24 * 60 * 60 * 1000;
const LOG_KEPT_BYTES = 10 * 1024 * 1024;

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

/**
 * Starts a server on the cluster through pg_ctl, which detaches it: a Ctrl-C in the terminal goes
 * to the whole process group, and must not end the database before Marquee has drained.
 *
 * `settings` are PostgreSQL's own names and values. What this module leans on (address, port, no
 * socket files, where the log goes) cannot be overridden by them.
 */
export async function startServer(
  { cluster, account, binaries }: Runtime,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<StartOutcome> {
  await removeOldLogs(cluster.logPath);
  const before = await logSizes(cluster.logPath);
  const options = {
    // Not the errors of statements: Marquee reports them, and they quote people's data here.
    log_min_messages: "log",
    ...settings,
    port: String(port),
    listen_addresses: "127.0.0.1",
    // A socket file's path may be 107 bytes long at most, and a data folder's path is anybody's.
    unix_socket_directories: "",
    logging_collector: "on",
    log_destination: "stderr",
    log_directory: cluster.logPath,
    // One file a weekday, begun anew each week: the log cannot grow for ever.
    log_filename: "postgres-%a.log",
    log_rotation_age: "1d",
    log_rotation_size: "0",
    log_truncate_on_rotation: "on",
  };
  const flags = Object.entries(options).map(([name, value]) => `-c ${name}=${shellQuoted(value)}`);

  // What the server says before its own logging begins. Never an existing file: in a folder of
  // another account root must not write through what may have been put there.
  const startupLog = join(cluster.logPath, `startup-${randomBytes(6).toString("hex")}.log`);
  const output = await open(startupLog, "ax+", 0o600);
  try {
    if (account !== null) await output.chown(account.uid, account.gid);
    const timeout = String(READY_WITHIN_MS / 1000);
    const { exitCode } = await runProgram(
      account,
      join(binaries.native, "bin", "pg_ctl"),
      ["start", "-D", cluster.dataPath, "-l", startupLog, "-t", timeout, "-o", flags.join(" ")],
      { home: cluster.home, output: output.fd },
    );
    if (exitCode === 0) return { outcome: "started" };
    const { size } = await output.stat();
    const said = Buffer.alloc(size);
    await output.read(said, 0, size, 0);
    return judge(said.toString() + (await logSince(cluster.logPath, before)));
  } finally {
    await output.close();
    await rm(startupLog, { force: true });
  }
}

/** pg_ctl puts its -o into a command line for /bin/sh as it is. */
function shellQuoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

function judge(text: string): StartOutcome {
  const lines = text.split("\n").filter((line) => !/^pg_ctl:|^Examine the log/.test(line));
  const reason = failureLine(lines.join("\n"));
  if (/could not bind .*: Address already in use/.test(text)) return { outcome: "port-taken" };
  const busy =
    /lock file ".*postmaster\.pid" (already exists|is empty)|pre-existing shared memory block/;
  if (busy.test(text)) return { outcome: "busy", reason };
  return { outcome: "failed", reason };
}

async function logSizes(logPath: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const name of await readdir(logPath)) {
    const found = await stat(join(logPath, name)).catch(() => undefined);
    if (name.startsWith("postgres-") && found !== undefined) sizes.set(name, found.size);
  }
  return sizes;
}

async function logSince(logPath: string, before: ReadonlyMap<string, number>): Promise<string> {
  let text = "";
  for (const [name] of await logSizes(logPath)) {
    const content = await readFile(join(logPath, name)).catch(() => Buffer.alloc(0));
    text += content.subarray(before.get(name) ?? 0).toString();
  }
  return text;
}

/** A server that never lives through midnight never begins a weekday's file anew. */
async function removeOldLogs(logPath: string): Promise<void> {
  for (const name of await readdir(logPath)) {
    const path = join(logPath, name);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    const old = Date.now() - found.mtimeMs > LOG_KEPT_FOR_MS || found.size > LOG_KEPT_BYTES;
    if (old) await rm(path, { force: true });
  }
}

/**
 * Ends the server in fast mode (sessions are cut, data are written) and waits until it is gone.
 * It signals this very server: `pg_ctl stop` would end whichever runs on the cluster by then, and
 * wait for the end of one that another Marquee has started since.
 */
export async function stopServer(
  { cluster, account, binaries }: Runtime,
  postmaster: Postmaster,
  log: (line: string) => void,
): Promise<void> {
  const pgCtl = join(binaries.native, "bin", "pg_ctl");
  const isGone = async (): Promise<boolean> => !(await isRunning(cluster.dataPath, postmaster));
  for (const signal of ["INT", "QUIT"]) {
    if (await isGone()) break;
    if (signal === "QUIT") log("PostgreSQL does not end; forcing it (the next start recovers it)");
    const args = ["kill", signal, String(postmaster.pid)];
    await runProgram(account, pgCtl, args, { home: cluster.home });
    await within(STOP_WITHIN_MS, isGone);
  }
  if (await isGone()) {
    // The pid file goes a moment before the process.
    await within(EXIT_WITHIN_MS, () => hasEnded(postmaster.pid));
  } else {
    log(`PostgreSQL (process ${postmaster.pid}) still runs; giving up on it`);
  }
}

async function within(milliseconds: number, happened: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (Date.now() < deadline && !(await happened())) await sleep(10);
}
