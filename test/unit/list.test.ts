import fc from "fast-check";
import { type Database, openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest, type ListSource } from "../../lib/list";
import { anyText } from "../support/any-text";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { faultsOf } from "../support/guarded";

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase(testDatabase.url, { connections: 3 });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

/** The catalogue, which every test database has, by one sort of each kind. */
const CATALOGUE: ListSource = {
  select: "c.id, c.name",
  table: "available_events c",
  where: [],
  bind: {},
  id: "c.id",
  sorts: {
    name: { sql: "lower(c.name)", kind: "text" },
    createdAt: { sql: "c.created_at", kind: "instant" },
    capacity: { sql: "c.default_capacity", kind: "integer" },
  },
  defaultSort: "createdAt",
  defaultOrder: "desc",
};

interface Entry {
  id: string;
  name: string;
}
const page = (request: Partial<ListRequest> = {}) =>
  fetchPage<Entry>(database, CATALOGUE, { limit: 20, ...request });

/** The names on all pages, one after the other by cursor. */
async function walk(request: ListRequest): Promise<string[]> {
  const names: string[] = [];
  let cursor: string | null = null;
  do {
    const { rows, pagination }: Awaited<ReturnType<typeof page>> = await page({
      ...request,
      ...(cursor === null ? {} : { cursor }),
    });
    expect(pagination.offset).toBe(names.length);
    names.push(...rows.map(({ name }) => name));
    cursor = pagination.nextCursor;
  } while (cursor !== null);
  return names;
}

const SORTS = Object.keys(CATALOGUE.sorts);
const ORDERS = ["asc", "desc"] as const;

describe("Pages", () => {
  test.each(SORTS.flatMap((sort) => ORDERS.map((order) => [sort, order] as const)))(
    "by %s %s, joined, are the whole list, whatever their size",
    async (sort, order) => {
      const whole = (await page({ limit: 100, sort, order })).rows.map(({ name }) => name);
      expect(whole.length).toBeGreaterThan(10);
      for (const limit of [1, 3, 7, whole.length - 1, whole.length, 100]) {
        expect(await walk({ limit, sort, order })).toEqual(whole);
      }
      const byOffset = await page({ limit: 3, offset: 4, sort, order });
      expect(byOffset.rows.map(({ name }) => name)).toEqual(whole.slice(4, 7));
    },
  );

  test("follow the list's own order unless told; another sort ascends", async () => {
    expect(await walk({ limit: 100 })).toEqual(
      await walk({ limit: 100, sort: "createdAt", order: "desc" }),
    );
    expect(await walk({ limit: 100, sort: "name" })).toEqual(
      await walk({ limit: 100, sort: "name", order: "asc" }),
    );
  });

  test("say how many rows there are, and where the last one is", async () => {
    const all = (await page({ limit: 100 })).rows.length;
    expect((await page({ limit: 5, offset: 10 })).pagination).toEqual({
      limit: 5,
      offset: 10,
      total: all,
      totalCapped: false,
      nextCursor: expect.any(String),
    });
    expect((await page({ limit: 5, offset: 1000 })).pagination).toEqual({
      limit: 5,
      offset: 1000,
      total: all,
      totalCapped: false,
      nextCursor: null,
    });
  });

  test("keep their order for a cursor that says none, and refuse it under another", async () => {
    const request = { limit: 3, sort: "name", order: "desc" } as const;
    const first = await page(request);
    const cursor = String(first.pagination.nextCursor);
    const second = (await page({ limit: 3, cursor })).rows;
    expect(second).toEqual((await page({ ...request, cursor, offset: 0 })).rows);
    for (const other of [{ sort: "capacity" }, { order: "asc" }, { offset: 3 }] as const) {
      const refusal = page({ ...request, cursor, ...other });
      await expect(refusal.catch(faultsOf)).resolves.toMatchObject([{ field: "cursor" }]);
    }
  });
});

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** What a cursor of the whole catalogue says of the filters: its last part. */
let ofNoFilter: unknown;
beforeAll(async () => {
  const { pagination } = await page({ limit: 1 });
  const parts = JSON.parse(Buffer.from(String(pagination.nextCursor), "base64url").toString());
  ofNoFilter = parts.at(-1);
});

describe("A cursor under other filters", () => {
  const filtered = (category: string, request: Partial<ListRequest> & { now?: Date } = {}) => {
    const { now = new Date(), ...rest } = request;
    const source = {
      ...CATALOGUE,
      where: ["c.category = $category", "c.created_at <= $now"],
      bind: { category, now },
    };
    return fetchPage<Entry>(database, source, { limit: 1, ...rest });
  };
  const cursorOf = async (work: ReturnType<typeof filtered>) =>
    String((await work).pagination.nextCursor);
  const cursorFaults = (work: Promise<unknown>) => work.catch(faultsOf);
  const refusal = [{ field: "cursor", message: "belongs to other filters" }];

  test("of another value, of none, or of some where there were none is refused", async () => {
    const ofMusic = await cursorOf(filtered("Music"));
    expect(await cursorFaults(filtered("Business", { cursor: ofMusic }))).toEqual(refusal);
    expect(await cursorFaults(page({ cursor: ofMusic }))).toEqual(refusal);
    const ofAll = String((await page({ limit: 1 })).pagination.nextCursor);
    expect(await cursorFaults(filtered("Music", { cursor: ofAll }))).toEqual(refusal);
  });

  test("of another table is refused, whatever the names of its sorts", async () => {
    const other = { ...CATALOGUE, table: "(SELECT * FROM available_events) c" };
    const cursor = String((await page({ limit: 1 })).pagination.nextCursor);
    expect(await cursorFaults(fetchPage(database, other, { limit: 1, cursor }))).toEqual(refusal);
  });

  test("is none where only time has passed", async () => {
    const [first, later] = [new Date(), new Date(Date.now() + 60_000)];
    const cursor = await cursorOf(filtered("Music", { now: first }));
    const { rows } = await filtered("Music", { cursor, now: later });
    expect(rows).toEqual((await filtered("Music", { offset: 1 })).rows);
    expect(rows).toHaveLength(1);
  });
});

