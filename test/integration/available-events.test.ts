import { newId } from "../../lib/ids";
import { Api, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

interface Entry {
  id: string;
  name: string;
  category: string;
  description: string;
  defaultCapacity: number;
  defaultDurationMinutes: number;
}

let system: TestSystem;
let api: Api;
let host: Person;
beforeAll(async () => {
  system = await startTestSystem();
  api = await Api.at(system.origin);
  host = await api.host("Hanna");
});
afterAll(() => system.stop());

/** Calls an action as another service would; a refusal comes as an error with our code as its type. */
const call = <T = Entry>(action: string, params: object = {}): Promise<T> => {
  const [first] = system.systems;
  if (!first) throw new Error("No system runs");
  return first.broker.call<T, object>(action, params);
};
const $ = <T = Entry>(action: string, params: object = {}) =>
  call<T>(`available-events.$${action}`, params);

const entry = (fields: Record<string, unknown> = {}) => ({
  name: `Type ${newId()}`,
  category: "Test",
  description: "For a test",
  defaultCapacity: 10,
  defaultDurationMinutes: 60,
  ...fields,
});
const list = async (query = "") => (await api.get(`/available-events?${query}`)).body;
const namesOf = ({ data }: { data: Entry[] }) => data.map(({ name }) => name);

describe("The catalogue", () => {
  test("is for everybody, by name, with all its fields and no more", async () => {
    const { data, pagination } = await list("limit=100");
    expect(pagination).toEqual({
      limit: 100,
      offset: 0,
      total: data.length,
      totalCapped: false,
      nextCursor: null,
    });
    expect(data.length).toBeGreaterThan(10);
    const names: string[] = namesOf({ data });
    expect(names).toEqual([...names].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)));
    for (const item of data) {
      expect(Object.keys(item).sort()).toEqual([
        "category",
        "defaultCapacity",
        "defaultDurationMinutes",
        "description",
        "id",
        "name",
      ]);
    }
  });

  test("by category without case", async () => {
    const all: Entry[] = (await list("limit=100")).data;
    const music = all.filter(({ category }) => category === "Music");
    expect(music.length).toBeGreaterThan(1);
    for (const category of ["Music", "mUSIC"]) {
      expect((await list(`category=${category}`)).data).toEqual(music);
    }
    for (const category of ["M_sic", "%25", "Musi", "'%20OR%201=1"]) {
      expect((await list(`category=${category}`)).data).toEqual([]);
    }
  });

  test.each(["name", "category", "createdAt"])(
    "page by page, sorted by %s both ways",
    async (sort) => {
      for (const order of ["asc", "desc"]) {
        const all = (await list(`limit=100&sort=${sort}&order=${order}`)).data;
        const walked: Entry[] = [];
        let cursor: string | null = null;
        do {
          const at: string = cursor ? `cursor=${cursor}` : `sort=${sort}&order=${order}`;
          const found = await list(`limit=4&${at}`);
          expect(found.pagination.offset).toBe(walked.length);
          walked.push(...found.data);
          cursor = found.pagination.nextCursor;
        } while (cursor);
        expect(walked).toEqual(all);
        expect((await list(`limit=3&offset=2&sort=${sort}&order=${order}`)).data).toEqual(
          all.slice(2, 5),
        );
      }
    },
  );

  test.each<[string, string]>([
    ["limit=0", "limit"],
    ["limit=101", "limit"],
    ["offset=-1", "offset"],
    ["sort=id", "sort"],
    ["order=random", "order"],
    ["cursor=x", "cursor"],
    ["category=", "category"],
    [`category=${"x".repeat(51)}`, "category"],
  ])("a bad value is 422: %s", async (query, field) => {
    expectRefusal(await api.get(`/available-events?${query}`), 422, "VALIDATION_FAILED", [field]);
  });

  test("what moleculer-db's own list would take is ignored", async () => {
    const plain = await list();
    const hostile = await list(
      "query[category]=Music&search=Music&searchFields=name&pageSize=1&page=2&fields=id&populate=x",
    );
    expect(hostile).toEqual(plain);
  });

  test.each([
    ["POST", ""],
    ["PUT", ""],
    ["DELETE", ""],
  ])("%s of the list is 405", async (method, path) => {
    const answer = await host.tries(
      method,
      `/available-events${path}`,
      method === "DELETE" ? undefined : entry(),
    );
    expectRefusal(answer, 405, "METHOD_NOT_ALLOWED");
  });

  test.each(["GET", "PUT", "PATCH", "DELETE"])(
    "%s of one entry is 404: nothing of it is public",
    async (method) => {
      const [first] = (await list("limit=1")).data;
      const body = method === "GET" || method === "DELETE" ? undefined : { name: "Mine" };
      for (const path of [first.id, "insert", "count", "find"]) {
        expectRefusal(
          await host.tries(method, `/available-events/${path}`, body),
          404,
          "NOT_FOUND",
        );
      }
    },
  );
});

