import type { OpenApi } from "../support/api-description";
import { Api, type Event, type Person } from "../support/people";
import { ask, expectProblem, faultyFields, json } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";
import { onWire } from "../support/wire";

let system: TestSystem;
let api: Api;
let hanna: Person;
let event: Event;
beforeAll(async () => {
  system = await startTestSystem();
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  event = await hanna.createsEvent({ capacity: 5 });
});
afterAll(() => system.stop());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057";

describe("Paths and methods", () => {
  test.each([
    "/",
    "/api",
    "/api/",
    "/api/nothing",
    "/API/events",
    "/api/Events",
    "/api/events/a/b/c",
    "/api//events",
    "/api/../etc/passwd",
    "/api/$node/services",
    "/api/~node/services",
    "/api/users.$create",
    "/api/core/$hashText",
    "/api/api/listAliases",
    "/list-aliases",
    "/docs/../package.json",
    "/docs/package.json",
    "/docs/index.html",
    "/ws/more",
    "/.well-known/nothing",
  ])("%s leads nowhere", async (path) => {
    await onWire(system.origin, async (wire) => {
      wire.says(`GET ${path} HTTP/1.1\r\nHost: here\r\n\r\n`);
      const { status, headers, body } = await wire.hears();
      expectProblem({ status, headers, body: JSON.parse(body) }, 404, "NOT_FOUND");
    });
  });

  test.each(["%", "%zz", "%E0%A4%A", "%ff", "%00", "a%2Fb"])(
    "%s for an id is the 404 of the thing",
    async (id) => {
      expectProblem(await ask(system.origin, "GET", `/api/events/${id}`), 404, "EVENT_NOT_FOUND");
    },
  );

  test("an encoded path means what it spells, and a slash at the end nothing", async () => {
    const encoded = event.id.replaceAll("-", "%2D");
    const answer = await ask(system.origin, "GET", `/api/events/${encoded}`);
    expect(answer.body).toMatchObject({ id: event.id });
    expect((await ask(system.origin, "GET", "/api/events/")).status).toBe(200);
  });

  test("a request may name the server in full (RFC 9112, 3.2.2)", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says(`GET ${system.origin}/api/events/${event.id} HTTP/1.1\r\nHost: here\r\n\r\n`);
      const answer = await wire.hears();
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body)).toMatchObject({ id: event.id });
    });
  });

  test("every path refuses the methods it lacks and says which it has", async () => {
    const { paths } = (await (await fetch(`${system.origin}/openapi.json`)).json()) as OpenApi;
    expect(Object.keys(paths).length).toBeGreaterThan(20);
    for (const [template, operations] of Object.entries(paths)) {
      const path = template.replace(/\{\w+\}/g, NOBODY);
      const has = Object.keys(operations).map((method) => method.toUpperCase());
      const allowed = [...has, ...(has.includes("GET") ? ["HEAD"] : [])].sort();
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"]) {
        if (has.includes(method)) continue;
        const refused = await ask(system.origin, method, path);
        expectProblem(refused, 405, "METHOD_NOT_ALLOWED");
        expect(refused.headers.get("allow")?.split(", ").sort()).toEqual(allowed);
      }
      const options = await ask(system.origin, "OPTIONS", path);
      expect([path, options.status, options.body]).toEqual([path, 204, ""]);
      expect(options.headers.get("allow")?.split(", ").sort()).toEqual(allowed);
    }
  });

  test("OPTIONS of a path that leads nowhere is 404", async () => {
    expectProblem(await ask(system.origin, "OPTIONS", "/api/nothing"), 404, "NOT_FOUND");
  });

  test("a fixed word in a path is no id", async () => {
    expect((await ask(system.origin, "GET", "/api/events/search")).status).toBe(200);
    const refused = await ask(system.origin, "POST", "/api/events/search");
    expectProblem(refused, 405, "METHOD_NOT_ALLOWED");
    expect(refused.headers.get("allow")).toBe("GET, HEAD");
  });

  test("HEAD answers like GET, without the body", async () => {
    for (const path of [`/api/events/${event.id}`, "/api/events", "/health/live", "/docs"]) {
      const got = await ask(system.origin, "GET", path);
      const head = await ask(system.origin, "HEAD", path);
      expect([path, head.status, head.body]).toEqual([path, 200, ""]);
      for (const name of ["content-type", "etag", "cache-control", "vary"]) {
        expect([name, head.headers.get(name)]).toEqual([name, got.headers.get(name)]);
      }
    }
    const missing = await ask(system.origin, "HEAD", `/api/events/${NOBODY}`);
    expect([missing.status, missing.body]).toEqual([404, ""]);
    expect(missing.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    expect((await ask(system.origin, "HEAD", "/api/bookings")).status).toBe(401);
    expect((await ask(system.origin, "HEAD", "/api/auth/login")).status).toBe(405);
  });
});

