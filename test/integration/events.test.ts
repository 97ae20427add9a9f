import { newId } from "../../lib/ids";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { readCalendar } from "../support/calendar-file";
import { MovableClock } from "../support/movable-clock";
import { Api, type Event, inDays, type Person } from "../support/people";
import { faultyFields } from "../support/problems";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
let hanna: Person;
let otherHost: Person;
let alice: Person;
let admin: Person;

beforeAll(async () => {
  system = await startTestSystem({ clock, environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  otherHost = await api.host("Otto");
  alice = await api.attendee("Alice");
  admin = await administrator(api);
});
afterAll(() => system.stop());
afterEach(() => clock.moveBack());

const newEvent = (fields: Record<string, unknown> = {}) => ({
  title: "An evening",
  startDateTime: inDays(7),
  endDateTime: inDays(7.1),
  capacity: 10,
  ...fields,
});

const countEvents = async (): Promise<number> =>
  (await system.database.query("SELECT count(*)::int AS count FROM events"))[0].count;

const catalogueId = async (): Promise<string> =>
  (await api.get("/available-events?limit=1")).body.data[0].id;

/** An event that begins in ten minutes and ends in twenty: its end can be stood at within a token's life. */
const soon = (fields: Record<string, unknown> = {}) =>
  hanna.createsEvent({
    startDateTime: clock.inMinutes(10),
    endDateTime: clock.inMinutes(20),
    ...fields,
  });

/** What a host may do with an event, and an administrator. */
const MANAGING = [
  ["PATCH", "", { title: "Mine" }],
  ["PUT", "", { title: "Mine" }],
  ["DELETE", "", undefined],
  ["POST", "/publish", undefined],
  ["POST", "/postpone", {}],
  ["POST", "/cancel", {}],
  ["GET", "/bookings", undefined],
] as const;

const expectUnknownTo = async (person: Person, event: { id: string }) => {
  for (const [method, path, body] of MANAGING) {
    const answer = await person.tries(method, `/events/${event.id}${path}`, body);
    expectRefusal(answer, 404, "EVENT_NOT_FOUND");
  }
};

describe("Creating an event", () => {
  test("every field comes back as it was sent", async () => {
    const fields = {
      title: "Zürich 🎻 – «Nacht»",
      description: "First line\nsecond line, <b>not bold</b>",
      location: "Großmünster, Zürich",
      coordinates: { lat: 47.37, lng: 8.544 },
      startDateTime: "2031-05-01T20:00:00.000Z",
      endDateTime: "2031-05-01T23:30:00.000Z",
      timeZone: "Europe/Zurich",
      capacity: 1_000_000,
      availableEventId: await catalogueId(),
      price: 100_000_000,
      currency: "CHF",
      tags: ["music", "night & day"],
      saleStartsAt: "2031-01-01T00:00:00.000Z",
      saleEndsAt: "2031-05-01T23:00:00.000Z",
    };
    const answer = await hanna.tries("POST", "/events", fields);
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      ...fields,
      id: expect.any(String),
      hostId: hanna.who.id,
      host: { id: hanna.who.id, name: "Hanna" },
      numberOfAttendees: 0,
      availableTickets: 1_000_000,
      status: "published",
      attachmentUrl: null,
      version: 1,
      createdAt: expect.any(String),
      updatedAt: answer.body.createdAt,
    });
    expect(answer.headers.get("location")).toBe(`/api/events/${answer.body.id}`);
    expect((await api.get(`/events/${answer.body.id}`)).body).toEqual(answer.body);
  });

  test("what is left out has a value that says so", async () => {
    expect(await hanna.createsEvent()).toMatchObject({
      description: null,
      location: null,
      coordinates: null,
      timeZone: "UTC",
      availableEventId: null,
      price: 0,
      currency: null,
      tags: [],
      status: "published",
      saleStartsAt: null,
      saleEndsAt: null,
    });
  });

  test("of tags that differ by case alone the first stays, at a change too", async () => {
    const event = await hanna.createsEvent({ tags: [" Jazz ", "rock", "JAZZ", "jazz", "Rock"] });
    expect(event.tags).toEqual(["Jazz", "rock"]);
    const path = `/events/${event.id}`;
    const same = await hanna.does(200, "PATCH", path, { tags: ["Jazz", "jazz", "rock"] });
    expect(same).toEqual(event);
    const changed = await hanna.does(200, "PATCH", path, { tags: ["ROCK", "rock", "Jazz"] });
    expect(changed).toMatchObject({ tags: ["ROCK", "Jazz"], version: 2 });
  });

  test("a time zone is kept as IANA writes it, under the name that was sent", async () => {
    const zoneOf = async (timeZone: string) => (await hanna.createsEvent({ timeZone })).timeZone;
    expect(await zoneOf("europe/berlin")).toBe("Europe/Berlin");
    expect(await zoneOf("ASIA/KOLKATA")).toBe("Asia/Kolkata");
    const event = await hanna.createsEvent();
    const changed = await hanna.does(200, "PATCH", `/events/${event.id}`, { timeZone: "utc" });
    expect(changed).toEqual(event);
  });

  test("times may come with any offset and go out in UTC", async () => {
    const event = await hanna.createsEvent({
      startDateTime: "2031-05-01T20:00:00+02:00",
      endDateTime: "2031-05-01T20:00-05:30",
    });
    expect(event.startDateTime).toBe("2031-05-01T18:00:00.000Z");
    expect(event.endDateTime).toBe("2031-05-02T01:30:00.000Z");
  });

  test("a client's id of the catalogue may be in capitals", async () => {
    const id = await catalogueId();
    const event = await hanna.createsEvent({ availableEventId: id.toUpperCase() });
    expect(event.availableEventId).toBe(id);
  });

  test.each<[string, Record<string, unknown>]>([
    ["a title of one character", { title: "x" }],
    ["a title of 200 characters beyond the basic plane", { title: "🎻".repeat(200) }],
    ["a title with white space around 200 characters", { title: ` ${"x".repeat(200)} ` }],
    ["an empty description", { description: "" }],
    ["a description of 10,000 characters", { description: "é".repeat(10_000) }],
    ["a description that is one long word", { description: "w".repeat(10_000) }],
    ["a location of 300 characters", { location: "x".repeat(300) }],
    ["one seat", { capacity: 1 }],
    ["the south pole at the date line", { coordinates: { lat: -90, lng: 180 } }],
    ["nothing set at all", { description: null, location: null, coordinates: null }],
    [
      "20 tags of 40 characters",
      { tags: Array.from({ length: 20 }, (_, i) => `${i}`.padEnd(40, "x")) },
    ],
    ["a currency without a price", { currency: "USD" }],
    ["a sale that ends before it was said to start", { saleEndsAt: inDays(1) }],
    [
      "a sale that runs until the doors close",
      { saleStartsAt: inDays(1), saleEndsAt: inDays(7.1) },
    ],
    ["the last moment of the calendar", { endDateTime: "9999-12-31T23:59:59.999Z" }],
  ])("takes %s", async (_, fields) => {
    const answer = await hanna.tries("POST", "/events", newEvent(fields));
    expect(answer.status).toBe(201);
  });

  const tooLong = (length: number) => "x".repeat(length + 1);
  test.each<[string, unknown, string?]>([
    ["title", undefined],
    ["title", null],
    ["title", ""],
    ["title", " \n\t "],
    ["title", 7],
    ["title", ["An evening"]],
    ["title", tooLong(200)],
    ["title", "half a \ud800 pair"],
    ["title", "nul \u0000 byte"],
    ["title", "two\nlines"],
    ["title", "a carriage\rreturn"],
    ["title", "bell \u0007"],
    ["startDateTime", undefined],
    ["startDateTime", null],
    ["startDateTime", 1_900_000_000],
    ["startDateTime", "tomorrow"],
    ["startDateTime", "2031-05-01"],
    ["startDateTime", "2031-05-01T20:00:00"],
    ["startDateTime", "2031-02-30T20:00:00Z"],
    ["startDateTime", "2031-05-01T24:30:00Z"],
    ["startDateTime", "+12031-05-01T20:00:00Z"],
    ["startDateTime", "1969-12-31T23:59:59Z"],
    ["startDateTime", inDays(-1)],
    ["endDateTime", undefined],
    ["endDateTime", "2031-13-01T20:00:00Z"],
    ["endDateTime", inDays(6)],
    ["capacity", undefined],
    ["capacity", null],
    ["capacity", 0],
    ["capacity", -1],
    ["capacity", 1.5],
    ["capacity", "10"],
    ["capacity", true],
    ["capacity", 1_000_001],
    ["capacity", Number.MAX_SAFE_INTEGER],
    ["description", 7],
    ["description", tooLong(10_000)],
    ["location", tooLong(300)],
    ["location", {}],
    ["location", "two\r\nlines"],
    ["description", "bell \u0007"],
    ["coordinates", "47,8"],
    ["coordinates", [47, 8]],
    ["coordinates", { lat: 47 }, "coordinates.lng"],
    ["coordinates", { lat: 91, lng: 0 }, "coordinates.lat"],
    ["coordinates", { lat: 0, lng: -180.1 }, "coordinates.lng"],
    ["coordinates", { lat: "47", lng: 8 }, "coordinates.lat"],
    ["coordinates", { lat: null, lng: 8 }, "coordinates.lat"],
    ["coordinates", { lat: 47, lng: 8, altitude: 400 }, "coordinates.altitude"],
    ["timeZone", ""],
    ["timeZone", null],
    ["timeZone", "+02:00"],
    ["timeZone", "Europe/Nowhere"],
    ["timeZone", "BST"],
    ["availableEventId", "music"],
    ["availableEventId", newId()],
    ["price", -1],
    ["price", 0.5],
    ["price", "2500"],
    ["price", null],
    ["price", 100_000_001],
    ["price", 2500, "currency"],
    ["currency", "usd"],
    ["currency", "XYZ"],
    ["currency", "EURO"],
    ["tags", "music"],
    ["tags", null],
    ["tags", [""]],
    ["tags", [7]],
    ["tags", ["two\nlines"]],
    ["tags", [tooLong(40)]],
    ["tags", Array.from({ length: 21 }, (_, i) => `tag ${i}`)],
    ["saleStartsAt", "soon"],
    ["saleStartsAt", inDays(8)],
    ["saleEndsAt", 0],
    ["status", "postponed"],
    ["status", "cancelled"],
    ["status", "completed"],
    ["status", null],
  ])("refuses %s: %j", async (field, value, fault = field) => {
    const before = await countEvents();
    const answer = await hanna.tries("POST", "/events", newEvent({ [field]: value }));
    expectRefusal(answer, 422, "VALIDATION_FAILED");
    // A list names the entry at fault: tags[0].
    expect(faultyFields(answer).map((name) => name.replace(/\[\d+\]$/, ""))).toEqual([fault]);
    expect(await countEvents()).toBe(before);
  });

  test("refuses numbers that are too large for JSON's own readers", async () => {
    const body = JSON.stringify(newEvent()).replace('"capacity":10', '"capacity":1e400');
    expectRefusal(await hanna.tries("POST", "/events", body), 422, "VALIDATION_FAILED", [
      "capacity",
    ]);
  });

  test("refuses an end at the very start and a sale that ends when it starts", async () => {
    const moment = inDays(7);
    expectRefusal(
      await hanna.tries(
        "POST",
        "/events",
        newEvent({ startDateTime: moment, endDateTime: moment }),
      ),
      422,
      "VALIDATION_FAILED",
      ["endDateTime"],
    );
    expectRefusal(
      await hanna.tries("POST", "/events", newEvent({ saleStartsAt: moment, saleEndsAt: moment })),
      422,
      "VALIDATION_FAILED",
      ["saleEndsAt"],
    );
  });

  test("names every field at fault at once", async () => {
    const answer = await hanna.tries("POST", "/events", {
      title: "",
      startDateTime: "x",
      capacity: 0,
      price: -1,
      nonsense: 1,
    });
    expectRefusal(answer, 422, "VALIDATION_FAILED", [
      "capacity",
      "endDateTime",
      "nonsense",
      "price",
      "startDateTime",
      "title",
    ]);
  });

  const OF_THE_SYSTEM: [string, unknown][] = [
    ["id", newId()],
    ["hostId", newId()],
    ["host", { id: newId(), name: "Somebody" }],
    ["numberOfAttendees", 0],
    ["availableTickets", 5],
    ["version", 7],
    ["createdAt", inDays(-1)],
    ["updatedAt", inDays(-1)],
    ["deletedAt", inDays(-1)],
    ["attachmentUrl", "https://example.org/flyer.pdf"],
    ["latitude", 1],
    ["host_id", newId()],
    ["number_of_attendees", 0],
    ["search", "x"],
    ["constructor", "x"],
    ["ifMatch", '"1-x"'],
  ];
  test.each(OF_THE_SYSTEM)("refuses to be told %s", async (field, value) => {
    const before = await countEvents();
    const created = await hanna.tries("POST", "/events", newEvent({ [field]: value }));
    expectRefusal(created, 422, "VALIDATION_FAILED", [field]);
    expect(await countEvents()).toBe(before);

    const event = await hanna.createsEvent();
    for (const method of ["PUT", "PATCH"]) {
      const changed = await hanna.tries(method, `/events/${event.id}`, { [field]: value });
      expect(changed.status).toBe(422);
      expect(changed.body.errors).toContainEqual({ field, message: "is not a known field" });
    }
    expect((await api.get(`/events/${event.id}`)).body).toEqual(event);
  });

  test("a prototype in the body is an unknown field like any other", async () => {
    const body = JSON.stringify(newEvent()).replace("{", '{"__proto__":{"status":"draft"},');
    expectRefusal(await hanna.tries("POST", "/events", body), 422, "VALIDATION_FAILED");
  });

  test("is for hosts: 401 for nobody, 403 for attendees and administrators, before any other fault", async () => {
    expectRefusal(await api.request("POST", "/events", { body: {} }), 401, "UNAUTHENTICATED");
    expectRefusal(await alice.tries("POST", "/events", {}), 403, "FORBIDDEN");
    expectRefusal(await admin.tries("POST", "/events", newEvent()), 403, "FORBIDDEN");
  });
});

