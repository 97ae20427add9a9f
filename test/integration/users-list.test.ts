import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { Api, type Person } from "../support/people";
import { expectProblem, faultyFields } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";

interface Listed {
  id: string;
  name: string;
  username: string | null;
  role: string;
  createdAt: string;
}

let system: TestSystem;
let api: Api;
let admin: Person;
let alice: Person;
const hosts: Person[] = [];
beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  admin = await administrator(api);
  alice = await api.attendee("Alice");
  for (const name of ["Zara", "Ärmel", "bob", "100% Fun", "snake_case", "back\\slash", "Émile"]) {
    hosts.push(await api.host(name));
  }
  await api.attendee("Bobby");
  await hosts[0]?.does(200, "PATCH", "/users/me", { username: "the_boss" });
});
afterAll(() => system.stop());

const list = async (viewer: Person, query = ""): Promise<{ data: Listed[]; pagination: object }> =>
  viewer.does(200, "GET", `/users${query}`);
const names = async (viewer: Person, query = "") =>
  (await list(viewer, query)).data.map(({ name }) => name);

describe("Who is listed", () => {
  test("hosts, for everybody signed in, as everybody may see them", async () => {
    const { data, pagination } = await list(alice);
    expect(data.map(({ id }) => id)).toEqual(hosts.map(({ who }) => who.id));
    for (const user of data) {
      expect(Object.keys(user).sort()).toEqual(["id", "name", "role", "username"]);
    }
    expect(pagination).toEqual({
      limit: 20,
      offset: 0,
      total: hosts.length,
      totalCapped: false,
      nextCursor: null,
    });
  });

  test.each(["attendee", "admin"])("no %s, also when one is asked for", async (role) => {
    expect((await list(alice, `?role=${role}`)).data).toEqual([]);
  });

  test("everybody, for an administrator, with all fields", async () => {
    const { data } = await list(admin);
    expect(data).toHaveLength(hosts.length + 3);
    expect(data.find(({ id }) => id === alice.who.id)).toEqual(
      await alice.does(200, "GET", "/users/me"),
    );
    expect(await names(admin, "?role=attendee")).toEqual(["Alice", "Bobby"]);
    expect(await names(admin, "?role=admin")).toEqual(["Administrator"]);
    expect(await names(admin, "?role=host")).toHaveLength(hosts.length);
  });

  test("nobody who was deleted", async () => {
    const gone = await api.host("Gone");
    await gone.does(204, "DELETE", "/users/me");
    expect(await names(admin, "?q=gone")).toEqual([]);
    expect(await names(admin, "?q=deleted")).toEqual([]);
  });
});

describe("Looking for somebody", () => {
  test.each([
    ["bob", ["bob"]],
    ["BOB", ["bob"]],
    ["ob", ["bob"]],
    ["boss", ["Zara"]],
    ["THE_b", ["Zara"]],
    ["%", ["100% Fun"]],
    ["_", ["Zara", "snake_case"]],
    ["\\", ["back\\slash"]],
    ["%%", []],
    ["e_c", ["snake_case"]],
    ["b_b", []],
    ["'", []],
    ["émi", ["Émile"]],
    ["@example.org", []],
    ["🎉", []],
  ])("%s", async (q, found) => {
    expect(await names(alice, `?q=${encodeURIComponent(q)}`)).toEqual(found);
  });

  test("an empty question asks for nothing in particular", async () => {
    expect(await names(alice, "?q=")).toHaveLength(hosts.length);
    expect(await names(alice, "?q=%20")).toHaveLength(hosts.length);
  });

  test.each([
    ["role=root", "role"],
    ["role=", "role"],
    ["sort=email", "sort"],
    ["order=up", "order"],
    ["limit=0", "limit"],
    [`q=${"x".repeat(101)}`, "q"],
    ["cursor=x", "cursor"],
    ["offset=-1", "offset"],
  ])("refused: %s", async (query, field) => {
    const refused = await alice.tries("GET", `/users?${query}`);
    expectProblem(refused, 422, "VALIDATION_FAILED");
    expect(faultyFields(refused)).toEqual([field]);
  });
});

