/** Marquee as it is run: processes of its own, started from `dist` as `npm start` does. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SERVICE_NAMES, type ServiceName } from "../lib/config";
import { unlessStopped } from "../lib/program";
import { scripts } from "../package.json";
import type { Probes } from "./probe";

const PROGRAM = join(process.cwd(), "dist/main.js");
/** Options of Node.js itself that `npm start` gives, so that the bench measures what is run. */
const NODE_OPTIONS = scripts.start.split(" ").filter((word) => word.startsWith("--"));
const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 20;

/** Services of each process; the first one has the gateway. */
export type Layout = readonly (readonly ServiceName[])[];

export const ONE_PROCESS: Layout = [SERVICE_NAMES];

/** One process in which nobody is told anything. */
export const WITHOUT_NOTIFICATIONS: Layout = [
  SERVICE_NAMES.filter((name) => name !== "notifications"),
];

/** The gateway in one process, everything else in another, joined by NATS. */
export const GATEWAY_APART: Layout = [["api"], SERVICE_NAMES.filter((name) => name !== "api")];

/** Everything but bookings in one process, bookings in so many others, joined by NATS. */
export const apart = (bookingNodes: number): Layout => [
  SERVICE_NAMES.filter((name) => name !== "bookings"),
  ...Array.from({ length: bookingNodes }, () => ["bookings"] as const),
];

export interface SystemOptions {
  layout: Layout;
  databaseUrl: string;
  natsUrl: string;
  jwtSecret: string;
  logLevel: string;
  /** For logs and whatever else its processes write. */
  folder: string;
  stopping: AbortSignal;
}

export interface System {
  readonly origin: string;
  readonly pids: readonly number[];
  /** Asks each process, the one with the gateway first. */
  ask<K extends keyof Probes>(question: K): Promise<Probes[K][]>;
}

/** One process of a system. */
class Node {
  private readonly ending: Promise<string>;
  private constructor(
    readonly child: ChildProcess,
    private readonly logFile: string,
  ) {
    this.ending = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve(`ended with ${signal ?? code}`));
      child.once("error", (error) => resolve(`cannot be started: ${error.message}`));
    });
    running.add(child);
    void this.ending.then(() => running.delete(child));
  }

  static start(services: readonly ServiceName[], namespace: string, options: SystemOptions): Node {
    const { layout, databaseUrl, natsUrl, jwtSecret, logLevel, folder } = options;
    const logFile = join(folder, `node-${randomBytes(4).toString("hex")}.log`);
    const log = openSync(logFile, "a");
    const probe = ["--require", join(__dirname, "probe.js")];
    const child = spawn(process.execPath, [...NODE_OPTIONS, ...probe, PROGRAM], {
      // Where there is no .env of somebody's own.
      cwd: folder,
      // Ctrl-C in the terminal is for the bench, which then ends its nodes in order.
      detached: true,
      stdio: ["ignore", log, log, "ipc"],
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        NODE_ENV: "production",
        HOST: "127.0.0.1",
        PORT: "0",
        DATABASE_URL: databaseUrl,
        DATA_DIR: join(folder, "data"),
        JWT_SECRET: jwtSecret,
        RATE_LIMIT_AUTH: "0",
        RATE_LIMIT_API: "0",
        LOG_LEVEL: logLevel,
        SERVICES: services.join(","),
        ...(layout.length > 1 ? { NATS_URL: natsUrl, NAMESPACE: namespace } : {}),
      },
    });
    closeSync(log);
    return new Node(child, logFile);
  }

  private get said(): string {
    return readFileSync(this.logFile, "utf8");
  }

  /** What has become of it, for whoever looks for the reason of a failure. */
  private because(what: string): Error {
    return new Error(`A node ${what}; it said last:\n${this.said.slice(-2000)}`);
  }

  /** Comes, as a failure, when it ends before it is told to. */
  get lost(): Promise<never> {
    return this.ending.then((end) => Promise.reject(this.because(end)));
  }

  /** Waits until it has said something. */
  async says(words: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + READY_WITHIN_MS;
    for (;;) {
      const found = words.exec(this.said);
      if (found) return found;
      if (Date.now() > deadline) throw this.because("does not come up");
      await sleep(LOOK_EVERY_MS);
    }
  }

  answer<K extends keyof Probes>(question: K): Promise<Probes[K]> {
    return new Promise((resolve, reject) => {
      // The probe sends nothing but the answer.
      this.child.once("message", (answer) => resolve(answer as Probes[K]));
      this.child.send(question, (error) => error && reject(error));
    });
  }

  async stop(): Promise<void> {
    this.child.kill("SIGTERM");
    const late = sleep(STOPPED_WITHIN_MS, "late", { ref: false });
    if ((await Promise.race([this.ending, late])) !== "late") return;
    this.child.kill("SIGKILL");
    await this.ending;
  }
}

const running = new Set<ChildProcess>();
// The last resort, for an end that was not orderly.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** @param layout without some service it is never ready, but answers what it can */
async function untilReady(origin: string, layout: Layout): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  const isWhole = SERVICE_NAMES.every((name) => layout.flat().includes(name));
  const path = isWhole ? "/health/ready" : "/api/available-events";
  for (;;) {
    const { status } = await fetch(`${origin}${path}`);
    if (status === 200) return;
    if (Date.now() > deadline) throw new Error(`The system is not ready: ${status}`);
    await sleep(LOOK_EVERY_MS);
  }
}

/** Brackets a system; fails when one of its processes ends meanwhile. */
export async function withSystem<T>(
  options: SystemOptions,
  work: (system: System) => Promise<T>,
): Promise<T> {
  const namespace = `bench-${randomBytes(6).toString("hex")}`;
  const nodes = options.layout.map((services) => Node.start(services, namespace, options));
  const run = async () => {
    // Said when all of its services have started; by then the others hear of them.
    for (const node of nodes) await node.says(/^ {2}Marquee (is ready|runs) /m);
    const [gateway] = nodes;
    const origin = (await gateway?.says(/http:\/\/127\.0\.0\.1:\d+(?=\/api)/))?.[0] ?? "";
    await untilReady(origin, options.layout);
    return work({
      origin,
      pids: nodes.flatMap(({ child }) => child.pid ?? []),
      ask: (question) => Promise.all(nodes.map((node) => node.answer(question))),
    });
  };
  try {
    const lost = Promise.race(nodes.map((node) => node.lost));
    return await unlessStopped(options.stopping, Promise.race([run(), lost]));
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
  }
}
