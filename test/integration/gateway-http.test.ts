import { Api, type Event, type Person } from "../support/people";
import { ask, expectProblem } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";
import { onWire, type RawAnswer } from "../support/wire";

const FRIEND = "https://app.example.org";

let system: TestSystem;
let api: Api;
let hanna: Person;
let event: Event;
beforeAll(async () => {
  system = await startTestSystem({
    environment: { CORS_ORIGINS: `${FRIEND},http://localhost:8080` },
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  event = await hanna.createsEvent();
});
afterAll(() => system.stop());

const parsed = ({ status, headers, body }: RawAnswer) => ({
  status,
  headers,
  body: JSON.parse(body),
});

describe("What is not HTTP", () => {
  test.each([
    ["no request line", "nonsense\r\n\r\n"],
    ["an unknown method", "FOO /api/events HTTP/1.1\r\nHost: here\r\n\r\n"],
    ["an unknown version", "GET /api/events HTTP/9.9\r\nHost: here\r\n\r\n"],
    ["a space in the path", "GET /api/ev ents HTTP/1.1\r\nHost: here\r\n\r\n"],
    ["a header without a colon", "GET /api/events HTTP/1.1\r\nHost here\r\n\r\n"],
    ["a space before the colon", "GET /api/events HTTP/1.1\r\nHost : here\r\n\r\n"],
    ["no Host", "GET /api/events HTTP/1.1\r\n\r\n"],
    ["a length that is no number", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: ten\r\n\r\n"],
    ["a negative length", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"],
    [
      "two lengths",
      "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    [
      "a length and chunks, the way requests are smuggled",
      "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    [
      "a chunk of no size",
      "POST /api/events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ["a TLS greeting", Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03])],
  ])("%s is a problem too", async (_words, bytes) => {
    await onWire(system.origin, async (wire) => {
      expectProblem(parsed(await wire.says(bytes).hears()), 400, "BAD_REQUEST");
    });
    expect((await ask(system.origin, "GET", "/health/live")).status).toBe(200);
  });

  test.each([
    ["one long header", `X-Long: ${"x".repeat(20_000)}\r\n`],
    ["many headers", `${"X-Many: x\r\n".repeat(10_000)}`],
  ])("%s: 431", async (_words, lines) => {
    await onWire(system.origin, async (wire) => {
      const answer = await wire
        .says("GET /api/events HTTP/1.1\r\nHost: here\r\n", lines, "\r\n")
        .hears();
      expectProblem(parsed(answer), 431, "HEADERS_TOO_LARGE");
      await wire.isClosed();
    });
  });

  test("a tunnel to somewhere else is no method of ours", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
      const answer = await wire.hears();
      expectProblem(parsed(answer), 405, "METHOD_NOT_ALLOWED");
      expect(answer.headers.get("allow")).toBe("GET, HEAD, POST, PUT, PATCH, DELETE");
      expect(answer.headers.get("connection")).toBe("close");
      await wire.isClosed();
    });
    // Nor does it hurt when nobody waits for the answer.
    await onWire(system.origin, async (wire) => {
      wire.says("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "more");
    });
    expect((await ask(system.origin, "GET", "/health/live")).status).toBe(200);
  });

  test("a body that goes wrong is answered like the request that it belongs to", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says(
        "POST /api/events HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "zz\r\n",
      );
      const answer = await wire.hears();
      expectProblem(parsed(answer), 400, "BAD_REQUEST");
      expect(answer.headers.get("x-request-id")).toBe("mine");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      await wire.isClosed();
    });
  });

  test("a path of any length that fits the header is answered", async () => {
    const long = await ask(system.origin, "GET", `/api/events/${"x".repeat(12_000)}`);
    expectProblem(long, 404, "EVENT_NOT_FOUND");
    const deep = await ask(system.origin, "GET", `/api${"/a".repeat(6_000)}`);
    expectProblem(deep, 404, "NOT_FOUND");
    const query = `q=${"%20".repeat(4_000)}`;
    expect((await ask(system.origin, "GET", `/api/events?${query}`)).status).toBeLessThan(500);
  });

  test("HTTP/1.0 needs no Host, and one connection serves many requests", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says(`GET /api/events/${event.id} HTTP/1.1\r\nHost: here\r\n\r\n`);
      wire.says("GET /api/nothing HTTP/1.1\r\nHost: here\r\n\r\n");
      wire.says("GET /health/live HTTP/1.0\r\n\r\n");
      expect((await wire.hears()).status).toBe(200);
      expectProblem(parsed(await wire.hears()), 404, "NOT_FOUND");
      expect((await wire.hears()).status).toBe(200);
      await wire.isClosed();
    });
  });

  test("an unknown expectation does no harm, and who asks to continue may", async () => {
    await onWire(system.origin, async (wire) => {
      wire.says("GET /health/live HTTP/1.1\r\nHost: here\r\nExpect: miracles\r\n\r\n");
      expect((await wire.hears()).status).toBe(200);
      wire.says(
        "POST /api/auth/login HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n",
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n",
      );
      expect((await wire.hears()).status).toBe(100);
      expect((await wire.says("{}").hears()).status).toBe(422);
    });
  });
});

