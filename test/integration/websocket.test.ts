import { ACCESS_TOKEN_SECONDS, accessTokens } from "../../lib/access-tokens";
import { newId } from "../../lib/ids";
import { MovableClock } from "../support/movable-clock";
import { Api, type Event, type Person } from "../support/people";
import { Line, Refused } from "../support/sockets";
import { startTestSystem, type TestSystem, testConfig } from "../support/system";
import { onWire } from "../support/wire";

let system: TestSystem;
let api: Api;
let hanna: Person;
let alice: Person;
const lines: Line[] = [];
beforeAll(async () => {
  system = await startTestSystem();
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  alice = await api.attendee("Alice");
});
afterEach(() => {
  for (const line of lines.splice(0)) line.hangsUp();
});
afterAll(() => system.stop());

async function open(query: string, headers: Record<string, string> = {}): Promise<Line> {
  const line = await Line.to(system.origin, query, { headers });
  lines.push(line);
  return line;
}
const connects = (person: Person, more = "") => open(`?token=${person.token}${more}`);
const refusal = (opening: Promise<unknown>): Promise<Refused> =>
  opening.then(
    () => Promise.reject(new Error("It was opened")),
    (error: unknown) => {
      if (error instanceof Refused) return error;
      throw error;
    },
  );

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const upgradeOf = (...more: string[]) =>
  [
    "GET /ws HTTP/1.1",
    "Host: x",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${KEY}`,
    ...more,
    "",
    "",
  ].join("\r\n");

describe("Who may open a socket", () => {
  test("whoever has a token, in the address or in a header", async () => {
    (await connects(alice)).says({ action: "ping" });
    const other = await open("", { authorization: `Bearer ${alice.token}` });
    expect(await other.says({ action: "ping" }).hears({ type: "pong" })).toEqual({ type: "pong" });
    expect(await lines[0]?.hears({ type: "pong" })).toEqual({ type: "pong" });
  });

  const tokens = accessTokens(testConfig("postgres://x/y"), { now: () => new Date() });
  const old = accessTokens(testConfig("postgres://x/y"), {
    now: () => new Date(Date.now() - (ACCESS_TOKEN_SECONDS + 10) * 1000),
  });
  const caller = () => ({ id: alice.who.id, role: "attendee", sessionId: newId() }) as const;
  test.each([
    ["no token", () => ""],
    ["an empty one", () => "?token="],
    ["what is none", () => "?token=abc"],
    ["a forged one", () => `?token=${tokens.sign(caller()).slice(0, -3)}abc`],
    ["one that has expired", () => `?token=${old.sign(caller())}`],
  ])("not with %s", async (_words, query) => {
    const refused = await refusal(open(query()));
    expect(refused).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
    expect(refused.headers).toMatchObject({
      "content-type": "application/problem+json; charset=utf-8",
      "www-authenticate": 'Bearer realm="marquee"',
      "x-request-id": JSON.parse(refused.body).requestId,
      connection: "close",
    });
  });

  test("not with one whose session has ended", async () => {
    const ben = await api.attendee("Ben");
    await ben.does(204, "POST", "/auth/logout");
    expect(await refusal(connects(ben))).toMatchObject({ status: 401 });
  });

  test("at /ws alone, and as a WebSocket of version 13", async () => {
    const plain = await fetch(`${system.origin}/ws`, {
      headers: { authorization: `Bearer ${alice.token}` },
    });
    expect(plain.status).toBe(426);
    expect(plain.headers.get("upgrade")).toBe("websocket");
    expect(await plain.json()).toMatchObject({ code: "UPGRADE_REQUIRED" });
    const posted = await fetch(`${system.origin}/ws`, { method: "POST" });
    expect(posted.status).toBe(405);
    expect(posted.headers.get("allow")).toBe("GET");
    const asked = await fetch(`${system.origin}/ws`, { method: "OPTIONS" });
    expect([asked.status, asked.headers.get("allow")]).toEqual([204, "GET"]);
    const old = upgradeOf(`Authorization: Bearer ${alice.token}`).replace(": 13", ": 7");
    const elsewhere = upgradeOf(`Authorization: Bearer ${alice.token}`).replace("/ws", "/wss");
    for (const [said, status] of [
      [old, 426],
      [elsewhere, 404],
      [upgradeOf("Content-Length: 2"), 400],
      [upgradeOf(`Authorization: Bearer ${alice.token}`, "Sec-WebSocket-Protocol: ,"), 400],
    ] as const) {
      await onWire(system.origin, async (wire) => {
        expect((await wire.says(said).hears()).status).toBe(status);
        await wire.isClosed();
      });
    }
  });

  test("whoever offers another protocol elsewhere is answered as if they had not", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says(
        "GET /api/events?limit=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
      );
      const answer = await wire.hears();
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body)).toHaveProperty("pagination");
      await wire.isClosed();
    });
  });

  test("twenty times at once, and again when one is closed", async () => {
    const cleo = await api.attendee("Cleo");
    for (let i = 0; i < 20; i++) await connects(cleo);
    expect(await refusal(connects(cleo))).toMatchObject({ status: 429, code: "RATE_LIMITED" });
    const [first] = lines;
    first?.socket.close();
    await first?.isClosed();
    (await connects(cleo)).says({ action: "ping" });
  });
});

describe("A socket is closed when", () => {
  test("its session ends", async () => {
    const dan = await api.attendee("Dan");
    const line = await connects(dan);
    await dan.does(204, "POST", "/auth/logout");
    const at = Date.now();
    expect(await line.isClosed()).toBe(4401);
    expect(Date.now() - at).toBeLessThan(2_000);
    expect(line.heard.at(-1)).toMatchObject({ type: "error", code: "UNAUTHENTICATED" });
  });

  test("the password is changed elsewhere", async () => {
    const dora = await api.attendee("Dora");
    const line = await connects(dora);
    const { token } = await dora.does(200, "POST", "/auth/login", {
      email: dora.who.email,
      password: dora.who.password,
    });
    const answer = await api.request("POST", "/auth/change-password", {
      token,
      body: { currentPassword: dora.who.password, newPassword: "correct horse 2" },
    });
    expect(answer.status).toBe(204);
    expect(await line.isClosed()).toBe(4401);
  });

  test("its user is erased", async () => {
    const erik = await api.attendee("Erik");
    const line = await connects(erik);
    await erik.does(204, "DELETE", "/users/me");
    expect(await line.isClosed()).toBe(4401);
  });

  test.each([
    ["binary", Buffer.from([1, 2, 3]), 1003, "UNSUPPORTED_MEDIA_TYPE"],
    ["larger than it may be", "x".repeat(5_000), 1009, "PAYLOAD_TOO_LARGE"],
    ["much larger than it may be", "x".repeat(5_000_000), 1009, "PAYLOAD_TOO_LARGE"],
    ["no JSON", "{action", 1007, "MALFORMED_JSON"],
  ])("a message is %s", async (_words, message, closeCode, code) => {
    const line = await connects(alice);
    line.socket.send(message);
    expect(await line.hears({ type: "error" })).toMatchObject({ code });
    expect(await line.isClosed()).toBe(closeCode);
  });

  test("a frame breaks the protocol", async () => {
    const line = await connects(alice);
    // Not masked, as every frame of a client has to be (RFC 6455, 5.1).
    (line.socket as unknown as { _socket: NodeJS.WritableStream })._socket.write(
      Buffer.from([0x81, 0x01, 0x61]),
    );
    expect(await line.hears({ type: "error" })).toMatchObject({ code: "BAD_REQUEST" });
    expect(await line.isClosed()).toBe(1002);
  });
});

describe("What is said wrongly is answered with an error, and no more", () => {
  test.each([
    [{ action: "dance" }, "VALIDATION_FAILED"],
    [{}, "VALIDATION_FAILED"],
    [[], "VALIDATION_FAILED"],
    [{ action: "ping", eventId: newId() }, "VALIDATION_FAILED"],
    [{ action: "subscribe" }, "VALIDATION_FAILED"],
    [{ action: "subscribe", eventId: 7 }, "VALIDATION_FAILED"],
    [{ action: "subscribe", eventId: "x" }, "VALIDATION_FAILED"],
    [{ action: "subscribe", eventId: newId(), hostId: newId() }, "VALIDATION_FAILED"],
    [{ action: "subscribe", eventId: newId(), more: 1 }, "VALIDATION_FAILED"],
    [{ action: "subscribe", eventId: newId() }, "EVENT_NOT_FOUND"],
    [{ action: "subscribe", hostId: newId() }, "USER_NOT_FOUND"],
  ])("%j: %s", async (message, code) => {
    const line = await connects(alice);
    expect(await line.says(message).hears({ type: "error" })).toMatchObject({ code });
    expect(await line.says({ action: "ping" }).hears({ type: "pong" })).toBeDefined();
  });

  test("a host is somebody who hosts", async () => {
    const line = await connects(alice);
    line.says({ action: "subscribe", hostId: alice.who.id });
    expect(await line.hears({ type: "error" })).toMatchObject({
      code: "USER_NOT_FOUND",
      hostId: alice.who.id,
    });
  });

  test("ten thousand subscriptions are too many", async () => {
    const event = await hanna.createsEvent();
    await system.database.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, capacity, number_of_attendees, price,
                           tags, status, version, time_zone, ticket_key, created_at, updated_at)
       SELECT gen_random_uuid(), host_id, title, start_date_time, end_date_time, capacity, 0, 0, tags, status, 1,
              time_zone, ticket_key, created_at, updated_at FROM events, generate_series(1, 1100) WHERE id = $1`,
      [event.id],
    );
    const ids = await system.database.query("SELECT id FROM events WHERE host_id = $1", [
      hanna.who.id,
    ]);
    const line = await connects(alice);
    for (let i = 0; i < 10_000; i++) {
      line.says({ action: "subscribe", eventId: ids[i % ids.length]?.id });
    }
    expect(await line.isClosed()).toBe(1008);
    const codes = (wanted: string) => line.heard.filter(({ code }) => code === wanted).length;
    expect(line.heard.filter(({ type }) => type === "subscribed").length).toBeLessThanOrEqual(1500);
    expect(new Set(line.heard.map(({ eventId }) => eventId)).size).toBeGreaterThan(100);
    expect(codes("TOO_MANY_SUBSCRIPTIONS")).toBeGreaterThan(90);
    expect(codes("RATE_LIMITED")).toBe(1);
  });
});