describe("A draft", () => {
  let draft: Event;
  beforeAll(async () => {
    draft = await hanna.createsEvent({ status: "draft", title: "Secret rehearsal" });
  });
  const idsOf = (answer: { body: { data: Event[] } }) => answer.body.data.map(({ id }) => id);

  test("is one", () => expect(draft.status).toBe("draft"));

  test("shows by its id to its host and to administrators alone", async () => {
    for (const path of [`/events/${draft.id}`, `/events/${draft.id}/calendar.ics`]) {
      expect((await hanna.tries("GET", path)).status).toBe(200);
      expect((await admin.tries("GET", path)).status).toBe(200);
      expectRefusal(await api.get(path), 404, "EVENT_NOT_FOUND");
      expectRefusal(await alice.tries("GET", path), 404, "EVENT_NOT_FOUND");
      expectRefusal(await otherHost.tries("GET", path), 404, "EVENT_NOT_FOUND");
    }
  });

  test.each([
    "/events?status=draft",
    "/events/search?status=draft&q=rehearsal",
    "/events/search?status=draft",
  ])("shows in %s to its host and to administrators alone", async (path) => {
    expect(idsOf(await hanna.tries("GET", path))).toContain(draft.id);
    expect(idsOf(await admin.tries("GET", path))).toContain(draft.id);
    for (const answer of [
      await api.get(path),
      await alice.tries("GET", path),
      await otherHost.tries("GET", path),
    ]) {
      expect(answer.status).toBe(200);
      expect(idsOf(answer)).not.toContain(draft.id);
      expect(answer.body.pagination.total).toBe(0);
    }
  });

  test("is in no list that does not ask for drafts, whatever else it asks for", async () => {
    for (const path of [
      "/events?limit=100",
      `/events?hostId=${hanna.who.id}&limit=100`,
      "/events/search?q=rehearsal",
    ]) {
      expect(idsOf(await hanna.tries("GET", path))).not.toContain(draft.id);
    }
  });

  test("is unknown to whoever has no business with it, also when they try to change it", () =>
    expectUnknownTo(otherHost, draft));

  test("cannot be booked, and says no more than that it is unknown", async () => {
    expectRefusal(await alice.triesToBook(draft), 404, "EVENT_NOT_FOUND");
  });

  test("does not come out when its host gives it up", async () => {
    const given = await hanna.createsEvent({ status: "draft", title: "Never to be heard of" });
    await hanna.tries("POST", `/events/${given.id}/cancel`);
    expectRefusal(await api.get(`/events/${given.id}`), 404, "EVENT_NOT_FOUND");
    expect(idsOf(await api.get(`/events?status=cancelled&hostId=${hanna.who.id}`))).not.toContain(
      given.id,
    );
  });
});

