import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv, stripVTControlCharacters } from "node:util";

/** Marquee as whoever has checked it out runs it. */
export const CHECKOUT = resolve(__dirname, "../..");

/** No promise of speed: a process that needs longer hangs. */
const HANGS_AFTER_MS = 60_000;

export interface LaunchOptions {
  dataDir: string;
  /** One that is free unless told. */
  port?: number;
  /** Beside DATA_DIR and PORT; undefined takes one away. */
  environment?: Record<string, string | undefined>;
  /** Words of the command; `npm start` without npm unless told. */
  command?: readonly [string, ...string[]];
  /** Where it runs; the checkout unless told. */
  folder?: string;
  /** Whose process it is, where we may choose. */
  account?: { uid: number; gid: number };
}

/** How a process ended: its exit code, or the signal that killed it. */
export type End = number | NodeJS.Signals | null;

const launched = new Set<Launched>();
const folders = new Set<string>();

/** A process of Marquee's: what it says, and how it ends. */
export class Launched {
  output = "";
  errors = "";
  readonly origin: string;
  readonly startedAt = performance.now();
  private readonly ending: Promise<End>;

  constructor(
    readonly child: ChildProcess,
    readonly port: number,
  ) {
    this.origin = `http://127.0.0.1:${port}`;
    this.ending = new Promise((done, fail) => {
      child.once("error", fail);
      child.once("exit", (code, signal) => done(code ?? signal));
    });
    child.stdout?.on("data", (chunk) => {
      this.output += stripVTControlCharacters(String(chunk));
    });
    child.stderr?.on("data", (chunk) => {
      this.errors += stripVTControlCharacters(String(chunk));
    });
  }

  /** What it printed, for whoever looks for the reason of a failure. */
  private get account(): string {
    return `\n${this.output}\n${this.errors}`;
  }

  /** Waits until it has printed `text`. */
  async says(text: string): Promise<void> {
    const ended = this.ending.then((end) => `ended with ${end}`);
    const deadline = Date.now() + HANGS_AFTER_MS;
    while (!this.output.includes(text)) {
      const state = await Promise.race([ended, sleep(20, "runs")]);
      // What it said last may arrive after its end.
      if (state !== "runs" && !this.output.includes(text)) {
        throw new Error(`It ${state} without saying «${text}»:${this.account}`);
      }
      if (Date.now() > deadline) throw new Error(`It never said «${text}»:${this.account}`);
    }
  }

  /** Waits until it is ready for people; gives the milliseconds that took from its launch. */
  async ready(): Promise<number> {
    await this.says("Marquee is ready");
    const took = Math.round(performance.now() - this.startedAt);
    await this.answers("/health/ready", 200);
    return took;
  }

  /** Waits until a path at the root answers with this status. */
  async answers(path: string, status: number): Promise<void> {
    const deadline = Date.now() + HANGS_AFTER_MS;
    for (;;) {
      const got = await fetch(`${this.origin}${path}`).then(
        (answer) => answer.status,
        () => undefined,
      );
      if (got === status) return;
      if (Date.now() > deadline) throw new Error(`${path} answers ${got}:${this.account}`);
      await sleep(50);
    }
  }

  types(...lines: string[]): void {
    this.child.stdin?.write(lines.map((line) => `${line}\n`).join(""));
  }

  closesInput(): void {
    this.child.stdin?.end();
  }

  /** Ctrl-C in its terminal, which goes to the whole process group. */
  interrupt(): void {
    this.signalGroup("SIGINT");
  }