describe("Maintained by other services", () => {
  test("an entry is made, found, changed and taken away", async () => {
    const fields = entry({ name: "Quiz night", description: "" });
    const made = await $("create", fields);
    expect(made).toEqual({ ...fields, id: expect.any(String) });
    expect(await $("find", { id: made.id })).toEqual(made);
    expect(namesOf(await list("category=test"))).toContain("Quiz night");
    expect(await $<{ data: Entry[] }>("list", { category: "TEST" })).toMatchObject({
      data: expect.arrayContaining([made]),
    });

    const changed = await $("update", { id: made.id, name: "Pub quiz", defaultCapacity: 40 });
    expect(changed).toEqual({ ...made, name: "Pub quiz", defaultCapacity: 40 });
    expect(await $("find", { id: made.id })).toEqual(changed);

    // Moleculer gives null where an action gives nothing.
    expect((await $("delete", { id: made.id })) ?? null).toBeNull();
    await expect($("find", { id: made.id })).rejects.toMatchObject({
      type: "AVAILABLE_EVENT_NOT_FOUND",
    });
    expect(namesOf(await list("category=test"))).not.toContain("Pub quiz");
  });

  test("a name is taken whatever its case, by a new entry and by a changed one", async () => {
    const made = await $("create", entry({ name: "Slam" }));
    const other = await $("create", entry({ name: "Reading" }));
    const taken = { type: "AVAILABLE_EVENT_NAME_TAKEN", code: 409 };
    await expect($("create", entry({ name: "sLAM" }))).rejects.toMatchObject(taken);
    await expect($("update", { id: other.id, name: "SLAM" })).rejects.toMatchObject(taken);
    expect(await $("find", { id: other.id })).toEqual(other);
    expect(await $("update", { id: made.id, name: "SLAM" })).toMatchObject({ name: "SLAM" });
  });

  test("of several who want one name at once one gets it", async () => {
    const name = `Once ${newId()}`;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => $("create", entry({ name }))),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") {
        expect(outcome.reason).toMatchObject({ type: "AVAILABLE_EVENT_NAME_TAKEN" });
      }
    }
  });

  test("what is not there is said to be not there", async () => {
    for (const action of ["find", "update", "delete"]) {
      const missing = $(action, { id: newId(), ...(action === "update" ? { name: "New" } : {}) });
      await expect(missing).rejects.toMatchObject({ type: "AVAILABLE_EVENT_NOT_FOUND", code: 404 });
    }
  });

  test.each<[string, object, string]>([
    ["create", {}, "name"],
    ["create", entry({ name: "" }), "name"],
    ["create", entry({ name: "x".repeat(101) }), "name"],
    ["create", entry({ category: null }), "category"],
    ["create", entry({ category: "x".repeat(51) }), "category"],
    ["create", entry({ description: "x".repeat(10_001) }), "description"],
    ["create", entry({ defaultCapacity: 0 }), "defaultCapacity"],
    ["create", entry({ defaultCapacity: 1_000_001 }), "defaultCapacity"],
    ["create", entry({ defaultDurationMinutes: 1.5 }), "defaultDurationMinutes"],
    ["create", entry({ id: newId() }), "id"],
    ["create", entry({ createdAt: new Date().toISOString() }), "createdAt"],
    ["find", { id: "7" }, "id"],
    ["find", {}, "id"],
    ["find", { id: newId(), fields: ["createdAt"] }, "fields"],
    ["update", { id: newId(), createdAt: "now" }, "createdAt"],
    ["update", { id: newId(), name: null }, "name"],
    ["delete", { id: { $ne: newId() } }, "id"],
    ["list", { query: { category: "Music" } }, "query"],
    ["list", { limit: 101 }, "limit"],
  ])("%s refuses what its contract does not have: %j", async (action, params, field) => {
    await expect($(action, params)).rejects.toMatchObject({
      type: "VALIDATION_FAILED",
      data: { errors: expect.arrayContaining([expect.objectContaining({ field })]) },
    });
  });

  test("events of a type that is taken away stay, without it", async () => {
    const made = await $("create", entry());
    const event = await host.createsEvent({ availableEventId: made.id });
    await $("delete", { id: made.id });
    expect((await api.get(`/events/${event.id}`)).body).toEqual({
      ...event,
      availableEventId: null,
    });
    expectRefusal(
      await host.tries("PATCH", `/events/${event.id}`, { availableEventId: made.id }),
      422,
      "VALIDATION_FAILED",
      ["availableEventId"],
    );
  });
});

describe("Nothing of moleculer-db is left open", () => {
  test.each(["find", "count", "create", "insert", "get", "update", "remove"])(
    "%s cannot be called",
    async (action) => {
      await expect(call(`available-events.${action}`, {})).rejects.toMatchObject({
        type: "SERVICE_NOT_FOUND",
      });
    },
  );

  test("list takes what the contract says and nothing more", async () => {
    for (const params of [
      { query: {} },
      { search: "x", searchFields: ["name"] },
      { page: 1, pageSize: 5 },
      { populate: "x" },
      { fields: ["id"] },
      { sort: "-createdAt" },
    ]) {
      await expect(call("available-events.list", params)).rejects.toMatchObject({
        type: "VALIDATION_FAILED",
      });
    }
  });

  test("the service has the actions of its contract alone, of which one is published", async () => {
    const [first] = system.systems;
    const service = first?.broker.services.find(({ name }) => name === "available-events");
    const actions = Object.entries(service?.schema.actions ?? {}).map(([name, action]) => [
      name,
      typeof action === "object" && action !== null && "visibility" in action
        ? action.visibility
        : undefined,
    ]);
    expect(Object.fromEntries(actions)).toEqual({
      $create: "public",
      $update: "public",
      $delete: "public",
      $find: "public",
      $list: "public",
      list: "published",
    });
  });
});