describe("Changing an event", () => {
  test.each(["PUT", "PATCH"])("%s changes what it names and leaves the rest", async (method) => {
    const event = await hanna.createsEvent({ description: "As it was", tags: ["a"] });
    clock.moveTo(clock.inMinutes(1));
    const changed = await hanna.does(200, method, `/events/${event.id}`, { title: "A night" });
    expect(changed).toEqual({
      ...event,
      title: "A night",
      version: 2,
      updatedAt: expect.any(String),
    });
    expect(changed.updatedAt > event.updatedAt).toBe(true);
    expect((await api.get(`/events/${event.id}`)).body).toEqual(changed);
  });

  test.each(["PUT", "PATCH"])("%s of nothing is 422", async (method) => {
    const event = await hanna.createsEvent();
    for (const body of [{}, undefined]) {
      const answer = await hanna.tries(method, `/events/${event.id}`, body);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["body"]);
    }
    for (const body of [[], "null", '"title"', "7"]) {
      const answer = await hanna.tries(method, `/events/${event.id}`, body);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["body"]);
    }
    expect((await api.get(`/events/${event.id}`)).body.version).toBe(1);
  });

  test("every field can be changed, and null clears what may be without", async () => {
    const event = await hanna.createsEvent();
    const fields = {
      title: "Other",
      description: "Other",
      location: "Elsewhere",
      coordinates: { lat: -1.5, lng: 179.9 },
      startDateTime: "2032-01-01T10:00:00.000Z",
      endDateTime: "2032-01-02T10:00:00.000Z",
      timeZone: "Pacific/Auckland",
      capacity: 3,
      availableEventId: await catalogueId(),
      price: 100,
      currency: "NZD",
      tags: ["b", "c"],
      saleStartsAt: "2031-01-01T00:00:00.000Z",
      saleEndsAt: "2031-12-01T00:00:00.000Z",
    };
    const changed = await hanna.does(200, "PATCH", `/events/${event.id}`, fields);
    expect(changed).toMatchObject({ ...fields, availableTickets: 3, version: 2 });
    const cleared = {
      description: null,
      location: null,
      coordinates: null,
      availableEventId: null,
      currency: null,
      saleStartsAt: null,
      saleEndsAt: null,
    };
    const bare = await hanna.does(200, "PATCH", `/events/${event.id}`, {
      ...cleared,
      price: 0,
      tags: [],
    });
    expect(bare).toMatchObject({ ...cleared, price: 0, tags: [], title: "Other", version: 3 });
  });

  test.each(["title", "startDateTime", "endDateTime", "timeZone", "capacity", "price", "tags"])(
    "null does not clear %s",
    async (field) => {
      const event = await hanna.createsEvent();
      const answer = await hanna.tries("PATCH", `/events/${event.id}`, { [field]: null });
      expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    },
  );

  test("what is changed must agree with what stays", async () => {
    const event = await hanna.createsEvent({
      price: 500,
      currency: "EUR",
      saleStartsAt: inDays(1),
      saleEndsAt: inDays(2),
    });
    for (const [change, field] of [
      [{ endDateTime: inDays(6) }, "endDateTime"],
      [{ startDateTime: inDays(8) }, "endDateTime"],
      [{ startDateTime: inDays(-1) }, "startDateTime"],
      [{ currency: null }, "currency"],
      [{ saleStartsAt: inDays(3) }, "saleEndsAt"],
      [{ saleEndsAt: inDays(0.5) }, "saleEndsAt"],
      [{ saleStartsAt: inDays(30), saleEndsAt: null }, "saleStartsAt"],
      [{ availableEventId: newId() }, "availableEventId"],
    ] as const) {
      const answer = await hanna.tries("PATCH", `/events/${event.id}`, change);
      expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    }
    expect((await api.get(`/events/${event.id}`)).body).toEqual(event);
  });

  test("status has endpoints of its own", async () => {
    const event = await hanna.createsEvent();
    for (const status of ["draft", "published", "postponed", "cancelled", "completed"]) {
      const answer = await hanna.tries("PATCH", `/events/${event.id}`, { status });
      expectRefusal(answer, 422, "VALIDATION_FAILED");
    }
  });

  test("an event that has begun can still be changed, its start left alone", async () => {
    const event = await soon();
    clock.moveTo(clock.inMinutes(15));
    const changed = await hanna.does(200, "PATCH", `/events/${event.id}`, {
      location: "Next door",
    });
    expect(changed.location).toBe("Next door");
  });

  test("an event that has begun can be ended early, for good", async () => {
    const event = await soon();
    const path = `/events/${event.id}`;
    const endDateTime = clock.inMinutes(14);
    expectRefusal(
      await hanna.tries("PATCH", path, { endDateTime: inDays(-1) }),
      422,
      "VALIDATION_FAILED",
      ["endDateTime"],
    );
    clock.moveTo(clock.inMinutes(15));
    const ended = await hanna.does(200, "PATCH", path, { endDateTime });
    expect(ended).toMatchObject({ endDateTime, status: "completed", version: 2 });
    const answer = await hanna.tries("PATCH", path, { endDateTime: clock.inMinutes(60) });
    expectRefusal(answer, 409, "INVALID_TRANSITION");
    expect(answer.body.detail).toBe("This event is over and cannot be changed any more.");
  });

  test("is for its host and administrators: 401, 403 by role, 404, 403, in this order", async () => {
    const event = await hanna.createsEvent();
    for (const [method, path, body] of MANAGING) {
      const at = (id: string) => `/events/${id}${path}`;
      const anonymous = await api.request(method, at(event.id), body === undefined ? {} : { body });
      expectRefusal(anonymous, 401, "UNAUTHENTICATED");
      expectRefusal(await alice.tries(method, at(event.id), body), 403, "FORBIDDEN");
      expectRefusal(await alice.tries(method, at(newId()), body), 403, "FORBIDDEN");
      expectRefusal(await otherHost.tries(method, at(newId()), body), 404, "EVENT_NOT_FOUND");
      expectRefusal(await otherHost.tries(method, at("seven"), body), 404, "EVENT_NOT_FOUND");
      expectRefusal(await otherHost.tries(method, at(event.id), body), 403, "FORBIDDEN");
    }
    expect((await api.get(`/events/${event.id}`)).body).toEqual(event);
    const byAdmin = await admin.does(200, "PATCH", `/events/${event.id}`, { title: "Checked" });
    expect(byAdmin).toMatchObject({ title: "Checked", hostId: hanna.who.id });
  });

  test("a fault of the input answers before the event that is not there", async () => {
    const later = { startDateTime: inDays(9), endDateTime: inDays(8) };
    for (const [method, path, body] of [
      ["PATCH", "", { capacity: 0 }],
      ["PATCH", "", later],
      ["PATCH", "", {}],
      ["POST", "/postpone", later],
      ["POST", "/postpone", { startDateTime: "x" }],
      ["POST", "/cancel", { reason: 7 }],
      ["POST", "/publish", { now: true }],
    ] as const) {
      const answer = await hanna.tries(method, `/events/${newId()}${path}`, body);
      expectRefusal(answer, 422, "VALIDATION_FAILED");
    }
  });

  test("an unknown entry of the catalogue is 422 before a stale version or a status is a fault", async () => {
    const event = await hanna.createsEvent();
    const change = { availableEventId: newId() };
    expectRefusal(
      await hanna.tries("PATCH", `/events/${event.id}`, change, { "if-match": '"9-x"' }),
      422,
      "VALIDATION_FAILED",
      ["availableEventId"],
    );
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    expectRefusal(
      await hanna.tries("PATCH", `/events/${event.id}`, change),
      422,
      "VALIDATION_FAILED",
      ["availableEventId"],
    );
  });

  test("the capacity goes down to the seats taken and not below", async () => {
    const event = await hanna.createsEvent({ capacity: 10 });
    await alice.books(event, 4);
    const refused = await hanna.tries("PATCH", `/events/${event.id}`, {
      capacity: 3,
      title: "Small",
    });
    expectRefusal(refused, 409, "CAPACITY_BELOW_SOLD");
    expect((await api.get(`/events/${event.id}`)).body).toMatchObject({
      capacity: 10,
      title: "An evening",
    });
    const changed = await hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 4 });
    expect(changed).toMatchObject({ capacity: 4, numberOfAttendees: 4, availableTickets: 0 });
    const ben = await api.attendee("Ben");
    expectRefusal(await ben.triesToBook(event), 409, "EVENT_SOLD_OUT");
  });
});

