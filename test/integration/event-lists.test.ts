import { type Database, openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { conditionsOf } from "../../services/events/events.filters";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { MovableClock } from "../support/movable-clock";
import { type Answer, Api, type Event, inDays, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
beforeAll(async () => {
  system = await startTestSystem({ clock, environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
});
afterAll(() => system.stop());

type Parameters = Record<string, string | number>;

const queryOf = (parameters: Parameters): string =>
  Object.entries(parameters)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");

const page = async (path: string, parameters: Parameters) => {
  const answer = await api.get(`${path}?${queryOf(parameters)}`);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body as {
    data: Event[];
    pagination: {
      limit: number;
      offset: number;
      total: number;
      totalCapped: boolean;
      nextCursor: string | null;
    };
  };
};
const titlesOf = ({ data }: { data: Event[] }): string[] => data.map(({ title }) => title);
const idsOf = ({ data }: { data: Event[] }): string[] => data.map(({ id }) => id);

describe("Filters", () => {
  let hanna: Person;
  let ids: { music: string; sports: string };
  beforeAll(async () => {
    hanna = await api.host("Hanna");
    const otto = await api.host("Otto");
    const catalogue = await api.get("/available-events?limit=100");
    const entry = (category: string): string =>
      catalogue.body.data.find((found: { category: string }) => found.category === category).id;
    ids = { music: entry("Music"), sports: entry("Sports") };
    const on = (day: number) => ({ startDateTime: inDays(day), endDateTime: inDays(day + 0.5) });

    clock.moveTo(inDays(-9));
    await hanna.createsEvent({ title: "Long over", ...on(-5), tags: ["jazz"] });
    await hanna.createsEvent({
      title: "Has begun",
      startDateTime: inDays(-1),
      endDateTime: inDays(1),
    });
    clock.moveBack();
    await hanna.createsEvent({
      title: "Vienna",
      ...on(1),
      tags: ["Jazz", "open air", "Überraschung"],
      coordinates: { lat: 48.2, lng: 16.37 },
      availableEventId: ids.music,
    });
    await hanna.createsEvent({
      title: "Bratislava",
      ...on(2),
      tags: ["rock"],
      coordinates: { lat: 48.15, lng: 17.11 },
      availableEventId: ids.sports,
      price: 1000,
      currency: "EUR",
    });
    const small = await hanna.createsEvent({
      title: "Sold out",
      ...on(3),
      capacity: 1,
      tags: ["jazz"],
    });
    await (await api.attendee("Alice")).books(small);
    await hanna.createsEvent({ title: "Dear", ...on(4), price: 2500, currency: "EUR" });
    const postponed = await hanna.createsEvent({ title: "Postponed", ...on(5) });
    await hanna.does(200, "POST", `/events/${postponed.id}/postpone`);
    const cancelled = await hanna.createsEvent({ title: "Cancelled", ...on(6) });
    await hanna.does(200, "POST", `/events/${cancelled.id}/cancel`);
    await hanna.createsEvent({ title: "Draft", ...on(7), status: "draft" });
    await otto.createsEvent({
      title: "Otto's",
      ...on(2.5),
      tags: ["jazz"],
      availableEventId: ids.music,
    });
  });

  const mine = (parameters: Parameters) => page("/events", { hostId: hanna.who.id, ...parameters });

  test("of a host: by default what is not over, published or postponed, by its start", async () => {
    expect(titlesOf(await mine({}))).toEqual([
      "Has begun",
      "Vienna",
      "Bratislava",
      "Sold out",
      "Dear",
      "Postponed",
    ]);
  });

  test("of nobody in particular: everybody's", async () => {
    expect(titlesOf(await page("/events", {}))).toContain("Otto's");
    expect(titlesOf(await mine({}))).not.toContain("Otto's");
  });

  const day = (days: number) => inDays(days);
  test.each<[string, () => Parameters, string[]]>([
    [
      "from reaches what is over",
      () => ({ from: day(-6) }),
      ["Long over", "Has begun", "Vienna", "Bratislava", "Sold out", "Dear", "Postponed"],
    ],
    ["from the past to now", () => ({ from: day(-6), to: day(0) }), ["Long over", "Has begun"]],
    ["to alone leaves out what is over", () => ({ to: day(1.5) }), ["Has begun", "Vienna"]],
    ["from and to", () => ({ from: day(1.5), to: day(3.5) }), ["Bratislava", "Sold out"]],
    [
      "status published",
      () => ({ status: "published" }),
      ["Has begun", "Vienna", "Bratislava", "Sold out", "Dear"],
    ],
    ["status postponed", () => ({ status: "postponed" }), ["Postponed"]],
    ["status cancelled", () => ({ status: "cancelled" }), ["Cancelled"]],
    ["status completed", () => ({ status: "completed" }), ["Long over"]],
    ["status draft, for strangers", () => ({ status: "draft" }), []],
    ["status and from", () => ({ status: "completed", from: day(-4) }), []],
    ["tag", () => ({ tag: "jazz" }), ["Vienna", "Sold out"]],
    ["tag without case", () => ({ tag: "jAZZ" }), ["Vienna", "Sold out"]],
    ["tag without case, beyond ASCII", () => ({ tag: "ÜBERRASCHUNG" }), ["Vienna"]],
    ["tag of two words", () => ({ tag: "open air" }), ["Vienna"]],
    ["tag that is only part of one", () => ({ tag: "jaz" }), []],
    ["tag with wildcards", () => ({ tag: "%" }), []],
    ["category", () => ({ category: "Music" }), ["Vienna"]],
    ["category without case", () => ({ category: "spORTS" }), ["Bratislava"]],
    ["category that nobody has", () => ({ category: "M_sic" }), []],
    ["entry of the catalogue", () => ({ availableEventId: ids.music }), ["Vienna"]],
    ["entry in capitals", () => ({ availableEventId: ids.sports.toUpperCase() }), ["Bratislava"]],
    ["entry that nobody knows", () => ({ availableEventId: newId() }), []],
    [
      "available",
      () => ({ available: "true", from: day(0) }),
      ["Vienna", "Bratislava", "Dear", "Postponed"],
    ],
    [
      "available false: no matter",
      () => ({ available: "false", tag: "jazz" }),
      ["Vienna", "Sold out"],
    ],
    ["minPrice, the bound included", () => ({ minPrice: 1000 }), ["Bratislava", "Dear"]],
    [
      "maxPrice, the bound included",
      () => ({ maxPrice: 1000, from: day(0) }),
      ["Vienna", "Bratislava", "Sold out", "Postponed"],
    ],
    ["free ones", () => ({ maxPrice: 0, tag: "jazz" }), ["Vienna", "Sold out"]],
    ["a range of prices", () => ({ minPrice: 1001, maxPrice: 2500 }), ["Dear"]],
    ["one price", () => ({ minPrice: 1000, maxPrice: 1000 }), ["Bratislava"]],
    ["near, 50 km", () => ({ near: "48.2,16.37" }), ["Vienna"]],
    ["near with a radius", () => ({ near: "48.2,16.37", radiusKm: 60 }), ["Vienna", "Bratislava"]],
    ["near, on the very spot", () => ({ near: "48.2,16.37", radiusKm: 0 }), ["Vienna"]],
    [
      "near with the whole earth",
      () => ({ near: "-48.2,-163.63", radiusKm: 20038 }),
      ["Vienna", "Bratislava"],
    ],
    ["words", () => ({ q: "bratislava" }), ["Bratislava"]],
    ["words and tag", () => ({ q: "vienna", tag: "rock" }), []],
    [
      "all at once",
      () => ({
        q: "vien",
        tag: "jazz",
        category: "music",
        availableEventId: ids.music,
        available: "true",
        near: "48.2,16.4",
        radiusKm: 5,
        minPrice: 0,
        maxPrice: 0,
        from: day(0),
        to: day(2),
        status: "published",
      }),
      ["Vienna"],
    ],
    [
      "what it does not know is ignored",
      () => ({ tag: "open air", colour: "red", TAG: "rock", title: "x" }),
      ["Vienna"],
    ],
  ])("%s", async (_, parameters, expected) => {
    const found = await mine(parameters());
    expect(titlesOf(found)).toEqual(expected);
    expect(found.pagination).toEqual({
      limit: 20,
      offset: 0,
      total: expected.length,
      totalCapped: false,
      nextCursor: null,
    });
    const searched = await page("/events/search", { hostId: hanna.who.id, ...parameters() });
    expect(titlesOf(searched).sort()).toEqual([...expected].sort());
  });

  test("from and to include their own moment", async () => {
    const [event] = (await mine({ tag: "open air" })).data;
    const startDateTime = event?.startDateTime ?? "";
    expect(titlesOf(await mine({ from: startDateTime, to: startDateTime }))).toEqual(["Vienna"]);
    const justAfter = new Date(Date.parse(startDateTime) + 1).toISOString();
    expect(titlesOf(await mine({ from: justAfter, to: justAfter }))).toEqual([]);
  });

  test("a host's own drafts show to the host and to administrators where they are asked for", async () => {
    const path = `/events?${queryOf({ hostId: hanna.who.id, status: "draft" })}`;
    const admin = await administrator(api);
    for (const person of [hanna, admin]) {
      expect(titlesOf((await person.tries("GET", path)).body)).toEqual(["Draft"]);
    }
    expect(
      titlesOf((await hanna.tries("GET", `/events?hostId=${hanna.who.id}`)).body),
    ).not.toContain("Draft");
  });

  test.each<[string, string]>([
    ["category=", "category"],
    [`category=${"x".repeat(51)}`, "category"],
    ["hostId=hanna", "hostId"],
    ["hostId=", "hostId"],
    ["from=yesterday", "from"],
    ["from=2031-01-01", "from"],
    ["from=2031-02-30T00:00:00Z", "from"],
    ["to=99999-01-01T00:00:00Z", "to"],
    ["from=2031-01-02T00:00:00Z&to=2031-01-01T00:00:00Z", "to"],
    ["tag=", "tag"],
    ["tag=a&tag=b", "tag"],
    ["tag=%00", "tag"],
    ["status=open", "status"],
    ["status=Published", "status"],
    ["availableEventId=7", "availableEventId"],
    ["available=yes", "available"],
    ["available=1", "available"],
    [`q=${"x".repeat(201)}`, "q"],
    ["q=%00", "q"],
    ["near=48.2", "near"],
    ["near=48.2,16.37,1", "near"],
    ["near=91,0", "near"],
    ["near=0,180.5", "near"],
    ["near=NaN,0", "near"],
    ["near=0x10,0", "near"],
    ["near=1e1,0", "near"],
    ["near=", "near"],
    ["radiusKm=5", "radiusKm"],
    ["near=0,0&radiusKm=-1", "radiusKm"],
    ["near=0,0&radiusKm=Infinity", "radiusKm"],
    ["near=0,0&radiusKm=20039", "radiusKm"],
    ["minPrice=-1", "minPrice"],
    ["minPrice=1.5", "minPrice"],
    ["minPrice=100000001", "minPrice"],
    ["maxPrice=free", "maxPrice"],
    ["minPrice=2&maxPrice=1", "maxPrice"],
  ])("a bad value is 422: %s", async (query, field) => {
    for (const path of ["/events", "/events/search"]) {
      expectRefusal(await api.get(`${path}?${query}`), 422, "VALIDATION_FAILED", [field]);
    }
  });

  test("a list is for everybody but whoever shows a bad token", async () => {
    expectRefusal(await api.get("/events", { token: "bad" }), 401, "UNAUTHENTICATED");
    expectRefusal(await api.get("/events/search", { token: "bad" }), 401, "UNAUTHENTICATED");
  });
});

describe("The index of tags", () => {
  let host: Person;
  let database: Database;
  beforeAll(async () => {
    host = await api.host("Tara");
    database = openDatabase(system.database.url, { connections: 2 });
  });
  afterAll(async () => {
    await database.query("DELETE FROM events WHERE host_id = $hostId", { hostId: host.who.id });
    await database.close();
  });

  test("leads to the few in a large table", async () => {
    await database.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags, status, created_at, updated_at)
       SELECT gen_random_uuid(), $hostId::uuid, 'Tagged', now() + interval '1 day', now() + interval '2 days', 'UTC', 1, 0,
              ARRAY['Common', 'Tag ' || i % 1000], 'published', now(), now()
         FROM generate_series(1, 5000) i`,
      { hostId: host.who.id },
    );
    await database.query("ANALYZE events");
    const plan = async (tag: string) => {
      const { where, bind } = conditionsOf({ tag, from: inDays(0) }, clock.now());
      const lines = await database.query(
        `EXPLAIN SELECT e.id FROM events e WHERE ${where.join(" AND ")}`,
        bind,
      );
      return JSON.stringify(lines);
    };
    expect(await plan("tAG 7")).toContain("events_by_tag");
    // The control: for what every event has it is of no use.
    expect(await plan("common")).not.toContain("events_by_tag");
    expect((await page("/events", { tag: "tag 7" })).pagination.total).toBe(5);
  });

  test("is left alone by a booking, as every other: the event's row changes in place (HOT)", async () => {
    const { id } = await host.createsEvent({ tags: ["Quiet"] });
    const inPlace = (change: string) =>
      database.transaction(async (transaction) => {
        const changedInPlace = async () => {
          const [counted] = await database.query<{ hot: number }>(
            "SELECT n_tup_hot_upd::int AS hot FROM pg_stat_xact_user_tables WHERE relname = 'events'",
            {},
            transaction,
          );
          return counted?.hot ?? 0;
        };
        const before = await changedInPlace();
        await database.query(`UPDATE events SET ${change} WHERE id = $id`, { id }, transaction);
        return (await changedInPlace()) > before;
      });
    expect(await inPlace("number_of_attendees = number_of_attendees + 1")).toBe(true);
    // The control: a change that the index has to follow.
    expect(await inPlace("tags = ARRAY['Loud']")).toBe(false);
  });
});

describe("Places at the edges of the map", () => {
  let host: Person;
  beforeAll(async () => {
    host = await api.host("Finn");
    const places: [string, number, number][] = [
      ["Taveuni, west of the line", -16.8, 179.99],
      ["Taveuni, east of it", -16.8, -179.98],
      ["On the line itself", -16.8, 180],
      ["On the line, by its other name", -16.9, -180],
      ["Suva", -18.14, 178.44],
      ["North pole, this side", 89.95, 10],
      ["North pole, the other side", 89.95, -170],
      ["Null island", 0, 0],
    ];
    for (const [title, lat, lng] of places) {
      await host.createsEvent({ title, coordinates: { lat, lng } });
    }
  });
  const near = async (place: string, radiusKm: number) =>
    titlesOf(await page("/events", { hostId: host.who.id, near: place, radiusKm })).sort();

  test.each(["-16.8,180", "-16.8,-180", "-16.8,179.999", "-16.8,-179.999"])(
    "the date line is no wall: %s",
    async (place) => {
      expect(await near(place, 30)).toEqual([
        "On the line itself",
        "On the line, by its other name",
        "Taveuni, east of it",
        "Taveuni, west of the line",
      ]);
    },
  );

  test("a wider circle over the line", async () => {
    expect(await near("-16.8,-179", 310)).toHaveLength(5);
  });

  test("over the pole to the other side", async () => {
    const both = ["North pole, the other side", "North pole, this side"];
    expect(await near("90,0", 6)).toEqual(both);
    expect(await near("89.95,10", 12)).toEqual(both);
    expect(await near("89.95,10", 10)).toEqual(["North pole, this side"]);
  });

  test("where both degrees are 0", async () => {
    expect(await near("0,0", 1)).toEqual(["Null island"]);
    expect(await near("0,-0", 1)).toEqual(["Null island"]);
  });

  test("the distance is that of the earth, not of degrees", async () => {
    // One degree of longitude at the equator is 111.19 km.
    expect(await near("0,1", 111)).toEqual([]);
    expect(await near("0,1", 111.3)).toEqual(["Null island"]);
  });
});

describe("Search", () => {
  let host: Person;
  const TITLES = [
    "100% vinyl",
    "under_score night",
    "O'Brien's ball",
    'back\\slash "quoted"',
    "rock:roll & soul | funk!",
    "(brackets) <tags> [more]",
    "star*light",
    "Café Ölé",
    "🎉 Fête 🎻",
    "Жар-птица",
    "東京ナイト",
    "Rock/Pop Top-10",
    "Node.js meetup",
    "Jean-Michel Jarre",
    "مساء الموسيقى",
    "Zither recital",
  ];
  beforeAll(async () => {
    host = await api.host("Selma");
    for (const title of TITLES) await host.createsEvent({ title });
  });
  const find = async (q: string) =>
    titlesOf(await page("/events/search", { hostId: host.who.id, q, limit: 100 }));

  test.each(TITLES)("a title finds itself alone: %s", async (title) => {
    expect(await find(title)).toEqual([title]);
  });

  test.each<[string, string[]]>([
    ["cafe ole", ["Café Ölé"]],
    ["CAFÉ", ["Café Ölé"]],
    ["fete", ["🎉 Fête 🎻"]],
    ["zither", ["Zither recital"]],
    ["zith", ["Zither recital"]],
    ["ZITH", ["Zither recital"]],
    ["recital zither", ["Zither recital"]],
    ["recital zi", ["Zither recital"]],
    ["rec zither", []],
    ["ither", []],
    ["zither vinyl", []],
    ["pop", ["Rock/Pop Top-10"]],
    ["10", ["100% vinyl", "Rock/Pop Top-10"]],
    ["node", ["Node.js meetup"]],
    ["js", ["Node.js meetup"]],
    ["jean-mich", ["Jean-Michel Jarre"]],
    ["michel", ["Jean-Michel Jarre"]],
    ["o'brien", ["O'Brien's ball"]],
    ["птица", ["Жар-птица"]],
    ["東京", ["東京ナイト"]],
  ])(
    "by words without case and accents, the last one perhaps unfinished: %s",
    async (q, expected) => {
      expect((await find(q)).sort()).toEqual(expected);
    },
  );

  test.each([..."%_*':&|!()-\\\"🎷", ":*", "''", "\\'", "( | )", "<->", "&&&", ";--"])(
    "marks alone are no wildcard: %s",
    async (q) => {
      expect(await find(q)).toEqual([]);
    },
  );

  test.each([
    "zither & !recital",
    "zither | vinyl",
    "!zither",
    "zither:*A",
    "'zither' <-> 'recital'",
    "zither'; DROP TABLE events; --",
    "zither\\",
    "zither' OR '1'='1",
    "$zither",
    "$q",
    ":A",
    "<2>",
    "zither \u202e lru \u{1F1E6}\u{1F1F9}",
    "a".repeat(200),
    "é".repeat(200),
    "a b ".repeat(50),
    "' ".repeat(100),
  ])("hostile words are words: %s", async (q) => {
    for (const path of ["/events", "/events/search"]) {
      const { data } = await page(path, { q, hostId: host.who.id });
      // An operator would find more than one event, or all.
      expect(data.length).toBeLessThanOrEqual(1);
    }
    expect(await find("zither")).toEqual(["Zither recital"]);
  });

  test("without words, or with white space: everything by its start", async () => {
    const { data } = await page("/events/search", { hostId: host.who.id, limit: 100 });
    expect(data).toHaveLength(TITLES.length);
    expect(await find("   ")).toEqual(titlesOf({ data }));
    const { data: listed } = await page("/events", { hostId: host.who.id, limit: 100, q: "" });
    expect(listed).toEqual(data);
  });

  test("best match first: title, tags, place, description; and page after page", async () => {
    const rita = await api.host("Rita");
    const word = "quodlibet";
    const made = await Promise.all([
      rita.createsEvent({ title: "By description", description: `A ${word}` }),
      rita.createsEvent({ title: "By place", location: `${word} hall` }),
      rita.createsEvent({ title: "By tag", tags: [word] }),
      rita.createsEvent({ title: `The ${word}` }),
      rita.createsEvent({ title: "Something else" }),
    ]);
    expect(made).toHaveLength(5);
    const ranked = [`The ${word}`, "By tag", "By place", "By description"];
    expect(titlesOf(await page("/events/search", { q: word }))).toEqual(ranked);
    expect(titlesOf(await page("/events/search", { q: word, sort: "relevance" }))).toEqual(ranked);
    expect(titlesOf(await page("/events/search", { q: word, order: "asc" }))).toEqual(
      [...ranked].reverse(),
    );
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const parameters: Parameters = {
        q: word,
        limit: 1,
        ...(cursor ? { cursor } : {}),
      };
      const found = await page("/events/search", parameters);
      seen.push(...titlesOf(found));
      cursor = found.pagination.nextCursor;
    } while (cursor);
    expect(seen).toEqual(ranked);
  });

  test("what has changed is found by its new words", async () => {
    const event = await host.createsEvent({ title: "Chrysalis" });
    await host.does(200, "PATCH", `/events/${event.id}`, { title: "Butterfly" });
    expect(await find("chrysalis")).toEqual([]);
    expect(await find("butterfly")).toEqual(["Butterfly"]);
    await host.does(204, "DELETE", `/events/${event.id}`);
    expect(await find("butterfly")).toEqual([]);
  });

  test("has an order of its own and no other", async () => {
    expectRefusal(await api.get("/events/search?sort=title"), 422, "VALIDATION_FAILED", ["sort"]);
    expectRefusal(await api.get("/events?sort=relevance"), 422, "VALIDATION_FAILED", ["sort"]);
  });
});

describe("Sorting", () => {
  let host: Person;
  let events: Event[];
  beforeAll(async () => {
    host = await api.host("Sora");
    // Every value twice or more, so that the id has to break ties.
    const rows = ["b", "A", "c", "B", "a", "C", "b", "a"];
    events = [];
    for (const [i, title] of rows.entries()) {
      const start = inDays(10 + (i % 3));
      events.push(
        await host.createsEvent({
          title,
          startDateTime: start.replace(/T.*/, "T10:00:00.000Z"),
          endDateTime: start.replace(/T.*/, "T12:00:00.000Z"),
          price: (i % 2) * 100,
          currency: "EUR",
        }),
      );
    }
  });

  const KEYS: Record<string, (event: Event) => string | number> = {
    startDateTime: (event) => event.startDateTime,
    date: (event) => event.startDateTime,
    createdAt: (event) => event.createdAt,
    title: (event) => event.title.toLowerCase(),
    price: (event) => event.price,
  };
  const compare = <T extends string | number>(a: T, b: T) => (a < b ? -1 : a > b ? 1 : 0);

  test.each(
    Object.keys(KEYS).flatMap((sort) => ["asc", "desc"].map((order) => [sort, order] as const)),
  )("%s %s, ties by id, also page after page", async (sort, order) => {
    const key = KEYS[sort] ?? (() => "");
    const sign = order === "asc" ? 1 : -1;
    const expected = [...events]
      .sort((a, b) => sign * (compare(key(a), key(b)) || compare(a.id, b.id)))
      .map(({ id }) => id);
    const parameters = { hostId: host.who.id, sort, order };
    expect(idsOf(await page("/events", parameters))).toEqual(expected);
    const walked: string[] = [];
    let cursor: string | null = null;
    do {
      const next: Parameters = cursor
        ? { ...parameters, cursor, limit: 3 }
        : { ...parameters, limit: 3 };
      const found = await page("/events", next);
      walked.push(...idsOf(found));
      cursor = found.pagination.nextCursor;
    } while (cursor);
    expect(walked).toEqual(expected);
  });

  test("by start and ascending unless told", async () => {
    const { data } = await page("/events", { hostId: host.who.id });
    expect(data).toEqual(
      (await page("/events", { hostId: host.who.id, sort: "startDateTime", order: "asc" })).data,
    );
  });

  test.each<[string, string]>([
    ["sort=id", "sort"],
    ["sort=hostId", "sort"],
    ["sort=constructor", "sort"],
    ["sort=title;drop", "sort"],
    ["sort=", "sort"],
    ["order=up", "order"],
    ["order=DESC", "order"],
  ])("nothing else: %s", async (query, field) => {
    expectRefusal(await api.get(`/events?${query}`), 422, "VALIDATION_FAILED", [field]);
  });
});

describe("Pages", () => {
  /** Walks all pages; something may happen between two of them. */
  const walk = async (
    parameters: Parameters,
    between: (seen: string[]) => Promise<unknown> = async () => {},
  ): Promise<string[]> => {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const next: Parameters = cursor ? { ...parameters, cursor } : parameters;
      const found = await page("/events", next);
      expect(found.pagination.offset).toBe(seen.length);
      seen.push(...idsOf(found));
      cursor = found.pagination.nextCursor;
      if (cursor) await between(seen);
    } while (cursor);
    return seen;
  };

  const madeBy = async (host: Person, count: number): Promise<Event[]> => {
    const made: Event[] = [];
    for (let i = 0; i < count; i++) {
      made.push(
        await host.createsEvent({
          title: `Event ${String.fromCharCode(97 + ((i * 7) % 26))}`,
          startDateTime: inDays(10 + ((i * 5) % count)),
          endDateTime: inDays(100),
          price: (i % 4) * 100,
          currency: "EUR",
        }),
      );
    }
    return made;
  };

  const ORDERS = ["startDateTime", "createdAt", "title", "price"].flatMap((sort) =>
    ["asc", "desc"].map((order): [string, string] => [sort, order]),
  );

  test.each(ORDERS)(
    "by %s %s: no duplicate and no gap while events come in",
    async (sort, order) => {
      const host = await api.host("Ines");
      const before = (await madeBy(host, 13)).map(({ id }) => id);
      // Before, between and behind whatever was seen so far.
      const comesIn = () =>
        Promise.all(
          [5, 15, 99].map((day, i) =>
            host.createsEvent({
              title: ["AA", "Event m", "zz"][i],
              startDateTime: inDays(day),
              endDateTime: inDays(100),
              price: [0, 150, 9999][i],
              currency: "EUR",
            }),
          ),
        );
      const seen = await walk({ hostId: host.who.id, sort, order, limit: 4 }, async (ids) => {
        if (ids.length < 12) await comesIn();
      });
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen.filter((id) => before.includes(id)).sort()).toEqual([...before].sort());
    },
  );

  test.each(ORDERS)("by %s %s: no duplicate and no gap while events go", async (sort, order) => {
    const host = await api.host("Dora");
    const before = (await madeBy(host, 16)).map(({ id }) => id);
    const gone: string[] = [];
    const seen = await walk({ hostId: host.who.id, sort, order, limit: 4 }, async (ids) => {
      // The very one that the cursor names, one seen long ago, and one still to come.
      const toCome = before.filter((id) => !ids.includes(id) && !gone.includes(id));
      const going = [ids.at(-1), ids[0], toCome[0]].filter(
        (id) => id !== undefined && !gone.includes(id),
      );
      for (const id of going) {
        await host.does(204, "DELETE", `/events/${id}`);
        if (id) gone.push(id);
      }
    });
    expect(gone.length).toBeGreaterThan(3);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(before.filter((id) => !gone.includes(id))));
  });

  test("by offset, up to and beyond the end", async () => {
    const host = await api.host("Olga");
    await madeBy(host, 5);
    const all = idsOf(await page("/events", { hostId: host.who.id }));
    const at = (offset: number) => page("/events", { hostId: host.who.id, limit: 2, offset });
    for (const offset of [0, 1, 3, 4]) {
      const found = await at(offset);
      expect(idsOf(found)).toEqual(all.slice(offset, offset + 2));
      expect(found.pagination).toMatchObject({ limit: 2, offset, total: 5, totalCapped: false });
    }
    expect(await at(5)).toMatchObject({ data: [], pagination: { total: 5, nextCursor: null } });
    expect((await at(100_000)).data).toEqual([]);
    // A page by offset leads on by cursor.
    const { pagination } = await at(1);
    const next = await page("/events", {
      hostId: host.who.id,
      limit: 2,
      cursor: pagination.nextCursor ?? "",
    });
    expect(idsOf(next)).toEqual(all.slice(3, 5));
    expect(next.pagination).toMatchObject({ offset: 3, nextCursor: null });
  });

  test("the last page has no cursor, also when it is full", async () => {
    const host = await api.host("Lea");
    await madeBy(host, 4);
    const first = await page("/events", { hostId: host.who.id, limit: 2 });
    const second = await page("/events", {
      hostId: host.who.id,
      limit: 2,
      cursor: first.pagination.nextCursor ?? "",
    });
    expect(second.data).toHaveLength(2);
    expect(second.pagination.nextCursor).toBeNull();
    expect((await page("/events", { hostId: newId() })).pagination).toEqual({
      limit: 20,
      offset: 0,
      total: 0,
      totalCapped: false,
      nextCursor: null,
    });
  });

  test("a cursor keeps its sort and order, and refuses another", async () => {
    const host = await api.host("Kim");
    await madeBy(host, 4);
    const parameters = { hostId: host.who.id, sort: "title", order: "desc", limit: 2 };
    const all = idsOf(await page("/events", { ...parameters, limit: 4 }));
    const cursor = (await page("/events", parameters)).pagination.nextCursor ?? "";
    expect(idsOf(await page("/events", { hostId: host.who.id, limit: 2, cursor }))).toEqual(
      all.slice(2),
    );
    for (const other of ["sort=price", "order=asc", "offset=2"]) {
      const answer = await api.get(`/events?hostId=${host.who.id}&cursor=${cursor}&${other}`);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["cursor"]);
      expect(answer.body.errors[0].message).not.toContain("filters");
    }
  });

  test("a cursor goes with its filters, and refuses others", async () => {
    const host = await api.host("Fritz");
    await madeBy(host, 3);
    const mine = { hostId: host.who.id, from: inDays(0), minPrice: 0 };
    const cursor = (await page("/events", { ...mine, limit: 2 })).pagination.nextCursor ?? "";
    expect((await page("/events", { ...mine, cursor })).data).toHaveLength(1);
    const { hostId: _none, ...everybodys } = mine;
    for (const other of [
      everybodys,
      { ...mine, hostId: newId() },
      { ...mine, minPrice: 1 },
      { ...mine, tag: "a" },
      {},
    ]) {
      const answer = await api.get(`/events?${queryOf({ ...other, cursor })}`);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["cursor"]);
      expect(answer.body.errors[0].message).toBe("belongs to other filters");
    }
  });

  test.each(["0", "-1", "101", "1.5", "x", "", "1e1", "0x10", "999999999999999999999"])(
    "no limit of %s",
    async (limit) => {
      expectRefusal(await api.get(`/events?limit=${limit}`), 422, "VALIDATION_FAILED", ["limit"]);
    },
  );
  test.each(["-1", "1.5", "x", "", "999999999999999999999"])("no offset of %s", async (offset) => {
    expectRefusal(await api.get(`/events?offset=${offset}`), 422, "VALIDATION_FAILED", ["offset"]);
  });
  test.each([1, 100])("a limit of %i", async (limit) => {
    const { data, pagination } = await page("/events", { limit });
    expect(pagination.limit).toBe(limit);
    expect(data.length).toBe(Math.min(limit, pagination.total));
  });
});

describe("Cursors that nobody gave out", () => {
  const id = newId();
  /** A cursor of these parts that goes with these filters. */
  const forged = async (parts: unknown[], filters: Parameters = {}) => {
    const { pagination } = await page("/events", { ...filters, limit: 1 });
    const given = Buffer.from(pagination.nextCursor ?? "", "base64url").toString();
    const whole = [...parts, JSON.parse(given).at(-1)];
    return Buffer.from(JSON.stringify(whole)).toString("base64url");
  };

  test("one that is well made is accepted, so that the next ones are refused for their fault alone", async () => {
    await page("/events", { cursor: await forged([1, "title", "asc", "a", id, 1]) });
  });

  test.each<[string, string | unknown[]]>([
    ["nothing", ""],
    ["a word", "next"],
    ["JSON of something else", Buffer.from('{"a":1}').toString("base64url")],
    ["null", Buffer.from("null").toString("base64url")],
    ["too few parts", [1, "title", "asc"]],
    ["another version", [2, "title", "asc", "a", id, 1]],
    ["a sort that the list lacks", [1, "host_id", "asc", "a", id, 1]],
    ["a sort of every object", [1, "constructor", "asc", "a", id, 1]],
    ["SQL as a sort", [1, "e.id; DROP TABLE events", "asc", "a", id, 1]],
    ["SQL as an order", [1, "title", "asc; DROP TABLE events", "a", id, 1]],
    ["no order", [1, "title", null, "a", id, 1]],
    ["a key that is no text", [1, "title", "asc", 7, id, 1]],
    ["a key with a NUL byte", [1, "title", "asc", "a\u0000", id, 1]],
    ["a key with half a pair", [1, "title", "asc", "\ud800", id, 1]],
    ["a number that is none", [1, "price", "asc", "1e3", id, 1]],
    ["a number beyond the column", [1, "price", "asc", "9".repeat(40), id, 1]],
    ["a time that is none", [1, "startDateTime", "asc", "2031-01-01", id, 1]],
    ["a time beyond the calendar", [1, "startDateTime", "asc", "9".repeat(18), id, 1]],
    ["a time before the calendar", [1, "startDateTime", "asc", "-253402300799999", id, 1]],
    ["an id that is none", [1, "title", "asc", "a", "7", 1]],
    ["rows before it that are fewer than none", [1, "title", "asc", "a", id, -1]],
    ["half a row before it", [1, "title", "asc", "a", id, 0.5]],
    ["more characters than any has", "x".repeat(2001)],
  ])("%s: 422", async (_, made) => {
    const cursor = typeof made === "string" ? made : await forged(made);
    const answer = await api.get(`/events?${queryOf({ cursor })}`);
    expectRefusal(answer, 422, "VALIDATION_FAILED", ["cursor"]);
  });

  test("one of another list is refused", async () => {
    const catalogue = await api.get("/available-events?limit=1");
    const ofCatalogue: string = catalogue.body.pagination.nextCursor;
    expectRefusal(await api.get(`/events?cursor=${ofCatalogue}`), 422, "VALIDATION_FAILED", [
      "cursor",
    ]);
    const host = await api.host("Cora");
    for (let i = 0; i < 2; i++) await host.createsEvent({ title: "Kaleidoscope" });
    const search = await api.get("/events/search?q=kaleidoscope&limit=1");
    const ofSearch: string = search.body.pagination.nextCursor;
    expectRefusal(await api.get(`/events?cursor=${ofSearch}`), 422, "VALIDATION_FAILED", [
      "cursor",
    ]);
    const ofEvents =
      (await page("/events", { limit: 1, sort: "price" })).pagination.nextCursor ?? "";
    for (const path of ["/available-events?", "/events/search?q=kaleidoscope&"]) {
      expectRefusal(await api.get(`${path}cursor=${ofEvents}`), 422, "VALIDATION_FAILED", [
        "cursor",
      ]);
    }
  });

  test("one that is well made shows no more than its list does", async () => {
    const host = await api.host("Cleo");
    await host.createsEvent({ status: "draft", title: "Hidden" });
    const shown = [
      await host.createsEvent({ title: "Shown" }),
      await host.createsEvent({ title: "Shown, too" }),
    ];
    const mine = { hostId: host.who.id };
    const nowhere = "00000000-0000-0000-0000-000000000000";
    const cursor = await forged([1, "title", "asc", "", nowhere, 0], mine);
    const found = await page("/events", { ...mine, cursor });
    expect(idsOf(found)).toEqual(shown.map((event) => event.id));
  });
});

describe("Caching", () => {
  test("a list has an entity tag that changes with what it shows", async () => {
    const host = await api.host("Enzo");
    const path = `/events?hostId=${host.who.id}`;
    const tag = ({ headers }: Answer) => headers.get("etag");
    const first = tag(await api.get(path));
    expect(first).toMatch(/^W\/"/);
    expect(tag(await api.get(path))).toBe(first);
    const event = await host.createsEvent();
    const second = tag(await api.get(path));
    expect(second).not.toBe(first);
    await (await api.attendee("Alice")).books(event);
    expect(tag(await api.get(path))).not.toBe(second);
  });
});