describe("Who watches an event", () => {
  let event: Event;
  let line: Line;
  beforeEach(async () => {
    event = await hanna.createsEvent({ capacity: 100 });
    line = await connects(alice);
  });
  const availability = (taken: number, capacity = 100) => ({
    type: "event",
    action: "availability",
    data: {
      id: event.id,
      eventId: event.id,
      capacity,
      numberOfAttendees: taken,
      availableTickets: capacity - taken,
    },
  });

  test("knows at once how many seats there are, and then as they go and come back", async () => {
    line.says({ action: "subscribe", eventId: event.id.toUpperCase() });
    expect(await line.hears({ type: "subscribed" })).toEqual({
      type: "subscribed",
      eventId: event.id,
    });
    expect(await line.hears({ type: "event" })).toEqual(availability(0));
    const ben = await api.attendee("Ben");
    const booking = await ben.books(event, 3);
    expect(await line.hears({ type: "event" })).toEqual(availability(3));
    await ben.cancels(booking);
    expect(await line.hears({ type: "event" })).toEqual(availability(0));
    line.says({ action: "unsubscribe", eventId: event.id });
    expect(await line.hears({ type: "unsubscribed" })).toEqual({
      type: "unsubscribed",
      eventId: event.id,
    });
    await ben.books(event);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(line.heard.at(-1)?.type).toBe("unsubscribed");
  });

  test("hears of a rush a few times, and of how it ended", async () => {
    await line.says({ action: "subscribe", eventId: event.id }).hears({ type: "subscribed" });
    const before = line.heard.length;
    const people = await Promise.all(Array.from({ length: 40 }, () => api.attendee("Gina")));
    const startedAt = Date.now();
    await Promise.all(people.map((person) => person.books(event, 2)));
    await line.hears(({ data }) => data?.numberOfAttendees === 80);
    const most = 3 + Math.ceil((Date.now() - startedAt) / 250);
    expect(line.heard.length - before).toBeLessThanOrEqual(most);
    expect(most).toBeLessThan(40);
  });

  test("hears of changes as anybody can read them, and of its end", async () => {
    await line.says({ action: "subscribe", eventId: event.id }).hears({ action: "availability" });
    await hanna.does(200, "PATCH", `/events/${event.id}`, {
      title: "Another evening",
      capacity: 50,
    });
    const updated = await line.hears({ type: "event" });
    expect(updated).toEqual({
      type: "event",
      action: "updated",
      data: (await api.get(`/events/${event.id}`)).body,
    });
    expect(await line.hears({ type: "event" })).toEqual(availability(0, 50));
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    expect((await line.hears({ type: "event" })).data.status).toBe("cancelled");
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    expect(await line.hears({ type: "event" })).toEqual({
      type: "event",
      action: "deleted",
      data: { id: event.id, eventId: event.id },
    });
  });

  test("of a draft its host alone", async () => {
    const draft = await hanna.createsEvent({ status: "draft" });
    line.says({ action: "subscribe", eventId: draft.id });
    expect(await line.hears({ type: "error" })).toMatchObject({
      code: "EVENT_NOT_FOUND",
      eventId: draft.id,
    });
    const own = await connects(hanna);
    await own.says({ action: "subscribe", eventId: draft.id }).hears({ type: "subscribed" });
    await hanna.does(200, "PATCH", `/events/${draft.id}`, { title: "A secret" });
    expect((await own.hears({ action: "updated" })).data.title).toBe("A secret");
    expect(JSON.stringify(line.heard)).not.toContain("A secret");
  });
});

