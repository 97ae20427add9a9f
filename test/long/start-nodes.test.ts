import { setTimeout as sleep } from "node:timers/promises";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../lib/embedded-postgres";
import { freePort } from "../support/free-port";
import { doTheMainJob } from "../support/main-job";
import { NATS_URL, natsAnswers } from "../support/nats";
import { Api, Person } from "../support/people";
import { build, cleanUp, launch, newDataDir } from "../support/processes";

const GATEWAY = "api";
const ALL_OTHERS = "core,auth,users,available-events,events,bookings,notifications";

describe("Processes that share the services over NATS", () => {
  let server: EmbeddedPostgres;
  let there = false;
  const dataDir = newDataDir();
  beforeAll(async () => {
    build();
    there = await natsAnswers();
    console.info(
      there
        ? `Services are spread over processes with the NATS at ${NATS_URL}`
        : `No NATS at ${NATS_URL}: services were NOT spread over processes`,
    );
    server = await startEmbeddedPostgres({ dataDir: newDataDir(), log: () => {} });
  });
  afterAll(async () => {
    await server.stop();
    await cleanUp();
  });

  const runs = (services: string, command?: readonly [string, ...string[]]) =>
    launch({
      dataDir,
      environment: { DATABASE_URL: server.url, NATS_URL, SERVICES: services },
      ...(command ? { command } : {}),
    });

  test("do the main job, and hear of a logout within a second", async () => {
    if (!there) return;
    // The gateways first: they wait for whoever runs the rest.
    const [front, second] = await Promise.all([runs(GATEWAY), runs(GATEWAY)]);
    await Promise.all([front.answers("/health/live", 200), second.answers("/health/live", 200)]);
    await front.answers("/health/ready", 503);
    const back = await runs(ALL_OTHERS);
    await back.says(`Marquee runs       ${ALL_OTHERS.replaceAll(",", ", ")}`);
    expect(back.output).not.toContain("http://");
    for (const gateway of [front, second]) {
      expect(gateway.output).toContain(`${gateway.origin}/api`);
      await gateway.answers("/health/ready", 200);
    }

    await doTheMainJob(front.origin);

    const api = await Api.at(front.origin);
    const alice = await api.attendee("Alice");
    const elsewhere = new Person(
      await Api.at(second.origin),
      alice.who,
      alice.token,
      alice.refreshToken,
    );
    await elsewhere.does(200, "GET", "/auth/me");
    await alice.does(204, "POST", "/auth/logout");
    await sleep(1000);
    expect((await elsewhere.tries("GET", "/auth/me")).status).toBe(401);

    // One gateway goes, the other stays.
    await front.stops();
    await doTheMainJob(second.origin);
    await Promise.all([second.stops(), back.stops()]);
  });

  test("let the console in as one more node", async () => {
    if (!there) return;
    const back = await runs(ALL_OTHERS);
    await back.says("Marquee runs");
    const console_ = await runs("all", ["node", "scripts/start.mjs", "repl"]);
    console_.types(`call available-events.$list '{"limit": 1}'`, "services", "quit");
    await console_.endsWith(0);
    expect(console_.output).toMatch(/total: 16/);
    await back.stops();
  });

  test("end while they still wait for the others", async () => {
    if (!there) return;
    const users = await runs("auth");
    await users.says("Waiting for service(s)");
    await users.stops();
  });
});

describe("A process that shares the services with nobody", () => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    build();
    server = await startEmbeddedPostgres({ dataDir: newDataDir(), log: () => {} });
  });
  afterAll(async () => {
    await server.stop();
    await cleanUp();
  });

  const runs = (environment: Record<string, string>) =>
    launch({ dataDir: newDataDir(), environment: { DATABASE_URL: server.url, ...environment } });

  test("says so, and ends when it is told to", async () => {
    const lonely = await runs({ SERVICES: "auth" });
    await lonely.says("NATS_URL is not set");
    await lonely.says("Waiting for service(s)");
    await lonely.stops("SIGINT");
  });

  test("as a gateway does not say that it is ready, but what is missing, once", async () => {
    const gateway = await runs({ SERVICES: "api" });
    await gateway.says(`Ready              once every service runs; ask ${gateway.origin}/health/`);
    expect(gateway.output).not.toContain("Marquee is ready");
    for (let probe = 0; probe < 3; probe++) await gateway.answers("/health/ready", 503);
    await gateway.says("Not ready: no node runs");
    expect(gateway.output.match(/WARN.*\n/g)).toEqual([
      expect.stringContaining("Not ready: no node runs core, auth, users"),
    ]);
    expect(gateway.output).not.toContain("ERROR");
    await gateway.stops();
  });

  test("because NATS is not there names the variable and the server, and not at each try", async () => {
    const port = await freePort();
    const waiting = await runs({ NATS_URL: `nats://marquee:hunter22@127.0.0.1:${port}` });
    await waiting.says(
      `No connection to the NATS of NATS_URL, 127.0.0.1:${port}: CONNECTION_REFUSED`,
    );
    // Two more tries.
    await sleep(11_000);
    const said = waiting.output + waiting.errors;
    expect(said.match(/ERROR|WARN|Reconnecting/g)).toEqual(["ERROR"]);
    expect(said).not.toContain("hunter22");
    expect(said).not.toContain("Marquee is ready");
    await waiting.stops();
  });
});
