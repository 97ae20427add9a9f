import { type Cable, cableTo } from "../support/cable";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { Api, type Person } from "../support/people";
import { ask, expectProblem, json } from "../support/problems";
import { SPREADS, startTestSystem, type TestSystem } from "../support/system";
import { UnreliableDatabase } from "../support/unreliable-database";
import { onWire } from "../support/wire";

const statusOf = async (origin: string, path: string) => (await ask(origin, "GET", path)).status;

describe.each(SPREADS)("What nobody foresaw, in %s", (spread) => {
  const database = new UnreliableDatabase();
  let system: TestSystem;
  let hanna: Person;
  beforeAll(async () => {
    system = await startTestSystem({ spread, wrapDatabase: database.wrap });
    hanna = await (await Api.at(system.origin)).host("Hanna");
  });
  afterEach(() => database.works());
  afterAll(() => system.stop());

  const SECRET = 'SELECT "password_hash" FROM users failed at /home/app/services/users.ts:12';
  const withFields = (fields: object) => Object.assign(new Error(SECRET), fields);

  test.each([
    ["an error", new Error(SECRET)],
    ["a bug", new TypeError(SECRET)],
    ["a text", SECRET],
    ["nothing at all", undefined],
    ["an error that looks like one of HTTP", withFields({ code: 404, status: 404 })],
    ["one with a type and data", withFields({ code: 400, type: "ODD", data: { sql: SECRET } })],
    ["one of PostgreSQL", withFields({ original: { code: "42P01", detail: SECRET } })],
  ])("%s is a 500 that tells nothing", async (_words, fault) => {
    database.fails(/FROM available_events/, fault);
    const headers = { "x-request-id": "quote-me" };
    const answer = await ask(system.origin, "GET", "/api/available-events", { headers });
    expectProblem(answer, 500, "INTERNAL");
    expect(answer.body.requestId).toBe("quote-me");
    expect(JSON.stringify([answer.body, ...answer.headers])).not.toMatch(/password_hash|home|ODD/);
    expect(answer.headers.get("etag")).toBeNull();

    database.works();
    expect(await statusOf(system.origin, "/api/available-events")).toBe(200);
  });

  test("a write that failed half-way has changed nothing", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    const alice = await hanna.api.attendee("Alice");
    // By then the seats are counted and the booking and its ticket are written.
    database.fails(/INSERT INTO outbox/, new Error(SECRET));
    expectProblem(await alice.triesToBook(event), 500, "INTERNAL");
    database.works();
    await alice.books(event);
  });

  // Where every service has a broker of its own, one can stop and the rest go on.
  if (spread === "one process") return;
  const stops = async (service: string) => {
    const node = system.systems.find(({ broker }) =>
      broker.services.some(({ name }) => name === service),
    );
    if (!node) throw new Error(`No node runs ${service}`);
    await node.stop();
  };

  test("a node that stops finishes what it has begun", async () => {
    const held = database.holds(/FROM available_events/);
    const asked = ask(system.origin, "GET", "/api/available-events");
    await held.isReached;
    const stopped = stops("available-events");
    await eventually(async () => {
      expect(await statusOf(system.origin, "/health/ready")).toBe(503);
    });
    held.letGo();
    expect((await asked).status).toBe(200);
    await stopped;
    const refused = await ask(system.origin, "GET", "/api/available-events");
    expectProblem(refused, 503, "SERVICE_UNAVAILABLE");
  });

  test("one that has stopped is missed by what needs it alone", async () => {
    await stops("bookings");
    await eventually(async () => {
      const refused = await hanna.tries("GET", "/bookings");
      expectProblem(refused, 503, "SERVICE_UNAVAILABLE");
      expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
    });
    await hanna.createsEvent();

    await stops("core");
    const { email, password } = hanna.who;
    await eventually(async () => {
      const signIn = await ask(system.origin, "POST", "/api/auth/login", json({ email, password }));
      expectProblem(signIn, 503, "SERVICE_UNAVAILABLE");
    });
    // Whoever is signed in stays so: the gateway checks tokens by itself.
    expect((await hanna.tries("GET", "/users/me")).status).toBe(200);
    expect(await statusOf(system.origin, "/api/events")).toBe(200);
    expect(await statusOf(system.origin, "/health/live")).toBe(200);
    expect(await statusOf(system.origin, "/health/ready")).toBe(503);
  });
});