test("Who watches a host hears of new events, but not of drafts, and of all that becomes of them", async () => {
  const otto = await api.host("Otto");
  const known = await otto.createsEvent({ title: "Known" });
  const draft = await otto.createsEvent({ title: "Draft", status: "draft" });
  const line = await connects(alice);
  line.says({ action: "subscribe", hostId: otto.who.id });
  expect(await line.hears({ type: "subscribed" })).toEqual({
    type: "subscribed",
    hostId: otto.who.id,
  });
  // Its host watches the draft: what is told of it there is told nobody else.
  const own = await connects(otto);
  await own.says({ action: "subscribe", eventId: draft.id }).hears({ type: "subscribed" });
  await otto.does(200, "PATCH", `/events/${draft.id}`, { title: "Still a draft" });
  await own.hears({ action: "updated" });
  const fresh = await otto.createsEvent({ title: "Fresh" });
  const created = await line.hears({ type: "event" });
  expect(created).toMatchObject({ action: "created", data: { id: fresh.id, title: "Fresh" } });
  await otto.does(200, "POST", `/events/${draft.id}/publish`);
  expect(await line.hears({ type: "event" })).toMatchObject({
    action: "created",
    data: { id: draft.id, status: "published" },
  });
  expect((await own.hears({ action: "updated" })).data.status).toBe("published");
  await alice.books(known);
  expect(await line.hears({ type: "event" })).toMatchObject({
    action: "availability",
    data: { eventId: known.id, numberOfAttendees: 1 },
  });
  await otto.does(204, "DELETE", `/events/${fresh.id}`);
  expect(await line.hears({ type: "event" })).toMatchObject({
    action: "deleted",
    data: { eventId: fresh.id },
  });
  line.says({ action: "unsubscribe", hostId: otto.who.id });
  await line.hears({ type: "unsubscribed" });
});