describe("Query parameters", () => {
  test("unknown ones are ignored", async () => {
    const answer = await api.get(
      "/events?nonsense=1&limit=1&limit[]=500&limit[a]=b&__proto__=x&constructor[a]=b&=&&%",
    );
    expect(answer.status).toBe(200);
    expect(answer.body.pagination.limit).toBe(1);
  });

  test.each([
    ["limit=0", "limit"],
    ["limit=101", "limit"],
    ["limit=ten", "limit"],
    ["limit=", "limit"],
    ["limit=1.5", "limit"],
    ["limit=1e1", "limit"],
    ["limit=1&limit=2", "limit"],
    ["offset=-1", "offset"],
    ["offset=99999999999999999999", "offset"],
    ["sort=password_hash", "sort"],
    ["order=sideways", "order"],
    ["cursor=nonsense", "cursor"],
    ["q=a%00b", "q"],
    ["from=yesterday", "from"],
    ["status=lost", "status"],
    ["hostId=5", "hostId"],
    ["available=perhaps", "available"],
  ])("a bad value of a known one is refused: %s", async (query, field) => {
    const refused = await api.get(`/events?${query}`);
    expectProblem(refused, 422, "VALIDATION_FAILED");
    expect(faultyFields(refused)).toEqual([field]);
  });

  test("neither a query nor a body reaches a parameter of another place", async () => {
    const created = await ask(system.origin, "POST", "/api/events?title=From+the+query", {
      ...json({}),
      headers: { "content-type": "application/json", ...bearer(hanna.token) },
    });
    expect(faultyFields(created)).toContain("title");
    const other = await hanna.createsEvent({ title: "Another" });
    const refused = await hanna.tries("PATCH", `/events/${event.id}?id=${other.id}`, {
      id: other.id,
      title: "Mine",
    });
    expect(faultyFields(refused)).toEqual(["id"]);
    await hanna.does(200, "PATCH", `/events/${event.id}?id=${other.id}`, { location: "Here" });
    expect((await api.get(`/events/${other.id}`)).body).toEqual(other);
  });
});

describe("Request ids", () => {
  const idOf = async (given?: string, path = "/api/events") => {
    const options = given === undefined ? {} : { headers: { "x-request-id": given } };
    return (await ask(system.origin, "GET", path, options)).headers.get("x-request-id");
  };

  test("one is made where the client has none, a new one each time", async () => {
    const ids = [await idOf(), await idOf(), await idOf(undefined, "/health/live")];
    for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(ids).size).toBe(3);
  });

  test("a client's own is given back, also with a refusal", async () => {
    expect(await idOf("order-7.retry_2")).toBe("order-7.retry_2");
    const headers = { "x-request-id": "mine" };
    const refused = await ask(system.origin, "GET", "/api/nothing", { headers });
    expectProblem(refused, 404, "NOT_FOUND");
    expect(refused.body.requestId).toBe("mine");
  });

  test.each(["<script>", "a b", "a,b", "é", "x".repeat(101), "{}", '"'])(
    "what could harm a log is replaced: %s",
    async (given) => {
      expect(await idOf(given)).toMatch(/^[0-9a-f-]{36}$/);
    },
  );

  test("a correlation id does not take its place", async () => {
    const headers = { "x-request-id": "mine", "x-correlation-id": "another" };
    const answer = await ask(system.origin, "GET", "/api/events", { headers });
    expect(answer.headers.get("x-request-id")).toBe("mine");
  });
});