describe("Without the database", () => {
  let database: TestDatabase;
  let cable: Cable;
  let system: TestSystem;
  let hanna: Person;
  beforeAll(async () => {
    database = await createTestDatabase();
    cable = await cableTo(database.url);
    system = await startTestSystem({ database: { ...database, url: cable.url } });
    hanna = await (await Api.at(system.origin)).host("Hanna");
  });
  afterAll(async () => {
    await system.stop();
    await cable.remove();
    await database.drop();
  });

  test("everything that needs it is 503 with Retry-After, until it is back", async () => {
    const event = await hanna.createsEvent();
    const alice = await hanna.api.attendee("Alice");
    expect(await statusOf(system.origin, "/health/ready")).toBe(200);
    cable.cut();
    const { email, password } = hanna.who;
    const refused = await Promise.all([
      ask(system.origin, "GET", "/health/ready"),
      ask(system.origin, "GET", "/api/events"),
      ask(system.origin, "GET", `/api/events/${event.id}`),
      ask(system.origin, "POST", "/api/auth/login", json({ email, password })),
      ask(system.origin, "POST", "/api/auth/refresh", json({ refreshToken: hanna.refreshToken })),
      hanna.tries("GET", "/users/me"),
      hanna.tries("PATCH", `/events/${event.id}`, { title: "Changed" }),
      alice.triesToBook(event),
      alice.triesToWait(event),
      alice.tries("POST", "/bookings", { eventId: event.id }, { "idempotency-key": "again" }),
      hanna.tries("POST", "/auth/logout"),
    ]);
    for (const answer of refused) {
      expectProblem(answer, 503, "SERVICE_UNAVAILABLE");
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    }
    expect(await statusOf(system.origin, "/health/live")).toBe(200);
    expect(await statusOf(system.origin, "/openapi.json")).toBe(200);
    expect(await statusOf(system.origin, "/api/nothing")).toBe(404);

    cable.mend();
    await eventually(async () => {
      expect(await statusOf(system.origin, "/health/ready")).toBe(200);
    });
    expect(await statusOf(system.origin, "/api/events")).toBe(200);
    const { body } = await ask(system.origin, "GET", `/api/events/${event.id}`);
    expect(body).toEqual(event);
    // Neither the batch that failed nor the key of a request in it stands in the way.
    const again = { "idempotency-key": "again" };
    const booked = await alice.tries("POST", "/bookings", { eventId: event.id }, again);
    expect([booked.status, booked.headers.get("idempotency-replayed")]).toEqual([201, null]);
    await hanna.does(204, "POST", "/auth/logout");
    const back = await ask(system.origin, "POST", "/api/auth/login", json({ email, password }));
    expect(back.status).toBe(200);
  });
});

describe("Starting and stopping", () => {
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
  });
  afterAll(() => testDatabase.drop());

  test("ready is 503 until every service has started", async () => {
    const before = await startTestSystem({ database: testDatabase });
    const { origin } = before;
    await before.stop();

    const database = new UnreliableDatabase();
    const first = database.holds(/SELECT role FROM users/);
    const starting = startTestSystem({
      database: testDatabase,
      wrapDatabase: database.wrap,
      environment: {
        PORT: new URL(origin).port,
        ADMIN_EMAIL: "admin@example.org",
        ADMIN_PASSWORD: "correct horse 1",
      },
    });
    await first.isReached;
    await eventually(async () => {
      expectProblem(await ask(origin, "GET", "/health/ready"), 503, "SERVICE_UNAVAILABLE");
    });
    expect(await statusOf(origin, "/health/live")).toBe(200);
    first.letGo();
    const system = await starting;
    expect(await statusOf(origin, "/health/ready")).toBe(200);
    await system.stop();
  });

  test("who asked before the end is answered, who asks whether it is ready hears no", async () => {
    const database = new UnreliableDatabase();
    const system = await startTestSystem({ database: testDatabase, wrapDatabase: database.wrap });
    const held = database.holds(/FROM available_events/);
    await onWire(system.origin, (silent) =>
      onWire(system.origin, async (asking) => {
        asking.says("GET /api/available-events HTTP/1.1\r\nHost: here\r\n\r\n");
        await held.isReached;
        const stopped = system.stop();
        await eventually(async () => {
          const ready = await ask(system.origin, "GET", "/health/ready");
          expectProblem(ready, 503, "SERVICE_UNAVAILABLE");
          expect(ready.headers.get("connection")).toBe("close");
        });
        held.letGo();
        const answer = await asking.hears();
        expect(answer.status).toBe(200);
        expect(answer.headers.get("connection")).toBe("close");
        expect(JSON.parse(answer.body).data.length).toBeGreaterThan(0);
        await asking.isClosed();
        // Somebody who connected and never asked anything holds nothing up.
        await silent.isClosed();
        await stopped;
      }),
    );
    await expect(fetch(`${system.origin}/health/live`)).rejects.toThrow();
  });

  test("who hangs up while waiting harms nobody", async () => {
    const database = new UnreliableDatabase();
    const system = await startTestSystem({ database: testDatabase, wrapDatabase: database.wrap });
    const held = database.holds(/FROM available_events/);
    await onWire(system.origin, async (wire) => {
      wire.says("GET /api/available-events HTTP/1.1\r\nHost: here\r\n\r\n");
      wire.says("GET /api/available-events HTTP/1.1\r\nHost: here\r\n\r\n");
      await held.isReached;
    });
    held.letGo();
    expect(await statusOf(system.origin, "/api/available-events")).toBe(200);
    await system.stop();
  });
});