describe("Versions and entity tags", () => {
  const tagOf = async (event: { id: string }): Promise<string> =>
    (await api.get(`/events/${event.id}`)).headers.get("etag") ?? "";
  const change = (event: { id: string }, ifMatch: string, method = "PATCH") =>
    hanna.tries(method, `/events/${event.id}`, { title: newId() }, { "if-match": ifMatch });

  test("who has the event already is told so; a booking and a change make it another", async () => {
    const event = await hanna.createsEvent();
    const first = await tagOf(event);
    const same = await api.get(`/events/${event.id}`, { headers: { "if-none-match": first } });
    expect([same.status, same.body]).toEqual([304, undefined]);
    await alice.books(event);
    const afterBooking = await tagOf(event);
    expect(afterBooking).not.toBe(first);
    await hanna.does(200, "PATCH", `/events/${event.id}`, { title: "Changed" });
    expect(await tagOf(event)).not.toBe(afterBooking);
    const other = await api.get(`/events/${event.id}`, { headers: { "if-none-match": first } });
    expect(other.status).toBe(200);
  });

  test.each(["PUT", "PATCH"])(
    "%s with the present tag changes, with a stale one 412",
    async (method) => {
      const event = await hanna.createsEvent();
      const tag = await tagOf(event);
      expect((await change(event, tag, method)).body).toMatchObject({ version: 2 });
      expectRefusal(await change(event, tag, method), 412, "PRECONDITION_FAILED");
      expect((await api.get(`/events/${event.id}`)).body.version).toBe(2);
    },
  );

  test("of two hosts' tabs with the same tag one wins", async () => {
    const event = await hanna.createsEvent();
    const tag = await tagOf(event);
    const answers = await Promise.all(Array.from({ length: 8 }, () => change(event, tag)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(412)]);
    expect((await api.get(`/events/${event.id}`)).body.version).toBe(2);
  });

  test("bookings in between do not lock the host out", async () => {
    const event = await hanna.createsEvent();
    const tag = await tagOf(event);
    const booking = await alice.books(event, 2);
    expect((await change(event, tag)).status).toBe(200);
    const next = await tagOf(event);
    await alice.cancels(booking);
    const deleted = await hanna.tries("DELETE", `/events/${event.id}`, undefined, {
      "if-match": next,
    });
    expect(deleted.status).toBe(204);
  });

  test("the host's own endpoints count as changes", async () => {
    const event = await hanna.createsEvent({ status: "draft" });
    const versions = [];
    for (const path of ["publish", "postpone", "publish", "cancel"]) {
      versions.push((await hanna.does(200, "POST", `/events/${event.id}/${path}`)).version);
    }
    expect(versions).toEqual([2, 3, 4, 5]);
  });

  test("* means any, a list means one of them, weak or strong", async () => {
    const event = await hanna.createsEvent();
    expect((await change(event, "*")).body.version).toBe(2);
    expect((await change(event, '"1-old", W/"2-current"')).body.version).toBe(3);
    expect((await change(event, '"3-whatever"')).body.version).toBe(4);
  });

  test.each([
    '"0-x"',
    "4",
    '"abc"',
    '"1',
    "W/",
    '"-1-x"',
    '"1e0-x"',
    '"999999999999999999999-x"',
    ",",
  ])("garbage matches nothing: %s", async (ifMatch) => {
    const event = await hanna.createsEvent();
    expectRefusal(await change(event, ifMatch), 412, "PRECONDITION_FAILED");
  });

  test("the answer to a change has the tag for the next one, and the version alone will do", async () => {
    const event = await hanna.createsEvent();
    const changed = await change(event, '"1"');
    expect(changed.status).toBe(200);
    const again = await change(event, changed.headers.get("etag") ?? "");
    expect(again.body.version).toBe(3);
  });

  test("a change that changes nothing counts for nothing and tells nobody", async () => {
    const event = await hanna.createsEvent({ capacity: 3, coordinates: { lat: 1, lng: 2 } });
    const anna = await api.attendee("Anna");
    await anna.books(event);
    const same = { title: event.title, coordinates: event.coordinates, tags: event.tags };
    const answer = await hanna.does(200, "PUT", `/events/${event.id}`, same);
    expect(answer.version).toBe(1);
    await hanna.does(200, "PUT", `/events/${event.id}`, { title: "Another" });
    expect(await anna.isTold("event.updated")).toHaveLength(1);
  });

  test("a stale tag protects from removal, too", async () => {
    const event = await hanna.createsEvent();
    const tag = await tagOf(event);
    await hanna.does(200, "PATCH", `/events/${event.id}`, { title: "Changed" });
    const stale = await hanna.tries("DELETE", `/events/${event.id}`, undefined, {
      "if-match": tag,
    });
    expectRefusal(stale, 412, "PRECONDITION_FAILED");
    expect((await api.get(`/events/${event.id}`)).body.status).toBe("published");
  });

  test("403 comes before 412, 422 before 412, 412 before 409", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event, 3);
    const stale = { "if-match": '"7-x"' };
    const path = `/events/${event.id}`;
    expectRefusal(await otherHost.tries("PATCH", path, { title: "x" }, stale), 403, "FORBIDDEN");
    expectRefusal(
      await hanna.tries("PATCH", path, { endDateTime: inDays(1) }, stale),
      422,
      "VALIDATION_FAILED",
    );
    expectRefusal(
      await hanna.tries("PATCH", path, { capacity: 1 }, stale),
      412,
      "PRECONDITION_FAILED",
    );
    expectRefusal(await hanna.tries("PATCH", path, { capacity: 1 }), 409, "CAPACITY_BELOW_SOLD");
  });
});

