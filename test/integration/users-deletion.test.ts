import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { eventually } from "../support/eventually";
import { Api, inDays, Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { SPREADS, startTestSystem, type TestSystem } from "../support/system";
import { whileOpen } from "../support/transaction";
import { UnreliableDatabase } from "../support/unreliable-database";

/** Tables in which any column of any row holds one of these words. */
async function tablesWith(system: TestSystem, words: readonly string[]): Promise<string[]> {
  const tables = await system.database.query(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
  );
  expect(tables.length).toBeGreaterThan(5);
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await system.database.query(
      `SELECT 1 FROM "${name}" t, unnest($1::text[]) AS word WHERE strpos(lower(t::text), lower(word)) > 0 LIMIT 1`,
      [words],
    );
    if (rows.length) found.push(name);
  }
  return found;
}

describe.each(SPREADS)("Deleting an account in %s", (spread) => {
  let system: TestSystem;
  let api: Api;
  let admin: Person;
  beforeAll(async () => {
    system = await startTestSystem({ spread, environment: WITH_ADMINISTRATOR });
    api = await Api.at(system.origin);
    admin = await administrator(api);
  });
  afterAll(() => system.stop());

  test("a host's events are cancelled and gone, and their attendees told", async () => {
    const hanna = await api.host("Hanna");
    const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
    const concert = await hanna.createsEvent({ title: "Concert" });
    const empty = await hanna.createsEvent({ title: "Nobody came" });
    const draft = await hanna.createsEvent({ title: "Draft", status: "draft" });
    const booking = await alice.books(concert, 2);
    await ben.books(concert);

    await hanna.does(204, "DELETE", "/users/me");
    for (const event of [concert, empty, draft]) {
      expectProblem(await admin.tries("GET", `/events/${event.id}`), 404, "EVENT_NOT_FOUND");
    }
    expect((await api.get(`/events?hostId=${hanna.who.id}&status=cancelled`)).body.data).toEqual(
      [],
    );
    for (const person of [alice, ben]) {
      const [told, ...more] = await person.isTold("event.cancelled");
      expect(more).toEqual([]);
      expect(told).toMatchObject({ eventId: concert.id });
      expect(JSON.stringify(told)).toContain("Concert");
    }
    const kept = await alice.does(200, "GET", `/bookings/${booking.id}`);
    expect(kept).toMatchObject({
      status: "cancelled",
      event: { id: concert.id, title: "Concert", host: { id: hanna.who.id } },
    });
    expect(kept.event.host.name).not.toContain("Hanna");
    const again = await alice.tries("DELETE", `/bookings/${booking.id}`);
    expectProblem(again, 409, "BOOKING_NOT_ACTIVE");
  });

  test("an attendee's bookings are cancelled and their seats free", async () => {
    const hanna = await api.host("Hanna");
    const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event, 3);
    await alice.does(204, "DELETE", `/users/${alice.who.id}`);
    expect((await api.get(`/events/${event.id}`)).body).toMatchObject({ availableTickets: 3 });
    await ben.books(event, 3);
    const { data } = await hanna.does(200, "GET", `/events/${event.id}/bookings?status=cancelled`);
    expect(data).toMatchObject([{ quantity: 3, attendee: { id: alice.who.id, email: null } }]);
    expect(data[0].attendee.name).not.toContain("Alice");
  });

  test("an attendee's holds and places on waiting lists go with them", async () => {
    const hanna = await api.host("Hanna");
    const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
    const cleo = await api.attendee("Cleo");
    const priced = await hanna.createsEvent({ capacity: 1, price: 100, currency: "EUR" });
    const full = await hanna.createsEvent({ capacity: 1 });
    await alice.books(priced);
    const taken = await ben.books(full);
    await alice.waitsFor(full);
    await cleo.waitsFor(full);
    await cleo.waitsFor(priced);
    await alice.does(204, "DELETE", `/users/${alice.who.id}`);
    expect(await cleo.bookingOf(priced)).toMatchObject({ status: "pending", quantity: 1 });
    expect(await cleo.placeFor(full)).toBe(1);
    await ben.cancels(taken);
    expect(await cleo.bookingOf(full)).toMatchObject({ status: "confirmed", quantity: 1 });
  });

  test("nothing is left by which the person could be known", async () => {
    const marks = { name: "Hortensia Quibblewick", username: `quibble_${Date.now()}` };
    const person = await api.host(marks.name);
    await person.does(200, "PATCH", "/users/me", { ...marks, phone: "+4366412345678" });
    const words = [marks.name, marks.username, person.who.email, "+4366412345678"];
    const alice = await api.attendee("Alice");
    // The answers that are kept for a repetition name the host.
    const key = { "idempotency-key": "again" };
    const times = { startDateTime: inDays(7), endDateTime: inDays(8) };
    const concert = { title: "Concert", capacity: 10, ...times };
    const { body: event } = await person.tries("POST", "/events", concert, key);
    await alice.tries("POST", "/bookings", { eventId: event.id }, key);
    expect((await tablesWith(system, words)).sort()).toEqual(["idempotency_keys", "users"]);
    await person.does(204, "DELETE", "/users/me");
    expect(await tablesWith(system, words)).toEqual([]);
    const left = await system.database.query("SELECT * FROM users WHERE id = $1", [person.who.id]);
    const nothing = { username: null, email: null, phone: null, password_hash: null };
    expect(left).toMatchObject([nothing]);
  });

  test("tokens and password are refused, and the address is free for another", async () => {
    const alice = await api.attendee("Alice");
    const { email, password } = alice.who;
    const login = () => api.request("POST", "/auth/login", { body: { email, password } });
    const phone = (await login()).body;
    await alice.does(204, "DELETE", "/users/me");
    for (const token of [alice.token, phone.token]) {
      expectProblem(await api.get("/auth/me", { token }), 401, "UNAUTHENTICATED");
    }
    for (const refreshToken of [alice.refreshToken, phone.refreshToken]) {
      const refused = await api.request("POST", "/auth/refresh", { body: { refreshToken } });
      expectProblem(refused, 401, "UNAUTHENTICATED");
    }
    expectProblem(await login(), 401, "INVALID_CREDENTIALS");

    const registered = await api.request("POST", "/auth/register", {
      body: { name: "Another Alice", email, password },
    });
    expect(registered.status).toBe(201);
    expect(registered.body.user.id).not.toBe(alice.who.id);
    const bookings = await api.get("/bookings/my-bookings", { token: registered.body.token });
    expect(bookings.body.data).toEqual([]);
    expectProblem(await api.get("/auth/me", { token: alice.token }), 401, "UNAUTHENTICATED");
  });

  test("is for oneself and administrators, and once", async () => {
    const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
    expectProblem(await ben.tries("DELETE", `/users/${alice.who.id}`), 403, "FORBIDDEN");
    await alice.does(200, "GET", "/users/me");
    await admin.does(204, "DELETE", `/users/${alice.who.id}`);
    expectProblem(await alice.tries("GET", "/users/me"), 401, "UNAUTHENTICATED");
    expectProblem(await ben.tries("GET", `/users/${alice.who.id}`), 404, "USER_NOT_FOUND");
    const again = await admin.tries("DELETE", `/users/${alice.who.id}`);
    expectProblem(again, 404, "USER_NOT_FOUND");
  });
});

