import { createServer } from "node:net";
import { doTheMainJob } from "../support/main-job";
import { Api } from "../support/people";
import {
  build,
  cleanUp,
  isTaken,
  launch,
  launchReady,
  newDataDir,
  postgresPort,
  processesOn,
} from "../support/processes";

/** What `npm start` promises from its first start to its last, as real processes on real folders. */
describe("npm start", () => {
  beforeAll(build);
  afterEach(cleanUp);

  test("creates a database, does the main job, and keeps everything for the next start", async () => {
    const dataDir = newDataDir();
    const first = await launch({ dataDir });
    const firstTook = await first.ready();
    expect(first.output).toContain(`${first.origin}/api`);
    expect(first.output).toContain(`${first.origin}/docs`);
    await doTheMainJob(first.origin);
    const api = await Api.at(first.origin);
    const alice = await api.attendee("Alice");
    await first.stops();

    const next = await launch({ dataDir });
    const nextTook = await next.ready();
    console.info(`Ready after ${firstTook} ms at the first start, ${nextTook} ms at the next`);
    const again = await Api.at(next.origin);
    const { email, password } = alice.who;
    const signedIn = await again.request("POST", "/auth/login", { body: { email, password } });
    expect(signedIn.body).toMatchObject({ user: { id: alice.who.id, email } });
    // The secret that signs tokens is the same, too.
    expect((await again.get("/auth/me", { token: alice.token })).status).toBe(200);
    await next.stops();
  });

  test("prints demo logins that work", async () => {
    const marquee = await launchReady({ dataDir: newDataDir() });
    const [, password] = /Demo logins +password (\S+)/.exec(marquee.output) ?? [];
    const logins = [...marquee.output.matchAll(/(host|attendee) +(\S+@\S+)/g)];
    expect(logins.length).toBeGreaterThan(1);
    const api = await Api.at(marquee.origin);
    for (const [, role, email] of logins) {
      const answer = await api.request("POST", "/auth/login", { body: { email, password } });
      expect(answer.body).toMatchObject({ user: { role } });
    }
    const { body } = await api.get("/events");
    expect(body.pagination.total).toBeGreaterThan(0);
    await marquee.stops();
  });

  test("stopped, leaves no process and no open port behind", async () => {
    const dataDir = newDataDir();
    const marquee = await launchReady({ dataDir });
    const ports = [marquee.port, postgresPort(dataDir)];
    expect(await Promise.all(ports.map(isTaken))).toEqual([true, true]);
    // The control for what follows: a search that finds nothing here proves nothing there.
    const found = processesOn(dataDir).join("\n");
    expect(found).toContain("scripts/start.mjs");
    expect(found).toContain("bin/postgres");

    await marquee.stops();
    expect(processesOn(dataDir)).toEqual([]);
    expect(await Promise.all(ports.map(isTaken))).toEqual([false, false]);
  });

  test("killed, takes up its work at the next start", async () => {
    const dataDir = newDataDir();
    const first = await launchReady({ dataDir });
    const alice = await (await Api.at(first.origin)).attendee("Alice");
    await first.isKilled();
    // The database outlives it, and gets its owner back.
    expect(processesOn(dataDir).join()).toContain("bin/postgres");

    const next = await launchReady({ dataDir, port: first.port });
    const again = await Api.at(next.origin);
    expect((await again.get("/auth/me", { token: alice.token })).body.id).toBe(alice.who.id);
    await next.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("runs twice side by side on ports and folders of their own", async () => {
    const [here, there] = await Promise.all([
      launch({ dataDir: newDataDir() }),
      launch({ dataDir: newDataDir() }),
    ]);
    await Promise.all([here.ready(), there.ready()]);
    const body = { name: "Alice", email: "alice@example.org", password: "correct horse 1" };
    for (const { origin } of [here, there]) {
      // The address is free in both: neither sees the other's people.
      const answer = await (await Api.at(origin)).request("POST", "/auth/register", { body });
      expect(answer.status).toBe(201);
    }
    await Promise.all([here.stops(), there.stops()]);
  });

  test("does not mind that somebody has PostgreSQL's usual port", async () => {
    const squatter = createServer();
    await new Promise<void>((done) => {
      squatter.once("error", () => done());
      squatter.listen(5432, "127.0.0.1", done);
    });
    try {
      expect(await isTaken(5432)).toBe(true);
      const marquee = await launchReady({ dataDir: newDataDir() });
      await marquee.stops();
    } finally {
      squatter.close();
    }
  });
});