describe("The lifecycle", () => {
  /** Events in each status, and one that is over by the time at which `tries` looks at it. */
  const made = {
    draft: () => hanna.createsEvent({ status: "draft" }),
    published: () => hanna.createsEvent(),
    postponed: async () => {
      const event = await hanna.createsEvent();
      return hanna.does(200, "POST", `/events/${event.id}/postpone`);
    },
    cancelled: async () => {
      const event = await hanna.createsEvent();
      return hanna.does(200, "POST", `/events/${event.id}/cancel`);
    },
    completed: async () => {
      const event = await soon();
      clock.moveTo(event.endDateTime);
      return (await api.get(`/events/${event.id}`)).body;
    },
  };
  type Status = keyof typeof made;

  test.each<[Status, string, string]>([
    ["draft", "publish", "published"],
    ["published", "postpone", "postponed"],
    ["published", "cancel", "cancelled"],
    ["postponed", "publish", "published"],
    ["postponed", "cancel", "cancelled"],
  ])("%s, %s: %s", async (from, step, to) => {
    const event = await made[from]();
    expect(event.status).toBe(from);
    const after = await hanna.does(200, "POST", `/events/${event.id}/${step}`);
    expect(after).toEqual({
      ...event,
      status: to,
      version: event.version + 1,
      updatedAt: expect.any(String),
    });
    expect((await api.get(`/events/${event.id}`)).body).toEqual(after);
  });

  test.each<[Status, string]>([
    ["draft", "postpone"],
    ["published", "publish"],
    ["postponed", "postpone"],
    ["cancelled", "publish"],
    ["cancelled", "postpone"],
    ["cancelled", "cancel"],
    ["completed", "publish"],
    ["completed", "postpone"],
    ["completed", "cancel"],
  ])("%s, %s: INVALID_TRANSITION", async (from, step) => {
    const event = await made[from]();
    expect(event.status).toBe(from);
    const answer = await hanna.tries("POST", `/events/${event.id}/${step}`);
    expectRefusal(answer, 409, "INVALID_TRANSITION");
    expect(await hanna.does(200, "GET", `/events/${event.id}`)).toEqual(event);
  });

  test("an administrator may take every step, too", async () => {
    const event = await made.draft();
    for (const [step, status] of [
      ["publish", "published"],
      ["postpone", "postponed"],
      ["publish", "published"],
      ["cancel", "cancelled"],
    ] as const) {
      expect((await admin.does(200, "POST", `/events/${event.id}/${step}`)).status).toBe(status);
    }
  });

  test("postponed to new times, or to one of them", async () => {
    const times = { startDateTime: inDays(30), endDateTime: inDays(30.5) };
    const event = await hanna.createsEvent();
    const postponed = await hanna.does(200, "POST", `/events/${event.id}/postpone`, {
      ...times,
      reason: "Snow",
    });
    expect(postponed).toMatchObject({ ...times, status: "postponed" });
    const longer = await hanna.createsEvent();
    const { endDateTime } = times;
    expect(
      await hanna.does(200, "POST", `/events/${longer.id}/postpone`, { endDateTime, reason: null }),
    ).toMatchObject({ startDateTime: longer.startDateTime, endDateTime, status: "postponed" });
  });

  test.each<[string, Record<string, unknown>, string]>([
    ["a start in the past", { startDateTime: inDays(-1) }, "startDateTime"],
    ["a start after the end that stays", { startDateTime: inDays(30) }, "endDateTime"],
    ["an end before the start that stays", { endDateTime: inDays(1) }, "endDateTime"],
    ["no time at all", { startDateTime: null }, "startDateTime"],
    ["a reason that is too long", { reason: "x".repeat(501) }, "reason"],
    ["what it does not know", { title: "Later" }, "title"],
  ])("not postponed to %s", async (_, body, field) => {
    const event = await hanna.createsEvent();
    const answer = await hanna.tries("POST", `/events/${event.id}/postpone`, body);
    expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    expect((await api.get(`/events/${event.id}`)).body).toEqual(event);
  });

  test("a postponed event can be given new times and is then published again", async () => {
    const event = await made.postponed();
    const times = { startDateTime: inDays(60), endDateTime: inDays(61) };
    expect(await hanna.does(200, "PATCH", `/events/${event.id}`, times)).toMatchObject({
      ...times,
      status: "postponed",
    });
    expect(await hanna.does(200, "POST", `/events/${event.id}/publish`)).toMatchObject({
      ...times,
      status: "published",
    });
  });

  test("a postponed event whose old times have gone by is no completed one; it waits for new times", async () => {
    const event = await soon();
    await hanna.does(200, "POST", `/events/${event.id}/postpone`);
    clock.moveTo(clock.inMinutes(30));
    expect((await api.get(`/events/${event.id}`)).body.status).toBe("postponed");
    expectRefusal(
      await hanna.tries("POST", `/events/${event.id}/publish`),
      409,
      "INVALID_TRANSITION",
    );
    await hanna.does(200, "PATCH", `/events/${event.id}`, {
      startDateTime: clock.inMinutes(60),
      endDateTime: clock.inMinutes(90),
    });
    expect((await hanna.does(200, "POST", `/events/${event.id}/publish`)).status).toBe("published");
  });

  test("a draft whose times have gone by cannot be published", async () => {
    const event = await soon({ status: "draft" });
    clock.moveTo(event.endDateTime);
    const answer = await hanna.tries("POST", `/events/${event.id}/publish`);
    expectRefusal(answer, 409, "INVALID_TRANSITION");
    expect(answer.body.detail).toContain("times of this event have passed");
  });

  test("published until it ends, completed from then on, in lists too", async () => {
    const event = await soon({ tags: ["at-the-end"] });
    const listed = async (query: string) =>
      (await api.get(`/events?tag=at-the-end${query}`)).body.data.map(
        ({ status }: Event) => status,
      );
    clock.moveTo(clock.inMinutes(19));
    expect((await api.get(`/events/${event.id}`)).body.status).toBe("published");
    expect(await listed("")).toEqual(["published"]);
    expect(await listed("&status=completed")).toEqual([]);
    clock.moveTo(event.endDateTime);
    const over = (await api.get(`/events/${event.id}`)).body;
    expect(over).toEqual({ ...event, status: "completed" });
    expect(await listed("")).toEqual([]);
    expect(await listed("&status=published")).toEqual([]);
    expect(await listed("&status=completed")).toEqual(["completed"]);
  });

  test.each<Status>(["cancelled", "completed"])(
    "a %s event does not change any more",
    async (status) => {
      const event = await made[status]();
      for (const change of [
        { title: "Better" },
        { startDateTime: inDays(40), endDateTime: inDays(41) },
        { location: null },
        { capacity: 1000 },
      ]) {
        const answer = await hanna.tries("PATCH", `/events/${event.id}`, change);
        expectRefusal(answer, 409, "INVALID_TRANSITION");
      }
      const byAdmin = await admin.tries("PATCH", `/events/${event.id}`, { title: "Better" });
      expectRefusal(byAdmin, 409, "INVALID_TRANSITION");
      expect((await api.get(`/events/${event.id}`)).body).toEqual(event);
    },
  );

  test("cancelling cancels the bookings and frees the seats", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 3);
    const cancelled = await hanna.does(200, "POST", `/events/${event.id}/cancel`, {
      reason: "Rain",
    });
    expect(cancelled).toMatchObject({
      status: "cancelled",
      numberOfAttendees: 0,
      availableTickets: 10,
    });
    const seen = await alice.does(200, "GET", `/bookings/${booking.id}`);
    expect(seen).toMatchObject({ status: "cancelled", event: { status: "cancelled" } });
    expect(seen.tickets.map(({ status }: { status: string }) => status)).toEqual(
      Array(3).fill("cancelled"),
    );
  });

  test("postponing keeps the bookings", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 3);
    await hanna.does(200, "POST", `/events/${event.id}/postpone`, {
      startDateTime: inDays(20),
      endDateTime: inDays(21),
    });
    expect(await alice.does(200, "GET", `/bookings/${booking.id}`)).toMatchObject({
      status: "confirmed",
      event: { status: "postponed" },
    });
    expect((await api.get(`/events/${event.id}`)).body.numberOfAttendees).toBe(3);
  });
});

