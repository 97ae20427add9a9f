import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { codeOf, EmbeddedPostgresError, USE_YOUR_OWN } from "./errors";

/** A system account that runs PostgreSQL in place of root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface ProgramResult {
  /** null when a signal ended it */
  readonly exitCode: number | null;
  /** stdout and stderr as they came; empty when they went to `output` */
  readonly text: string;
}

/**
 * Whose name PostgreSQL runs under: null for that of Marquee itself, and for root (whom
 * PostgreSQL refuses) the owner of the cluster, else `postgres`, else `nobody`. No account is
 * created: a server that adds users to a machine unasked is a bad guest.
 */
export function chooseAccount(owner: { uid: number; gid: number } | undefined): Account | null {
  if (process.getuid?.() !== 0) return null;
  const accounts = systemAccounts();
  if (owner !== undefined && owner.uid !== 0) {
    const name = accounts.find(({ uid }) => uid === owner.uid)?.name ?? `uid ${owner.uid}`;
    return { name, uid: owner.uid, gid: owner.gid };
  }
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((one) => one.name === name && one.uid !== 0);
    if (account !== undefined) return account;
  }
  throw new EmbeddedPostgresError(
    "PostgreSQL refuses to run as root, and this machine has neither an account postgres nor " +
      `nobody: start Marquee as an ordinary user, or ${USE_YOUR_OWN}`,
  );
}

function systemAccounts(): Account[] {
  return readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 4)
    .map(([name = "", , uid, gid]) => ({ name, uid: unsigned(uid), gid: unsigned(gid) }))
    .filter(({ uid, gid }) => Number.isSafeInteger(uid) && Number.isSafeInteger(gid));
}

/** macOS writes nobody as -2; chown wants the same 32 bits unsigned. */
function unsigned(id: string | undefined): number {
  const value = Number.parseInt(id ?? "", 10);
  return value < 0 ? value >>> 0 : value;
}

/**
 * Runs one program to its end under `account`, in `home` (which must be reachable for it), with an
 * environment of its own: a PGDATA, PGOPTIONS or LD_LIBRARY_PATH of the caller must not change
 * what the bundled programs do.
 *
 * `output` is an open file for stdout and stderr. Give one to a program that leaves a daemon
 * behind: a pipe that the daemon inherits would keep this process alive for as long.
 *
 * @throws EmbeddedPostgresError when this process may not switch to `account`
 * @throws the system's error when the program cannot be executed (ENOENT, EACCES, ENOEXEC)
 */
export function runProgram(
  account: Account | null,
  command: string,
  args: readonly string[],
  { home, output }: { home: string; output?: number },
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const refused = (error: unknown): void => {
      const switching = account !== null && ["EPERM", "EINVAL"].includes(codeOf(error) ?? "");
      reject(
        switching ? new EmbeddedPostgresError(cannotSwitch(account), { cause: error }) : error,
      );
    };
    const stream = output ?? "pipe";
    // Some errors (EINVAL of an account that a user namespace does not map) are thrown, not emitted.
    try {
      const child = spawn(command, args, {
        cwd: home,
        stdio: ["ignore", stream, stream],
        // Ctrl-C goes to the whole process group: it is for Marquee alone, which lets this end first.
        detached: true,
        env: { PATH: process.env.PATH, HOME: home, TMPDIR: home, LC_ALL: "C" },
        // spawn takes the signed reading of the 32 bits, chown the unsigned one.
        ...(account === null ? {} : { uid: account.uid | 0, gid: account.gid | 0 }),
      });
      let text = "";
      const collect = (chunk: Buffer): void => {
        text = (text + chunk.toString()).slice(-64 * 1024);
      };
      child.stdout?.on("data", collect);
      child.stderr?.on("data", collect);
      child.once("error", refused);
      child.once(output === undefined ? "close" : "exit", (exitCode: number | null) =>
        resolve({ exitCode, text }),
      );
    } catch (error) {
      refused(error);
    }
  });
}

function cannotSwitch(account: Account): string {
  return (
    `PostgreSQL refuses to run as root, and Marquee may not switch to the account ${account.name} ` +
    `here: start Marquee as an ordinary user, or ${USE_YOUR_OWN}`
  );
}

/** Whether `account` can reach the folder and write into it, asked of the kernel, not of mode bits. */
export async function canWriteInto(account: Account, folder: string): Promise<boolean> {
  const script = 'cd "$1" && test -w .';
  const result = await runProgram(account, "/bin/sh", ["-c", script, "sh", folder], { home: "/" });
  return result.exitCode === 0;
}