describe("Notifications", () => {
  test("come as they can be read, to whom they are for, on each of their sockets", async () => {
    const ben = await api.attendee("Ben");
    const event = await hanna.createsEvent();
    await ben.books(event);
    await ben.isTold("booking.confirmed");
    // What was there before is not news.
    const [one, two, other] = [await connects(ben), await connects(ben), await connects(alice)];
    const booking = await ben.bookingOf(event);
    if (!booking) throw new Error("There is no booking");
    await ben.cancels(booking);
    const said = await one.hears({ type: "notification" });
    expect(said.notification.type).toBe("booking.cancelled");
    expect(said.notification).toEqual(
      await ben.does(200, "GET", `/notifications/${said.notification.id}`),
    );
    expect(await two.hears({ type: "notification" })).toEqual(said);
    // Longer than until the next look at everybody.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect([one.heard, two.heard, other.heard]).toEqual([[said], [said], []]);
  });

  test("come soon after each booking, not only when somebody looks every two seconds", async () => {
    const ben = await api.attendee("Ben");
    const line = await connects(ben);
    for (let i = 0; i < 6; i++) {
      const event = await hanna.createsEvent();
      await ben.books(event);
      const at = performance.now();
      await line.hears((said) => said.notification?.eventId === event.id);
      expect(performance.now() - at).toBeLessThan(1_000);
    }
  });

  test("that were missed come first, in order, each once", async () => {
    const ben = await api.attendee("Ben");
    const events: Event[] = [];
    for (let i = 0; i < 5; i++) events.push(await hanna.createsEvent());
    const [first, ...later] = events as [Event, ...Event[]];
    await ben.books(first);
    const [had] = await ben.isTold("booking.confirmed");
    for (const event of later) await ben.books(event);
    await ben.isTold("booking.confirmed", 5);
    const line = await connects(ben, `&since=${had.id}`);
    const rush = hanna.createsEvent().then((event) => ben.books(event));
    const told: string[] = [];
    while (told.length < 5) {
      const { notification } = await line.hears({ type: "notification" });
      told.push(notification.id);
    }
    await rush;
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const { data } = await ben.does(200, "GET", "/notifications?order=asc");
    const all = data.map(({ id }: { id: string }) => id);
    expect(told).toEqual(all.slice(1));
    expect(line.heard).toHaveLength(5);
  });

  test("that were missed come page by page, however many they are", async () => {
    const ben = await api.attendee("Ben");
    await system.database.query(
      `INSERT INTO notifications (id, user_id, occurrence_id, type, title, body, data, created_at)
       SELECT gen_random_uuid(), $1, gen_random_uuid(), 'event.updated', i::text, 'x',
              '{"eventId": null, "bookingId": null, "reason": null}', now() - interval '1 hour' + i / 3 * interval '1 s'
         FROM generate_series(1, 1000) i`,
      [ben.who.id],
    );
    const { data } = await ben.does(200, "GET", "/notifications?order=asc&limit=100");
    const line = await connects(ben, `&since=${data[9].id}`);
    await line.hears(() => line.heard.length === 990);
    const titles = line.heard.map(({ notification }) => notification.id);
    expect(titles.slice(0, 90)).toEqual(data.slice(10).map(({ id }: { id: string }) => id));
    expect(new Set(titles).size).toBe(990);
  });

  test("since somebody else's, or since none, are an error, and what is new comes all the same", async () => {
    const ben = await api.attendee("Ben");
    const event = await hanna.createsEvent();
    await alice.books(event);
    const [others] = await alice.isTold("booking.confirmed");
    for (const [since, code] of [
      [others.id, "NOTIFICATION_NOT_FOUND"],
      [newId(), "NOTIFICATION_NOT_FOUND"],
      ["yesterday", "VALIDATION_FAILED"],
    ]) {
      const line = await connects(ben, `&since=${since}`);
      expect(await line.hears({ type: "error" })).toMatchObject({ code });
    }
    await ben.books(event);
    for (const line of lines) {
      const { notification } = await line.hears({ type: "notification" });
      expect(notification.type).toBe("booking.confirmed");
    }
  });

  test("of an audience come to those of it who are there", async () => {
    const ben = await api.attendee("Ben");
    await ben.does(204, "POST", `/users/${hanna.who.id}/follow`);
    const [line, other] = [await connects(ben), await connects(alice)];
    const event = await hanna.createsEvent({ title: "Followed" });
    expect((await line.hears({ type: "notification" })).notification).toMatchObject({
      type: "event.created",
      eventId: event.id,
    });
    expect(other.heard).toEqual([]);
  });
});

