import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { runningEmbeddedUrl } from "../../lib/embedded-postgres/running";
import {
  build,
  cleanUp,
  type Launched,
  launch,
  launchReady,
  newDataDir,
  processesOn,
} from "../support/processes";

const NPM_START = ["npm", "start"] as const;

/** The usual length of a first start and a little more; by then the signal meets one that is ready. */
const STEPS_OF_A_START_MS = [300, 600, 900, 1200, 1500, 1800, 2100];

type Ending = readonly [string, (marquee: Launched) => void];
const SIGTERM: Ending = ["SIGTERM to the process", (marquee) => marquee.signal("SIGTERM")];
const CTRL_C: Ending = ["Ctrl-C", (marquee) => marquee.interrupt()];

beforeAll(build);

describe("npm start, told to stop", () => {
  afterEach(cleanUp);

  test.each([
    [...SIGTERM, undefined],
    [...CTRL_C, undefined],
    ["SIGTERM to npm", SIGTERM[1], NPM_START],
    ["Ctrl-C with npm", CTRL_C[1], NPM_START],
    ["a terminal that closes", (marquee: Launched) => marquee.signal("SIGHUP"), undefined],
  ] as const)("by %s, ends with 0 and leaves nothing running", async (_how, tell, command) => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir, ...(command ? { command } : {}) });
    tell(marquee);
    await marquee.endsWith(0);
    expect(processesOn(dataDir)).toEqual([]);
    expect(marquee.errors).toContain("Stopping…");
  });

  test("again and again, does it once and in order", async () => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir });
    for (let times = 0; times < 4; times++) {
      marquee.interrupt();
      await sleep(30);
      // It may have ended by now; then there is nobody to press Ctrl-C for.
      if (processesOn(dataDir).length === 0) break;
    }
    await marquee.endsWith(0);
    expect(processesOn(dataDir)).toEqual([]);
    expect(marquee.errors.match(/Stopping…/g)).toHaveLength(1);
  });

  describe.each([SIGTERM, CTRL_C])("by %s in the middle", (_how, tell) => {
    test.each(STEPS_OF_A_START_MS)("%i ms into the first start", async (milliseconds) => {
      const dataDir = newDataDir();
      const marquee = await launch({ dataDir });
      await sleep(milliseconds);
      tell(marquee);
      await marquee.endsWith(0);
      expect(processesOn(dataDir)).toEqual([]);
      expect(marquee.errors.replace("Stopping…\n", "")).toBe("");
    });

    test("of later starts, which find everything in order", async () => {
      const dataDir = newDataDir();
      for (const milliseconds of [400, 250, 500, 650, 800]) {
        const marquee = await launch({ dataDir });
        await sleep(milliseconds);
        tell(marquee);
        await marquee.endsWith(0);
        expect(processesOn(dataDir)).toEqual([]);
      }
      const marquee = await launchReady({ dataDir });
      await marquee.stops();
    });
  });

  test("by Ctrl-C while the database is being created, creates the one it would have", async () => {
    const dataDir = newDataDir();
    const first = await launch({ dataDir });
    while (!processesOn(dataDir).some((line) => line.includes("bin/initdb"))) await sleep(5);
    first.interrupt();
    await first.endsWith(0);
    expect(processesOn(dataDir)).toEqual([]);

    const next = await launchReady({ dataDir });
    const client = new Client({ connectionString: await runningEmbeddedUrl(dataDir) });
    await client.connect();
    const { rows } = await client.query(
      "SELECT datlocprovider AS provider FROM pg_database WHERE datname = current_database()",
    );
    await client.end();
    // ICU, which sorts the names of all languages.
    expect(rows).toEqual([{ provider: "i" }]);
    await next.stops();
  });

  test("ends in order as well while its database does not answer", async () => {
    const silent = await launchSilentServer();
    try {
      const dataDir = newDataDir();
      const marquee = await launch({
        dataDir,
        environment: { DATABASE_URL: `postgres://somebody@127.0.0.1:${silent.port}/nothing` },
      });
      await silent.called;
      await marquee.stops();
    } finally {
      silent.close();
    }
  });
});

describe("npm start", () => {
  afterEach(cleanUp);

  test.each(["pretty", "json"])("goes on when nobody reads its output (%s)", async (format) => {
    const dataDir = newDataDir();
    const marquee = await launch({ dataDir, environment: { LOG_FORMAT: format } });
    await marquee.says("\n");
    marquee.child.stdout?.destroy();
    await marquee.answers("/health/ready", 200);
    await marquee.answers("/api/nothing", 404);
    await marquee.answers("/api/events", 200);
    await marquee.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test.each([
    ["rejection", "void Promise.reject(new Error('something broke'))"],
    ["exception", "setTimeout(() => { throw new Error('something broke'); })"],
  ])("logs a %s that nobody handles, and ends in order with 1", async (_what, fault) => {
    const dataDir = newDataDir();
    const trap = join(dataDir, "trap.cjs");
    writeFileSync(trap, `process.on("SIGUSR2", () => { ${fault} });`);
    const marquee = await launchReady({
      dataDir,
      environment: { NODE_OPTIONS: `--require ${trap}` },
    });
    marquee.signal("SIGUSR2");
    await marquee.endsWith(1);
    expect(marquee.errors).toContain("Error: something broke\n    at ");
    expect(processesOn(dataDir)).toEqual([]);
  });
});

/** Takes connections and never says a word. */
async function launchSilentServer() {
  const server = createServer();
  const called = new Promise((resolve) => server.once("connection", resolve));
  server.on("connection", (socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return { port, called, close: () => server.close() };
}