describe("CORS", () => {
  const preflight = (origin: string, path = "/api/events", method = "POST") =>
    ask(system.origin, "OPTIONS", path, {
      headers: {
        origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,if-match",
      },
    });

  test("a preflight of an allowed origin is answered with what it may do", async () => {
    for (const path of ["/api/events", `/api/events/${event.id}`, "/openapi.json"]) {
      const { status, headers } = await preflight(FRIEND, path, "PATCH");
      expect([path, status]).toEqual([path, 204]);
      expect(headers.get("access-control-allow-origin")).toBe(FRIEND);
      expect(headers.get("access-control-allow-methods")).toBe("GET,HEAD,POST,PUT,PATCH,DELETE");
      expect(headers.get("access-control-allow-headers")).toBe(
        "authorization,content-type,if-match",
      );
      expect(headers.get("access-control-allow-credentials")).toBeNull();
      expect(headers.get("vary")).toMatch(/Origin/);
    }
  });

  test("answers and refusals can be read by an allowed origin, with the headers that matter", async () => {
    const paths = [`/api/events/${event.id}`, "/api/nothing", "/api/auth/me", "/health/ready"];
    for (const path of paths) {
      for (const origin of [FRIEND, "http://localhost:8080"]) {
        const { headers } = await ask(system.origin, "GET", path, { headers: { origin } });
        expect(headers.get("access-control-allow-origin")).toBe(origin);
        const exposed = headers.get("access-control-expose-headers")?.split(",");
        expect(exposed).toEqual(
          expect.arrayContaining([
            "ETag",
            "Location",
            "Retry-After",
            "X-Request-Id",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
          ]),
        );
      }
    }
  });

  test.each([
    "https://evil.example",
    "https://app.example.org.evil.example",
    "https://evil-app.example.org",
    "https://app.example",
    "https://app.example.org:8443",
    "http://app.example.org",
    "https://APP.example.org",
    "https://app.example.orgx",
    "app.example.org",
    "https://app.example.org,http://localhost:8080",
    "null",
    "*",
  ])("an origin that is not listed to the letter is told nothing: %s", async (origin) => {
    for (const answer of [
      await preflight(origin),
      await ask(system.origin, "GET", "/api/events", { headers: { origin } }),
    ]) {
      expect(answer.status).toBeLessThan(300);
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
      expect(answer.headers.get("vary")).toMatch(/Origin/);
    }
  });

  test("without origins in the configuration there is none", async () => {
    const closed = await startTestSystem({ database: system.database });
    try {
      for (const method of ["GET", "OPTIONS"]) {
        const headers = { origin: FRIEND, "access-control-request-method": "POST" };
        const answer = await ask(closed.origin, method, "/api/events", { headers });
        expect(answer.headers.get("access-control-allow-origin")).toBeNull();
        expect(answer.headers.get("access-control-allow-methods")).toBeNull();
      }
    } finally {
      await closed.stop();
    }
  });
});

describe("Headers of every answer", () => {
  test.each([
    ["GET", "/api/events"],
    ["GET", "/api/nothing"],
    ["DELETE", "/api/events"],
    ["OPTIONS", "/api/events"],
    ["GET", "/health/live"],
    ["GET", "/docs"],
  ])("%s %s guards the browser", async (method, path) => {
    const { headers } = await ask(system.origin, method, path);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("x-frame-options")).toBe("SAMEORIGIN");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("strict-transport-security")).toMatch(/max-age=\d{6,}/);
    expect(headers.get("content-security-policy")).toMatch(/default-src 'self'/);
    expect(headers.get("x-powered-by")).toBeNull();
    expect(headers.get("server")).toBeNull();
    expect(headers.get("x-request-id")).toMatch(/\S/);
  });

  test("what a person may see is not for caches that others share", async () => {
    const mine = await hanna.tries("GET", "/auth/me");
    expect(mine.headers.get("cache-control")).toMatch(/private|no-store/);
    expect(mine.headers.get("vary")).toMatch(/Authorization/);
    const refused = await ask(system.origin, "GET", "/api/auth/me");
    expect(refused.headers.get("cache-control")).toBe("no-store");
  });
});
