import fc from "fast-check";
import type { ActionDefinition } from "../../lib/contract/define";
import { id, optional, text } from "../../lib/contract/rules";
import { actionParameters, parametersOf, type RequestParts } from "../../services/api/parameters";
import { faultsOf } from "../support/guarded";

const word = text({ maxLength: 50 });
const action = (method: "GET" | "PATCH" | "POST" | "DELETE"): ActionDefinition => ({
  summary: "For this test",
  params: { id: id(), ifMatch: optional(word), title: optional(word), place: optional(word) },
  result: null,
  access: "public",
  rest: { method, path: "/things/:id", headers: { ifMatch: "if-match" } },
});

const inEither = { method: "DELETE", path: "/things/:id", alsoInBody: true } as const;

const request = (parts: Partial<RequestParts> = {}): RequestParts => ({
  path: { id: "from the path" },
  query: {},
  headers: {},
  body: undefined,
  ...parts,
});
const given = (method: Parameters<typeof action>[0], parts?: Partial<RequestParts>) =>
  actionParameters(parametersOf(action(method)), request(parts));
const faults = (method: Parameters<typeof action>[0], parts: Partial<RequestParts>) => {
  try {
    given(method, parts);
    return [];
  } catch (error) {
    return faultsOf(error).map(({ field }) => field);
  }
};

describe("Where parameters come from", () => {
  test("of a change that says so: the query as well", () => {
    const link = action("POST");
    const rest = { method: "POST", path: "/things/:id", query: ["title"] } as const;
    expect(parametersOf({ ...link, rest })).toEqual({
      path: ["id"],
      headers: {},
      query: ["title"],
      body: ["ifMatch", "place"],
    });
  });

  test.each(["GET", "DELETE"] as const)("of a %s: path, header, query", (method) => {
    expect(parametersOf(action(method))).toEqual({
      path: ["id"],
      headers: { ifMatch: "if-match" },
      query: ["title", "place"],
      body: [],
    });
  });

  test.each(["POST", "PATCH"] as const)("of a %s: path, header, body", (method) => {
    expect(parametersOf(action(method))).toEqual({
      path: ["id"],
      headers: { ifMatch: "if-match" },
      query: [],
      body: ["title", "place"],
    });
  });
});

describe("Of a deletion that may name its thing in a body too", () => {
  const either = action("DELETE");
  const places = parametersOf({ ...either, rest: { ...either.rest, ...inEither } });
  const taken = (parts: Partial<RequestParts>) => actionParameters(places, request(parts));

  test("they are taken from either, and from the body first", () => {
    expect(places).toMatchObject({ query: ["title", "place"], body: ["title", "place"] });
    const query = { title: "from the query", place: "from the query" };
    expect(taken({ query })).toEqual({ id: "from the path", ...query });
    expect(taken({ query, body: { title: "from the body" } })).toEqual({
      id: "from the path",
      title: "from the body",
      place: "from the query",
    });
    expect(taken({ query, body: { title: null } })).toMatchObject({ title: null });
  });

  test("but not what belongs elsewhere", () => {
    expect(() => taken({ body: { id: "x" } })).toThrow("id");
    expect(() => taken({ body: { ifMatch: "*" } })).toThrow("ifMatch");
  });
});

describe("Each is taken from its own place", () => {
  const everywhere = {
    query: { title: "from the query", id: "from the query", ifMatch: "from the query" },
    headers: { "if-match": "from the header", title: "from the header" },
  };

  test("reading", () => {
    expect(given("GET", everywhere)).toEqual({
      id: "from the path",
      ifMatch: "from the header",
      title: "from the query",
    });
  });

  test("changing", () => {
    expect(given("PATCH", { ...everywhere, body: { title: "from the body" } })).toEqual({
      id: "from the path",
      ifMatch: "from the header",
      title: "from the body",
    });
    expect(given("PATCH", everywhere)).not.toHaveProperty("title");
  });

  test("what is not there is left out, the path apart", () => {
    expect(Object.keys(given("GET"))).toEqual(["id"]);
  });
});

describe("What is in the wrong place", () => {
  test("is ignored in a query", () => {
    expect(given("GET", { query: { limit: "5", page: "2" } })).toEqual({
      id: "from the path",
    });
  });

  test("is refused in a body: another thing's id, a header, a filter", () => {
    expect(faults("PATCH", { body: { id: "x" } })).toEqual(["id"]);
    expect(faults("PATCH", { body: { ifMatch: "*", title: "x" } })).toEqual(["ifMatch"]);
    expect(faults("DELETE", { body: { id: "x", title: "x" } })).toEqual(["id", "title"]);
    expect(faults("GET", { body: { title: "x" } })).toEqual(["title"]);
  });

  test("is left in a body for the validator to refuse where nobody knows it", () => {
    expect(given("PATCH", { body: { role: "admin" } })).toMatchObject({ role: "admin" });
    const hostile = JSON.parse('{"__proto__": {"role": "admin"}}');
    const parameters = given("POST", { body: hostile });
    expect(Object.keys(parameters)).toContain("__proto__");
    expect(parameters.role).toBeUndefined();
  });
});

test.each([[null], [[]], [[{}]], ["text"], [""], [5], [true]])(
  "a body that is %j and no object is refused",
  (body) => {
    for (const method of ["GET", "POST", "PATCH", "DELETE"] as const) {
      expect(faults(method, { body })).toEqual(["body"]);
    }
  },
);

test("whatever a request brings, the path's id is the path's", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("GET" as const, "POST" as const, "PATCH" as const, "DELETE" as const),
      fc.dictionary(fc.constantFrom("id", "title", "place", "ifMatch", "x"), fc.jsonValue()),
      fc.option(fc.jsonValue(), { nil: undefined }),
      (method, query, body) => {
        let parameters: Record<string, unknown>;
        try {
          parameters = given(method, { query, body });
        } catch (error) {
          expect(faultsOf(error).length).toBeGreaterThan(0);
          return;
        }
        expect(parameters.id).toBe("from the path");
        expect(parameters).not.toHaveProperty("ifMatch");
      },
    ),
  );
});