describe("A gateway", () => {
  test("counts an upgrade against the budget, and refuses pages of other origins where it knows some", async () => {
    const own = await startTestSystem({
      environment: { RATE_LIMIT_API: "9", CORS_ORIGINS: "https://tickets.example" },
    });
    try {
      const there = await Api.at(own.origin);
      const ben = await there.attendee("Ben");
      const opening = (origin?: string) =>
        Line.to(own.origin, `?token=${ben.token}`, origin === undefined ? {} : { origin });
      const foreign = await refusal(opening("https://evil.example"));
      expect(foreign).toMatchObject({ status: 403, code: "FORBIDDEN" });
      expect(foreign.headers["x-ratelimit-remaining"]).toBe("8");
      const opened = [
        await opening("https://tickets.example"),
        await opening(own.origin),
        await opening(),
      ];
      for (let i = 0; i < 5; i++) opened.push(await opening());
      expect(await refusal(opening())).toMatchObject({ status: 429, code: "RATE_LIMITED" });
      for (const line of opened) line.hangsUp();
    } finally {
      await own.stop();
    }
  });

  test("says good-bye when it stops, and does not wait for those who do not hear", async () => {
    const own = await startTestSystem();
    const there = await Api.at(own.origin);
    const ben = await there.attendee("Ben");
    const line = await Line.to(own.origin, `?token=${ben.token}`);
    await onWire(own.origin, async (wire) => {
      // It never answers the good-bye.
      wire.says(upgradeOf(`Authorization: Bearer ${ben.token}`));
      expect((await wire.hears()).status).toBe(101);
      const startedAt = Date.now();
      const stopping = own.stop();
      expect(await line.isClosed()).toBe(1001);
      await stopping;
      expect(Date.now() - startedAt).toBeLessThan(5_000);
    });
  });

  test("closes a socket whose token has expired", async () => {
    const clock = new MovableClock();
    const own = await startTestSystem({ clock });
    try {
      const there = await Api.at(own.origin);
      const ben = await there.attendee("Ben");
      const line = await Line.to(own.origin, `?token=${ben.token}`);
      clock.moveTo(clock.inMinutes(61));
      expect(await line.isClosed()).toBe(4401);
    } finally {
      await own.stop();
    }
  });
});