describe("A cursor that is none of ours is a fault of the field cursor", () => {
  const id = newId();
  const sound = () => [1, "name", "asc", "tea", id, 3, ofNoFilter];
  const changed = (index: number, value: unknown) => () =>
    encoded(sound().map((part, i) => (i === index ? value : part)));
  const keyed = (sort: string, key: string) => () =>
    encoded([1, sort, "asc", key, id, 3, ofNoFilter]);

  test("the sound one that the others are made from is accepted", async () => {
    await expect(page({ cursor: encoded(sound()) })).resolves.toBeDefined();
  });

  test.each<[string, () => string]>([
    ["no base64", () => "%%%"],
    ["no JSON", () => Buffer.from("not json").toString("base64url")],
    ["empty JSON", () => Buffer.from("").toString("base64url")],
    ["bytes that are no text", () => Buffer.from([0xff, 0xfe, 0x00]).toString("base64url")],
    ["null", () => encoded(null)],
    ["a number", () => encoded(1)],
    ["a text", () => encoded("cursor")],
    ["an object", () => encoded({ 0: 1, 1: "name" })],
    ["an empty list", () => encoded([])],
    ["half of one", () => encoded(sound().slice(0, 4))],
    ["another version", changed(0, 2)],
    ["a version that is text", changed(0, "1")],
    ["a sort that the list has not", changed(1, "price")],
    ["a sort that every object has", changed(1, "constructor")],
    ["a sort that is none", changed(1, null)],
    ["a sort that is a list of one", changed(1, ["name"])],
    ["another order", changed(2, "ASC")],
    ["an order that is SQL", changed(2, "asc; DROP TABLE users")],
    ["a key that is a number", changed(3, 5)],
    ["a key that is null", changed(3, null)],
    ["a key with a NUL", changed(3, "te\u0000a")],
    ["a key with half a surrogate pair", changed(3, "\ud800")],
    ["an id that is none", changed(4, "42")],
    ["an id that is SQL", changed(4, `${id}' OR 1=1`)],
    ["an id that is a list", changed(4, [id])],
    ["rows before that are text", changed(5, "3")],
    ["rows before that are negative", changed(5, -1)],
    ["rows before that are no whole number", changed(5, 0.5)],
    ["more rows before than can be counted", changed(5, 2 ** 60)],
    ["filters that are a number", changed(6, 7)],
    ["filters that are missing", () => encoded(sound().slice(0, 6))],
    ["an instant that is a date", keyed("createdAt", "2030-01-01")],
    ["an instant that is empty", keyed("createdAt", "")],
    ["an instant beyond the year 9999", keyed("createdAt", "253402300800000")],
    ["an instant before 1970", keyed("createdAt", "-1")],
    ["an instant before Christ", keyed("createdAt", "-100000000000000")],
    ["an integer with a fraction", keyed("capacity", "1.5")],
    ["an integer with an exponent", keyed("capacity", "1e3")],
    ["an integer of 19 digits", keyed("capacity", "9".repeat(19))],
    ["an integer that is SQL", keyed("capacity", "1); DROP TABLE users")],
  ])("%s", async (_what, cursor) => {
    await expect(page({ cursor: cursor() }).catch(faultsOf)).resolves.toMatchObject([
      { field: "cursor" },
    ]);
  });
});

test("Whatever a forged cursor says, it is a page of the list or a fault of the field cursor", async () => {
  const part = fc.oneof(
    fc.constantFrom<unknown>(0, 1, 2, -1, null, true, "", "asc", "desc", ...SORTS),
    fc.integer(),
    fc.double(),
    fc.bigInt({ min: -(10n ** 19n), max: 10n ** 19n }).map(String),
    anyText({ maxLength: 30 }),
    fc.uuid(),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const plausible = fc.tuple(
    fc.constantFrom(1, 1, 1, 2),
    fc.constantFrom(...SORTS),
    fc.constantFrom(...ORDERS),
    fc.oneof(
      fc.bigInt({ min: -(10n ** 19n), max: 10n ** 19n }).map(String),
      fc.integer({ min: -(10 ** 12), max: 10 ** 12 }).map(String),
      anyText({ maxLength: 30 }),
    ),
    fc.uuid(),
    fc.oneof(fc.nat(), fc.maxSafeInteger(), fc.double()),
    fc.constant(ofNoFilter),
  );
  const forged = fc.oneof(
    fc.string({ maxLength: 100 }),
    fc.base64String({ maxLength: 100 }),
    fc.array(part, { maxLength: 7 }).map(encoded),
    plausible.map(encoded),
    fc
      .tuple(plausible, fc.nat({ max: 6 }), part)
      .map(([parts, at, value]) => encoded(parts.map((old, i) => (i === at ? value : old)))),
  );
  await fc.assert(
    fc.asyncProperty(forged, async (cursor) => {
      const outcome = await page({ cursor }).catch(faultsOf);
      if (Array.isArray(outcome)) expect(outcome).toMatchObject([{ field: "cursor" }]);
      else expect(outcome.rows.length).toBeLessThanOrEqual(20);
    }),
    { numRuns: 500 },
  );
});