describe("A deletion that does not go smoothly", () => {
  const database = new UnreliableDatabase();
  const ERASING = /FROM users WHERE id = \$id::uuid FOR UPDATE/;
  let system: TestSystem;
  let api: Api;
  beforeAll(async () => {
    system = await startTestSystem({
      wrapDatabase: database.wrap,
      environment: WITH_ADMINISTRATOR,
      lockTimeoutMs: 500,
    });
    api = await Api.at(system.origin);
  });
  afterEach(() => database.works());
  afterAll(() => system.stop());

  const signsInAgain = async ({ who }: Person) => {
    const body = { email: who.email, password: who.password };
    const answer = await api.request("POST", "/auth/login", { body });
    expect(answer.status).toBe(200);
    return new Person(api, who, answer.body.token, answer.body.refreshToken);
  };

  test("can be repeated when it broke off", async () => {
    const hanna = await api.host("Hanna");
    const event = await hanna.createsEvent();
    database.fails(ERASING, new Error("The plug was pulled"));
    expectProblem(await hanna.tries("DELETE", "/users/me"), 500, "INTERNAL");
    database.works();
    await (await signsInAgain(hanna)).does(204, "DELETE", "/users/me");
    expectProblem(await api.get(`/events/${event.id}`), 404, "EVENT_NOT_FOUND");
  });

  test("comes to its end by itself when it broke off after the erasing", async () => {
    const admin = await administrator(api);
    const hanna = await api.host("Hanna");
    const held = database.holds(ERASING);
    const deleted = hanna.tries("DELETE", "/users/me");
    await held.isReached;
    // What comes in meanwhile, and then the second clearing away does not come about.
    const event = await (await signsInAgain(hanna)).createsEvent();
    const [node] = system.systems;
    if (!node) throw new Error("The system has no node");
    const call = node.broker.call.bind(node.broker) as (...args: unknown[]) => Promise<unknown>;
    const broken = jest
      .spyOn(node.broker, "call")
      .mockImplementation((...args: unknown[]) =>
        args[0] === "events.$deleteOfHost"
          ? Promise.reject(new Error("The plug was pulled"))
          : call(...args),
      );
    held.letGo();
    expectProblem(await deleted, 500, "INTERNAL");
    expectProblem(await admin.tries("DELETE", `/users/${hanna.who.id}`), 500, "INTERNAL");
    const ben = await api.attendee("Ben");
    expectProblem(await ben.tries("DELETE", `/users/${hanna.who.id}`), 404, "USER_NOT_FOUND");
    expect((await api.get(`/events/${event.id}`)).status).toBe(200);
    broken.mockRestore();
    // Nobody asks for it any more, and it is tried again all the same.
    await eventually(async () =>
      expectProblem(await api.get(`/events/${event.id}`), 404, "EVENT_NOT_FOUND"),
    );
    // Nobody any more, but only when nothing is left.
    const again = await admin.tries("DELETE", `/users/${hanna.who.id}`);
    expectProblem(again, 404, "USER_NOT_FOUND");
  });

  test("is granted once the person is erased, and ends by itself where the rest cannot be at the moment", async () => {
    const hanna = await api.host("Hanna");
    const alice = await api.attendee("Alice");
    const event = await hanna.createsEvent({ capacity: 1 });
    const erasing = database.holds(ERASING);
    const deleted = alice.tries("DELETE", "/users/me");
    await erasing.isReached;
    // Another device of hers books meanwhile, and then somebody holds the event.
    await (await signsInAgain(alice)).books(event);
    await whileOpen(
      system.database,
      "SELECT FROM events WHERE id = $1 FOR UPDATE",
      [event.id],
      async (holder) => {
        erasing.letGo();
        expect((await deleted).status).toBe(204);
        expect((await api.get(`/events/${event.id}`)).body.availableTickets).toBe(0);
        await holder.commits();
      },
    );
    await eventually(async () =>
      expect((await api.get(`/events/${event.id}`)).body.availableTickets).toBe(1),
    );
  });

  test("ends the session of whoever signs in meanwhile", async () => {
    const alice = await api.attendee("Alice");
    const held = database.holds(ERASING);
    const deleted = alice.tries("DELETE", "/users/me");
    await held.isReached;
    const meanwhile = await signsInAgain(alice);
    held.letGo();
    expect((await deleted).status).toBe(204);
    expectProblem(await meanwhile.tries("GET", "/auth/me"), 401, "UNAUTHENTICATED");
    const { refreshToken } = meanwhile;
    const refused = await api.request("POST", "/auth/refresh", { body: { refreshToken } });
    expectProblem(refused, 401, "UNAUTHENTICATED");
  });

  test("asked for five times at once, it happens once", async () => {
    const alice = await api.attendee("Alice");
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => alice.tries("DELETE", "/users/me")),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses).toContain(204);
    for (const status of statuses) expect([204, 401, 404]).toContain(status);
  });
});
