import { migrations } from "../../migrations";
import { Api } from "../support/people";
import {
  build,
  cleanUp,
  type Launched,
  launch,
  launchReady,
  newDataDir,
  processesOn,
} from "../support/processes";

type Command = readonly [string, ...string[]];
const npmRun = (name: string, ...args: string[]): Command => [
  "npm",
  "run",
  "--silent",
  name,
  ...(args.length ? ["--", ...args] : []),
];
const REPL: Command = ["node", "scripts/start.mjs", "repl"];
const task = (...words: string[]): Command => ["node", "scripts/start.mjs", "tasks", ...words];

beforeAll(build);
afterEach(cleanUp);

describe("npm run repl", () => {
  /** What the console says to these lines, typed at once; it must end well. */
  async function answersTo(dataDir: string, lines: readonly string[], command: Command = REPL) {
    const console_ = await launch({ dataDir, command });
    console_.types(...lines);
    console_.closesInput();
    await console_.endsWith(0);
    return console_.output + console_.errors;
  }

  test("works on the database of a Marquee that runs, and leaves it running", async () => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir });
    const alice = await (await Api.at(marquee.origin)).attendee("Alice");
    const said = await answersTo(
      dataDir,
      [`call users.$find '{"id": "${alice.who.id}"}'`, "quit"],
      npmRun("repl"),
    );
    expect(said).toContain(alice.who.email);
    await alice.does(200, "GET", "/auth/me");
    await marquee.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("starts the database where nobody runs one, and answers line by line until the end", async () => {
    const dataDir = newDataDir();
    // No `quit`: the input ends, as with Ctrl-D.
    const said = await answersTo(dataDir, [
      `call users.$list '{"limit": 1}'`,
      "call events.$list '{}'",
      "call available-events.$list --limit 2",
      "services",
    ]);
    const calls = [...said.matchAll(/>> Call '([^']+)'|>> (Response)/g)].map(
      ([, name, response]) => name ?? response,
    );
    expect(calls).toEqual([
      "users.$list",
      "Response",
      "events.$list",
      "Response",
      "available-events.$list",
      "Response",
    ]);
    expect(said).toContain("TypeScript Evening");
    // All but the gateway: it would take the port of the one that is started next.
    expect(said).toMatch(/bookings/);
    expect(said).not.toMatch(/\bapi\b/);
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("says what an action refuses, and goes on", async () => {
    const said = await answersTo(newDataDir(), [
      `call events.$list '{"limit": "many"}'`,
      "call kitchen.cook",
      `call available-events.$list '{"limit": 1}'`,
    ]);
    expect(said).toContain("limit: must be a whole number");
    expect(said).toContain("Service 'kitchen.cook' is not found");
    expect(said).toMatch(/total: 16/);
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("ends well by %s", async (signal) => {
    const dataDir = newDataDir();
    const console_ = await launch({ dataDir, command: REPL });
    await console_.says("marquee $");
    await console_.stops(signal);
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("adopts the database that a killed Marquee left, and ends it", async () => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir });
    await marquee.isKilled();
    const said = await answersTo(dataDir, [`call available-events.$list '{"limit": 1}'`]);
    expect(said).toMatch(/total: 16/);
    expect(processesOn(dataDir)).toEqual([]);
  });
});

describe("Tasks", () => {
  async function does(dataDir: string, command: Command, environment = {}): Promise<Launched> {
    const done = await launch({ dataDir, command, environment });
    await done.ends();
    return done;
  }
  /** The last line that a task says that has done well. */
  async function told(dataDir: string, command: Command): Promise<string | undefined> {
    const done = await does(dataDir, command);
    expect(done.errors).toBe("");
    await done.endsWith(0);
    return done.output.trim().split("\n").at(-1);
  }
  const NAMES = migrations.map(({ name }) => name);
  const LAST = NAMES.at(-1);
  const ALL = `Migrated: ${NAMES.join(", ")}`;

  test("start the database for as long as they take, where nobody runs one", async () => {
    const dataDir = newDataDir();
    expect(await told(dataDir, task("migrate"))).toBe(ALL);
    expect(await told(dataDir, npmRun("migrate"))).toBe("migrate: there was nothing to do");
    expect(await told(dataDir, npmRun("seed"))).toBe("Seeded: 0001-catalogue, 0002-demo");
    expect(await told(dataDir, npmRun("seed:undo"))).toBe("Undone: 0002-demo");
    expect(await told(dataDir, npmRun("migrate:undo"))).toBe(`Undone: ${LAST}`);
    expect(await told(dataDir, npmRun("migrate:undo", "--all"))).toBe(
      `Undone: ${NAMES.slice(0, -1).reverse().join(", ")}`,
    );
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("use the database of a Marquee that runs, and leave it running", async () => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir });
    const api = await Api.at(marquee.origin);
    expect((await api.get("/events")).body.pagination.total).toBeGreaterThan(0);
    expect(await told(dataDir, task("seed:undo"))).toBe("Undone: 0002-demo");
    expect((await api.get("/events")).body.pagination.total).toBe(0);
    expect(await told(dataDir, task("migrate:undo"))).toBe(`Undone: ${LAST}`);
    expect(await told(dataDir, task("migrate"))).toBe(`Migrated: ${LAST}`);
    await marquee.answers("/health/ready", 200);
    await marquee.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test.each([
    [[], /^Not done\. There is no task ""; there are migrate, /],
    [["dance"], /^Not done\. There is no task "dance"; there are migrate, /],
    [["toString"], /^Not done\. There is no task "toString"; there are migrate, /],
    [["migrate", "--all"], /^Not done\. migrate does not take --all; its options: none\.$/m],
  ])("refuse %j in a sentence", async (words, sentence) => {
    const dataDir = newDataDir();
    const refused = await does(dataDir, task(...words));
    await refused.endsWith(1);
    expect(refused.errors).toMatch(sentence);
    expect(refused.errors).not.toMatch(/^ +at /m);
    expect(refused.output).toBe("");
  });

  test("say in a sentence what the database refuses", async () => {
    const dataDir = newDataDir();
    const environment = { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing" };
    const unreachable = await does(dataDir, task("migrate"), environment);
    await unreachable.endsWith(1);
    expect(unreachable.errors).toBe(
      "Not done. The database of DATABASE_URL, 127.0.0.1:1/nothing, cannot be used: nobody listens there.\n",
    );
    const tooEarly = await does(dataDir, task("seed"));
    await tooEarly.endsWith(1);
    expect(tooEarly.errors).toMatch(
      /^Not done\. seed .*relation "available_events" does not exist\.\n$/,
    );
    expect(processesOn(dataDir)).toEqual([]);
  });
});