  /** To whatever it has started, too, but for what has a group of its own, as its database has. */
  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-this.pid, signal);
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async ends(): Promise<End> {
    const end = await Promise.race([this.ending, sleep(HANGS_AFTER_MS, "hangs", { ref: false })]);
    if (end === "hangs") throw new Error(`It does not end:${this.account}`);
    // Pipes may have something for us still.
    await sleep(20);
    return end as End;
  }

  /** Fails, and shows what it has said, when it ends in another way. */
  async endsWith(expected: End): Promise<void> {
    const end = await this.ends();
    if (end !== expected) throw new Error(`It ended with ${end}, not ${expected}:${this.account}`);
  }

  /** Is told to stop, and does so well. */
  stops(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.signal(signal);
    return this.endsWith(0);
  }

  isKilled(): Promise<void> {
    this.signal("SIGKILL");
    return this.endsWith("SIGKILL");
  }

  /** The whole process group dies, and in the same moment whatever else works on its data folder: the database. */
  killsEverything(dataDir: string): void {
    const others = processesOn(dataDir).map((line) => Number.parseInt(line, 10));
    this.signalGroup("SIGKILL");
    for (const pid of others) killIfThere(pid);
  }

  private get pid(): number {
    if (this.child.pid === undefined) throw new Error("It has not started");
    return this.child.pid;
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

/** A checkout's own `.env` is for its owner, not for tests: its variables count as not set. */
function withoutOwnSettings(folder: string): Record<string, string> {
  const file = join(folder, ".env");
  if (folder !== CHECKOUT || !existsSync(file)) return {};
  return Object.fromEntries(Object.keys(parseEnv(readFileSync(file, "utf8"))).map((k) => [k, ""]));
}

const PORTS = { from: 20_000, to: 30_000 };

/** A free port below those that the system hands out by itself, so that nobody gets it before we use it. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const server = createServer();
    const free = await new Promise<boolean>((done) => {
      server.once("error", () => done(false));
      server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
    });
    if (free) return port;
  }
}

/** Builds the checkout, so that no test has to do with a build that it is not about. */
export function build(): void {
  execFileSync(process.execPath, ["scripts/build.mjs"], { cwd: CHECKOUT, stdio: "pipe" });
}

/** Starts a process in a group of its own, as a terminal would. */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const { dataDir, environment, account, folder = CHECKOUT } = options;
  const [program, ...args] = options.command ?? ["node", "scripts/start.mjs"];
  const port = options.port ?? (await freePort());
  const child = spawn(program, args, {
    cwd: folder,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      HOME: process.env.HOME ?? "/",
      ...withoutOwnSettings(folder),
      DATA_DIR: dataDir,
      PORT: String(port),
      ...environment,
    },
    ...account,
  });
  const process_ = new Launched(child, port);
  launched.add(process_);
  return process_;
}

/** Starts a process, and comes back when it is ready for people. */
export async function launchReady(options: LaunchOptions): Promise<Launched> {
  const launched = await launch(options);
  await launched.ready();
  return launched;
}

/** A folder that goes away with what the test has put there, and that only its owner can look into. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "marquee-start-"));
  folders.add(folder);
  return folder;
}

/** An empty data folder that also the account reaches which runs PostgreSQL for root. */
export function newDataDir(): string {
  const dataDir = newFolder();
  chmodSync(dataDir, 0o755);
  return dataDir;
}

const CHECKOUT_COPY = "marquee";
/** What a fresh checkout with everything installed does not have, or what is its owner's own. */
const NOT_COPIED = /^(dist|\.dist-.*|\.data|\.git|\.env|coverage)$/;

/** Copies the checkout and its packages, not yet built, into a folder. */
export function copyCheckout(into: string): string {
  const copy = join(into, CHECKOUT_COPY);
  mkdirSync(copy);
  const names = readdirSync(CHECKOUT).filter((name) => !NOT_COPIED.test(name));
  execFileSync("cp", ["-a", ...names.map((name) => join(CHECKOUT, name)), copy]);
  // Whatever umask it was made with: others shall be able to read it where its folder lets them.
  execFileSync("chmod", ["-R", "a+rX", copy]);
  return copy;
}

/** Where a data folder's database really lies. */
const homeOf = (dataDir: string): string | undefined => {
  const pointer = join(dataDir, "postgres");
  return existsSync(pointer) ? realpathSync(pointer) : undefined;
};

/** The port of the PostgreSQL that runs on a data folder. */
export function postgresPort(dataDir: string): number {
  const lines = readFileSync(join(dataDir, "postgres/data/postmaster.pid"), "utf8").split("\n");
  return Number(lines[3]);
}

const workingDirectory = (pid: string): string => {
  try {
    return readlinkSync(join("/proc", pid, "cwd"));
  } catch {
    return "";
  }
};

/** Processes that have something to do with a (data) folder, by pid and command line. */
export function processesOn(dataDir: string): string[] {
  const home = homeOf(dataDir);
  const read = (pid: string, file: string) => {
    try {
      return readFileSync(join("/proc", pid, file), "utf8");
    } catch {
      // It has ended, or is nobody's business of ours.
      return "";
    }
  };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = read(pid, "cmdline");
      const traces = command + read(pid, "environ") + workingDirectory(pid);
      const known = [dataDir, ...(home === undefined ? [] : [home])];
      const concerned = known.some((place) => traces.includes(place));
      return concerned ? [`${pid} ${command.replaceAll("\0", " ").trim()}`] : [];
    });
}

/** Whether somebody listens on a port of this machine. */
export function isTaken(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    const answer = (taken: boolean) => {
      socket.destroy();
      done(taken);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

/** Ends, each by its pid, whatever tests have started and left, and removes their data folders. */
export async function cleanUp(): Promise<void> {
  for (const { child } of launched) {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  }
  launched.clear();
  for (const folder of folders) {
    const dataDirs = [folder, join(folder, CHECKOUT_COPY, ".data")];
    for (const line of dataDirs.flatMap(processesOn)) killIfThere(Number.parseInt(line, 10));
    const homes = dataDirs.flatMap((dataDir) => homeOf(dataDir) ?? []);
    for (const place of [...homes, folder]) {
      rmSync(place, { recursive: true, force: true, maxRetries: 5 });
    }
  }
  folders.clear();
}