describe("Removing an event", () => {
  const rowOf = async (event: { id: string }) =>
    (
      await system.database.query("SELECT status, deleted_at FROM events WHERE id = $1", [event.id])
    )[0];

  const expectGone = async (event: { id: string }) => {
    for (const path of ["", "/calendar.ics"]) {
      expectRefusal(await api.get(`/events/${event.id}${path}`), 404, "EVENT_NOT_FOUND");
    }
    for (const person of [hanna, admin]) await expectUnknownTo(person, event);
    expectRefusal(await alice.triesToBook(event), 404, "EVENT_NOT_FOUND");
    for (const query of [
      "",
      "status=cancelled",
      "status=published",
      "status=completed",
      `from=${inDays(-9)}`,
    ]) {
      const { body } = await hanna.tries(
        "GET",
        `/events?hostId=${hanna.who.id}&limit=100&${query}`,
      );
      expect(body.data.map(({ id }: Event) => id)).not.toContain(event.id);
    }
  };

  test("without bookings: nothing is left of it", async () => {
    const event = await hanna.createsEvent();
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await expectGone(event);
    expect(await rowOf(event)).toBeUndefined();
  });

  test("with bookings: they are cancelled and stay readable with a summary", async () => {
    const event = await hanna.createsEvent({ title: "Last waltz", location: "Hall" });
    const booking = await alice.books(event, 2);
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await expectGone(event);
    expect(await rowOf(event)).toEqual({ status: "cancelled", deleted_at: expect.any(Date) });
    const expected = {
      id: booking.id,
      status: "cancelled",
      quantity: 2,
      event: {
        id: event.id,
        title: "Last waltz",
        location: "Hall",
        startDateTime: event.startDateTime,
        endDateTime: event.endDateTime,
        status: "cancelled",
        host: { id: hanna.who.id, name: "Hanna" },
      },
    };
    expect(await alice.does(200, "GET", `/bookings/${booking.id}`)).toMatchObject(expected);
    expect(await hanna.does(200, "GET", `/bookings/${booking.id}`)).toMatchObject(expected);
    const { data } = await alice.does(200, "GET", `/bookings?eventId=${event.id}`);
    expect(data).toEqual([expect.objectContaining({ id: booking.id, status: "cancelled" })]);
    expectRefusal(
      await alice.tries("DELETE", `/bookings/${booking.id}`),
      409,
      "BOOKING_NOT_ACTIVE",
    );
  });

  test("with a booking that its attendee cancelled long ago: still a summary", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event);
    await alice.cancels(booking);
    await admin.does(204, "DELETE", `/events/${event.id}`);
    await expectGone(event);
    const seen = await alice.does(200, "GET", `/bookings/${booking.id}`);
    expect(seen).toMatchObject({ status: "cancelled", event: { title: event.title } });
  });

  test.each(["draft", "postponed", "cancelled", "completed"])(
    "also when it is %s",
    async (status) => {
      const event = await soon(status === "draft" ? { status } : {});
      if (status === "postponed") await hanna.does(200, "POST", `/events/${event.id}/postpone`);
      if (status === "cancelled") await hanna.does(200, "POST", `/events/${event.id}/cancel`);
      if (status === "completed") clock.moveTo(event.endDateTime);
      expect((await hanna.does(200, "GET", `/events/${event.id}`)).status).toBe(status);
      await hanna.does(204, "DELETE", `/events/${event.id}`);
      await expectGone(event);
    },
  );

  test("of those who remove it at once one does it", async () => {
    const event = await hanna.createsEvent();
    await alice.books(event);
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => hanna.tries("DELETE", `/events/${event.id}`)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...Array(5).fill(404)]);
  });
});

