import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { Api, type Event, type Person } from "../support/people";
import { ask, expectProblem, json } from "../support/problems";
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
  event = await hanna.createsEvent({ description: "A long story. ".repeat(200) });
});
afterAll(() => system.stop());

describe("Compression", () => {
  /** Bytes as they come, which `fetch` would unpack. */
  const packed = (path: string, encoding: string, headers = "") =>
    onWire(system.origin, (wire) =>
      wire
        .says(
          `GET ${path} HTTP/1.1\r\nHost: here\r\nAccept-Encoding: ${encoding}\r\n${headers}\r\n`,
        )
        .hears(),
    );

  test.each([
    ["gzip", gunzipSync],
    ["br", brotliDecompressSync],
  ])("%s, when it is asked for", async (encoding, unpack) => {
    const { headers, bytes } = await packed(`/api/events/${event.id}`, encoding);
    expect(headers.get("content-encoding")).toBe(encoding);
    expect(headers.get("vary")).toMatch(/Accept-Encoding/);
    expect(JSON.parse(unpack(bytes).toString())).toMatchObject({ id: event.id });
    expect(headers.get("etag")).toMatch(/^W\//);
  });

  test("a refusal after it is readable as well", async () => {
    const { headers, bytes } = await packed("/api/nothing", "gzip");
    const body = headers.get("content-encoding") === "gzip" ? gunzipSync(bytes) : bytes;
    expect(JSON.parse(body.toString())).toMatchObject({ code: "NOT_FOUND" });
  });

  test("never beside tokens: lengths would tell what they share with what the client sent", async () => {
    const refused = json({
      ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`nonsense${i}`, i])),
    });
    const answer = await ask(system.origin, "POST", "/api/auth/login", {
      ...refused,
      headers: { ...refused.headers, "accept-encoding": "gzip, br" },
    });
    expect(JSON.stringify(answer.body).length).toBeGreaterThan(2048);
    expect(answer.headers.get("content-encoding")).toBeNull();
    const me = await packed(
      "/api/auth/me",
      "gzip, br",
      `Authorization: Bearer ${hanna.token}\r\nX-Request-Id: ${"x".repeat(100)}\r\n`,
    );
    expect(me.headers.get("content-encoding")).toBeNull();
  });
});

describe("Entity tags", () => {
  // `fetch` adds «Cache-Control: no-cache» to a request with If-None-Match; a server that takes it for
  // itself would never say 304.
  const get = (path: string, tag?: string) =>
    hanna.tries("GET", path, undefined, tag ? { "if-none-match": tag } : {});

  test.each([
    ["an event", () => `/events/${event.id}`],
    ["a list", () => "/events?limit=5"],
    ["a search", () => "/events/search?q=evening"],
    ["the catalogue", () => "/available-events"],
    ["oneself", () => "/users/me"],
    ["who is signed in", () => "/auth/me"],
    ["notifications", () => "/notifications"],
    ["a calendar", () => `/events/${event.id}/calendar.ics`],
  ])("%s has one, and is not sent again to who has it", async (_words, path) => {
    const first = await get(path());
    const tag = first.headers.get("etag") ?? "";
    expect(tag).toMatch(/^(W\/)?"[^"]+"$/);
    expect((await get(path())).headers.get("etag")).toBe(tag);
    for (const known of [tag, tag.replace("W/", ""), `"other", ${tag}`, "*"]) {
      const again = await get(path(), known);
      expect([known, again.status, again.body]).toEqual([known, 304, undefined]);
      expect(again.headers.get("etag")).toBe(tag);
      expect(again.headers.get("content-type")).toBeNull();
      expect(again.headers.get("x-request-id")).toMatch(/\S/);
    }
    for (const other of ['"other"', tag.slice(0, -2), "nonsense"]) {
      expect((await get(path(), other)).status).toBe(200);
    }
  });

  test("a change changes them: the host's, and a booking's seats", async () => {
    const concert = await hanna.createsEvent({ title: "Concert" });
    const path = `/events/${concert.id}`;
    const tagOf = async (of: string) => (await get(of)).headers.get("etag") ?? "";
    const list = `/events?hostId=${hanna.who.id}`;
    const before = [await tagOf(path), await tagOf(list)];
    await (await api.attendee("Alice")).books(concert);
    const booked = [await tagOf(path), await tagOf(list)];
    await hanna.does(200, "PATCH", path, { title: "Concerto" });
    const changed = [await tagOf(path), await tagOf(list)];
    expect(new Set([...before, ...booked, ...changed]).size).toBe(6);
    expect((await get(path, before[0])).status).toBe(200);
  });

  test("a refusal has none, and a write is never «not modified»", async () => {
    const missing = await get("/events/nonsense", "*");
    expectProblem(missing, 404, "EVENT_NOT_FOUND");
    expect(missing.headers.get("etag")).toBeNull();
    const any = { "if-none-match": "*" };
    const renamed = await hanna.tries("PATCH", `/events/${event.id}`, { title: "Renamed" }, any);
    expect([renamed.status, renamed.body.title]).toEqual([200, "Renamed"]);
    const read = await hanna.tries("POST", "/notifications/mark-all-read", undefined, any);
    expect(read.status).toBe(200);
  });
});
