import {
  id,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
  withDefault,
} from "../../lib/contract/rules";
import { faultsOf, faultyFields, seenByHandler } from "../support/guarded";

/** An error kind of the kernel's own catalogue; which one does not matter here. */
const MISSING = "NOT_FOUND";
const ID = "0190a6b2-0000-7000-8000-000000000000";

const title = text({ minLength: 1, maxLength: 10 });
const event = {
  title,
  capacity: integer({ min: 1 }),
  status: withDefault(oneOf(["draft", "published"]), "published"),
  tags: withDefault(list(text({ maxLength: 5 }), { max: 2 }), []),
  location: optional(nullable(text({ maxLength: 10 }))),
  nickname: optional(title),
  place: optional(object({ lat: integer(), lng: integer() })),
};
const sound = { title: "Tea", capacity: 3 };

describe("What a handler sees", () => {
  test("is what was given, with defaults filled in and nothing added", async () => {
    expect(await seenByHandler(event, { ...sound })).toEqual({
      ...sound,
      status: "published",
      tags: [],
    });
  });

  test("is never another call's default: lists of defaults are not shared", async () => {
    const first = (await seenByHandler(event, { ...sound })) as { tags: string[] };
    first.tags.push("mine");
    expect(await seenByHandler(event, { ...sound })).toMatchObject({ tags: [] });
  });

  test("holds null where a field may be cleared, and lacks what was left out", async () => {
    const seen = await seenByHandler(event, { ...sound, location: null });
    expect(seen).toMatchObject({ location: null });
    expect(Object.keys((await seenByHandler(event, { ...sound })) as object)).not.toContain(
      "nickname",
    );
  });
});

describe("Faults", () => {
  test("name every field at once, also those inside of lists and objects", async () => {
    expect(
      await faultyFields(event, {
        title: "",
        capacity: "3",
        status: "open",
        tags: ["ok", 1],
        location: 7,
        place: { lat: 1.5 },
      }),
    ).toEqual(["title", "capacity", "status", "tags[1]", "location", "place.lat", "place.lng"]);
  });

  test("name what is missing, in words for whoever sent it", async () => {
    const refusal = seenByHandler(event, {});
    await expect(refusal.catch(faultsOf)).resolves.toEqual([
      { field: "title", message: "is required" },
      { field: "capacity", message: "is required" },
    ]);
  });

  test("null is no value: not for a required field, an optional one or one with a default", async () => {
    expect(
      await faultyFields(event, {
        title: null,
        capacity: null,
        status: null,
        tags: null,
        nickname: null,
        place: null,
        location: null,
      }),
    ).toEqual(expect.arrayContaining(["title", "capacity", "status", "tags", "nickname", "place"]));
    expect(await faultyFields(event, { ...sound, location: null })).toEqual([]);
    for (const field of ["status", "tags", "nickname"]) {
      const refusal = seenByHandler(event, { ...sound, [field]: null });
      await expect(refusal.catch(faultsOf)).resolves.toEqual([
        { field, message: "must not be null" },
      ]);
    }
  });

  test("null for a default is found inside of objects too", async () => {
    const props = { pair: object({ left: withDefault(integer(), 1), right: integer() }) };
    expect(await seenByHandler(props, { pair: { right: 2 } })).toEqual({
      pair: { left: 1, right: 2 },
    });
    expect(await faultyFields(props, { pair: { left: null, right: 2 } })).toEqual(["pair.left"]);
  });

  test("unknown fields are refused one by one, at any depth, whatever they are called", async () => {
    expect(
      await faultyFields(event, {
        ...sound,
        hostId: ID,
        version: 9,
        place: { lat: 1, lng: 2, up: 3 },
      }),
    ).toEqual(["place.up", "hostId", "version"]);
    for (const name of ["__proto__", "constructor", "toString", "$$strict", "id", "TITLE"]) {
      // As a body arrives: JSON.parse makes even __proto__ a field like any other.
      const given = JSON.parse(`{"title": "Tea", "capacity": 3, "${name}": {}}`);
      expect(await faultyFields(event, given)).toEqual([name]);
    }
  });

  test("echo only so much of what was sent", async () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`f${i}`, i]));
    expect(await faultyFields(event, { ...sound, ...many })).toHaveLength(50);
    const [field] = await faultyFields(event, { ...sound, ["x".repeat(10_000)]: 1 });
    expect(field?.length).toBeLessThan(200);
  });

  test.each(['{"toString": 0}', '[{"toString": null}]', '[[{"toString": 0, "valueOf": 0}]]'])(
    "a value that cannot become text is refused like any other: %s",
    async (json) => {
      const junk = JSON.parse(json);
      const everywhere = { title: junk, capacity: junk, status: junk, location: junk, place: junk };
      expect(await faultyFields(event, { ...everywhere, tags: [junk], hostId: junk })).toEqual(
        expect.arrayContaining(["title", "capacity", "status", "location", "tags[0]", "hostId"]),
      );
    },
  );

  test("parameters that are no object at all are missing every field", async () => {
    expect(await faultyFields({ title }, null)).toEqual(["title"]);
    expect(await faultyFields({ title }, undefined)).toEqual(["title"]);
  });
});

describe("A malformed id in a path", () => {
  const props = { id: id(), title: optional(title) };
  const parts = { missing: { id: MISSING } };

  test("is the 404 of the thing", async () => {
    for (const broken of ["42", "", "me", "'; DROP", `${ID}x`]) {
      await expect(seenByHandler(props, { id: broken }, parts)).rejects.toMatchObject({
        type: MISSING,
        code: 404,
      });
    }
    expect(await seenByHandler(props, { id: ID }, parts)).toEqual({ id: ID });
  });

  test("comes after every other fault of the input", async () => {
    expect(await faultyFields(props, { id: "42", title: "" }, parts)).toEqual(["title"]);
    expect(await faultyFields(props, { id: "42", role: "admin" }, parts)).toEqual(["role"]);
  });

  test("is a 422 where the id is in a body", async () => {
    expect(await faultyFields(props, { id: "42" })).toEqual(["id"]);
  });
});

describe("A change", () => {
  const props = { id: id(), ifMatch: optional(text({ maxLength: 50 })), title: optional(title) };
  const parts = { missing: { id: MISSING }, changes: ["title"] };

  test("needs something to change besides what names the thing", async () => {
    expect(await seenByHandler(props, { id: ID, title: "New" }, parts)).toMatchObject({
      title: "New",
    });
    const empty = seenByHandler(props, { id: ID, ifMatch: '"1-x"' }, parts);
    await expect(empty.catch(faultsOf)).resolves.toEqual([
      { field: "body", message: "has nothing to change" },
    ]);
  });

  test("that is empty says so before a malformed id, and beside other faults", async () => {
    expect(await faultyFields(props, { id: "42" }, parts)).toEqual(["body"]);
    expect(await faultyFields(props, { id: ID, hostId: ID }, parts)).toEqual(["hostId", "body"]);
  });
});