describe("One event", () => {
  test("unknown and malformed ids are the event's own 404", async () => {
    for (const id of [newId(), "7", "..%2F..", "%00", "%F0%9F%8E%BB", "' OR 1=1", `${newId()}0`]) {
      for (const path of ["", "/calendar.ics"]) {
        expectRefusal(await api.get(`/events/${encodeURI(id)}${path}`), 404, "EVENT_NOT_FOUND");
      }
    }
  });

  test("an id in capitals is the same id", async () => {
    const event = await hanna.createsEvent();
    expect((await api.get(`/events/${event.id.toUpperCase()}`)).body.id).toBe(event.id);
  });

  test("a bad token is refused though nobody needs one", async () => {
    const event = await hanna.createsEvent();
    expectRefusal(await api.get(`/events/${event.id}`, { token: "x.y.z" }), 401, "UNAUTHENTICATED");
  });
});

describe("The calendar file", () => {
  const fileOf = async (event: { id: string }, person?: Person) => {
    const path = `/events/${event.id}/calendar.ics`;
    const answer = person ? await person.tries("GET", path) : await api.get(path);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/calendar; charset=utf-8");
    return readCalendar(answer.body);
  };

  test("says what the event says", async () => {
    const event = await hanna.createsEvent({
      title: "Open air",
      description: "Bring a coat.",
      location: "Lake stage",
      coordinates: { lat: 47.5, lng: 9.75 },
      startDateTime: "2031-07-01T18:00:00.000Z",
      endDateTime: "2031-07-01T21:15:00.000Z",
      timeZone: "Europe/Vienna",
      tags: ["music", "summer"],
    });
    const file = await fileOf(event);
    expect(file.calendar).toMatchObject({ VERSION: "2.0", METHOD: "PUBLISH" });
    expect(file.event).toMatchObject({
      SUMMARY: "Open air",
      DESCRIPTION: "Bring a coat.",
      LOCATION: "Lake stage",
      GEO: "47.5;9.75",
      DTSTART: "20310701T180000Z",
      DTEND: "20310701T211500Z",
      DTSTAMP: expect.stringMatching(/^\d{8}T\d{6}Z$/),
      CATEGORIES: "music,summer",
      STATUS: "CONFIRMED",
      SEQUENCE: "1",
      UID: expect.stringContaining(event.id),
    });
  });

  test("a change keeps the UID and raises the SEQUENCE, so that calendars take it over", async () => {
    const event = await hanna.createsEvent();
    const first = await fileOf(event);
    await hanna.does(200, "POST", `/events/${event.id}/postpone`);
    const postponed = await fileOf(event);
    expect(postponed.event).toMatchObject({
      UID: first.event.UID,
      SEQUENCE: "2",
      STATUS: "TENTATIVE",
    });
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    expect((await fileOf(event)).event).toMatchObject({ SEQUENCE: "3", STATUS: "CANCELLED" });
  });

  test.each<[string, string]>([
    ["all that RFC 5545 escapes", 'Bread, wine; and \\ a "toast": «cheers»'],
    ["line breaks", "One\nTwo\r\nThree\rFour"],
    ["an injection with CRLF", "Party\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nSUMMARY:Mine"],
    ["an injection with a lone CR", "Party\rATTACH:https://example.org/evil"],
    ["an injection through an escaped break", "Party\\nATTENDEE:mailto:x@example.org"],
    ["other line ends of Unicode", "One\u2028Two\u0085Three\u000bFour"],
    ["control characters", "Bell\u0007 and escape\u001b[31m"],
    ["a text that is folded often", "Überlänge 🎻 ".repeat(15).trim()],
    ["right to left", "مساء الموسيقى \u202eevil"],
  ])("stays one valid event with %s", async (_, hostile) => {
    const event = await hanna.createsEvent();
    // Straight into the row: the API refuses some of these, an import may not have.
    await system.database.query(
      "UPDATE events SET title = $2, description = $2 || $2 || $2, location = $2, tags = ARRAY[$2] WHERE id = $1",
      [event.id, hostile],
    );
    const file = await fileOf(event);
    // Line ends become the one that the format has; other control characters have no place in it.
    const plain = (text: string) =>
      text.replace(/\r\n|[\r\u0085\u2028]/g, "\n").replace(/[^\P{Cc}\n]/gu, "");
    expect(plain(file.event.SUMMARY ?? "")).toBe(plain(hostile));
    expect(plain(file.event.LOCATION ?? "")).toBe(plain(hostile));
    expect(plain(file.event.DESCRIPTION ?? "")).toBe(plain(hostile.repeat(3)));
    expect(Object.keys(file.event)).not.toContain("ATTACH");
    expect(Object.keys(file.event)).not.toContain("ATTENDEE");
  });

  test("a draft's is for its host", async () => {
    const draft = await hanna.createsEvent({ status: "draft" });
    expect((await fileOf(draft, hanna)).event.SUMMARY).toBe(draft.title);
  });
});