describe("Pages", () => {
  /** Every page of a list, one after the other. */
  async function pages(query: string, between: () => Promise<unknown> = async () => {}) {
    const all: Listed[][] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: { data: Listed[]; pagination: { nextCursor: string | null; offset: number } } =
        await admin.does(200, "GET", `/users?${query}${cursor && `&cursor=${cursor}`}`);
      expect(page.pagination.offset).toBe(all.flat().length);
      all.push(page.data);
      cursor = page.pagination.nextCursor;
      await between();
    }
    return all;
  }

  test.each([
    "sort=createdAt&order=asc",
    "sort=createdAt&order=desc",
    "sort=name&order=asc",
    "sort=name&order=desc",
  ])("by cursor every row comes once: %s", async (order) => {
    const whole = (await list(admin, `?limit=100&${order}`)).data;
    const paged = await pages(`limit=3&${order}`);
    expect(paged.length).toBe(Math.ceil(whole.length / 3));
    expect(paged.flat()).toEqual(whole);
    const key = order.includes("name") ? "name" : "createdAt";
    const keys = whole.map((user) => user[key].toLowerCase());
    if (key === "createdAt") {
      expect(keys).toEqual(order.includes("desc") ? keys.toSorted().reverse() : keys.toSorted());
    } else {
      expect(keys.indexOf("alice") < keys.indexOf("zara")).toBe(order.includes("asc"));
    }
  });

  test("by offset too, and past the end there is nothing", async () => {
    const whole = (await list(admin, "?limit=100")).data;
    const { data, pagination } = await list(admin, "?limit=2&offset=3");
    expect(data).toEqual(whole.slice(3, 5));
    expect(pagination).toMatchObject({ limit: 2, offset: 3, total: whole.length });
    expect((await list(admin, "?offset=1000")).data).toEqual([]);
  });

  test("people who register meanwhile neither repeat nor hide others", async () => {
    const before = (await list(admin, "?limit=100&sort=name")).data.map(({ id }) => id);
    const seen = await pages("limit=2&sort=name", () => api.attendee("Aaron"));
    const ids = seen.flat().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(before));
  });

  test("of many with one name the id decides", async () => {
    const twins = await Promise.all(Array.from({ length: 5 }, () => api.attendee("Twin")));
    const seen = await pages("limit=1&sort=name&q=twin");
    expect(seen.flat().map(({ id }) => id)).toEqual(twins.map(({ who }) => who.id).sort());
  });

  test("a cursor goes with its own order, and with no offset", async () => {
    const first: { pagination: { nextCursor: string } } = await admin.does(
      200,
      "GET",
      "/users?limit=2&sort=name",
    );
    const { nextCursor } = first.pagination;
    for (const other of ["sort=createdAt", "order=desc", "offset=2"]) {
      const refused = await admin.tries("GET", `/users?cursor=${nextCursor}&${other}`);
      expectProblem(refused, 422, "VALIDATION_FAILED");
      expect(faultyFields(refused)).toEqual(["cursor"]);
    }
    const elsewhere = await admin.tries("GET", `/bookings?cursor=${nextCursor}`);
    expectProblem(elsewhere, 422, "VALIDATION_FAILED");
  });

  test("a cursor of who sees more is none for who sees less", async () => {
    const asAdmin: { pagination: { nextCursor: string } } = await admin.does(
      200,
      "GET",
      "/users?limit=1",
    );
    const { nextCursor } = asAdmin.pagination;
    expect((await list(admin, `?limit=100&cursor=${nextCursor}`)).data).not.toEqual([]);
    const refused = await alice.tries("GET", `/users?limit=100&cursor=${nextCursor}`);
    expectProblem(refused, 422, "VALIDATION_FAILED");
    expect(faultyFields(refused)).toEqual(["cursor"]);
  });
});
