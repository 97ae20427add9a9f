import type { Environment } from "../../lib/config";
import { createTestDatabase, type TestDatabase } from "../support/database";
import type { Answer } from "../support/people";
import { ask, expectProblem, json } from "../support/problems";
import { startTestSystem } from "../support/system";

const PASSWORD = "correct horse 1";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  await withLimits({}, async (site) => {
    for (const name of ["alice", "ben"]) {
      const email = `${name}@example.org`;
      const registered = await site.posts("/auth/register", { name, email, password: PASSWORD });
      expect(registered.status).toBe(201);
    }
  });
});
afterAll(() => database.drop());

interface Site {
  gets(path: string, headers?: Record<string, string>): Promise<Answer>;
  posts(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  asks(method: string, path: string): Promise<Answer>;
  /** An access token of alice's or ben's. */
  tokenOf(name: string): Promise<string>;
}

/** A system of its own, because budgets are kept in memory for a minute. */
async function withLimits(environment: Environment, work: (site: Site) => Promise<void>) {
  const system = await startTestSystem({ database, environment });
  const { origin } = system;
  const site: Site = {
    gets: (path, headers = {}) => ask(origin, "GET", path, { headers }),
    posts: (path, body, headers = {}) => {
      const request = json(body);
      return ask(origin, "POST", `/api${path}`, {
        ...request,
        headers: { ...request.headers, ...headers },
      });
    },
    asks: (method, path) => ask(origin, method, path),
    tokenOf: async (name) => {
      const signedIn = await site.posts("/auth/login", { email: `${name}@example.org`, password });
      return signedIn.body.token;
    },
  };
  const password = PASSWORD;
  try {
    await work(site);
  } finally {
    await system.stop();
  }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const budgetOf = ({ headers }: Answer) =>
  ["limit", "remaining"].map((name) => {
    const value = headers.get(`x-ratelimit-${name}`);
    return value === null ? null : Number(value);
  });

function expectLimited(answer: Answer): void {
  expectProblem(answer, 429, "RATE_LIMITED");
  const seconds = Number(answer.headers.get("retry-after"));
  expect(seconds).toBeGreaterThanOrEqual(1);
  expect(seconds).toBeLessThanOrEqual(60);
  expect(answer.headers.get("x-ratelimit-reset")).toBe(String(seconds));
  expect(answer.headers.get("x-ratelimit-remaining")).toBe("0");
}

describe("RATE_LIMIT_API", () => {
  test("every answer tells what is left, until nothing is", () =>
    withLimits({ RATE_LIMIT_API: "6" }, async (site) => {
      const seen = [
        await site.gets("/api/events"),
        await site.gets("/api/nothing"),
        await site.asks("DELETE", "/api/events"),
        await site.gets("/openapi.json"),
        await site.gets("/docs"),
        await site.gets("/api/auth/me"),
      ];
      expect(seen.map(({ status }) => status)).toEqual([200, 404, 405, 200, 200, 401]);
      expect(seen.map(budgetOf)).toEqual([5, 4, 3, 2, 1, 0].map((left) => [6, left]));
      for (const { headers } of seen) {
        const reset = Number(headers.get("x-ratelimit-reset"));
        expect(reset).toBeGreaterThanOrEqual(1);
        expect(reset).toBeLessThanOrEqual(60);
        expect(headers.get("retry-after")).toBeNull();
      }
      expectLimited(await site.gets("/api/events"));
      expectLimited(await site.gets("/api/nothing"));
      expectLimited(await site.posts("/bookings", {}));
    }));

  test("health and preflights cost nothing and are never refused", () =>
    withLimits({ RATE_LIMIT_API: "1" }, async (site) => {
      for (const path of ["/health/live", "/health/ready"]) {
        for (let i = 0; i < 3; i++) {
          const answer = await site.gets(path);
          expect([answer.status, ...budgetOf(answer)]).toEqual([200, 1, 1]);
        }
      }
      expect((await site.asks("OPTIONS", "/api/events")).status).toBe(204);
      expect((await site.gets("/api/events")).status).toBe(200);
      expectLimited(await site.gets("/api/events"));
      expect((await site.gets("/health/live")).status).toBe(200);
      expect((await site.asks("OPTIONS", "/api/events")).status).toBe(204);
    }));

  test("each user has a budget, and an address has one for all who are not signed in", () =>
    withLimits({ RATE_LIMIT_API: "2" }, async (site) => {
      const alice = bearer(await site.tokenOf("alice"));
      const aliceElsewhere = bearer(await site.tokenOf("alice"));
      const ben = bearer(await site.tokenOf("ben"));
      expect(budgetOf(await site.gets("/api/users/me", alice))).toEqual([2, 1]);
      expect(budgetOf(await site.gets("/api/users/me", aliceElsewhere))).toEqual([2, 0]);
      expectLimited(await site.gets("/api/users/me", alice));
      expect((await site.gets("/api/users/me", ben)).status).toBe(200);

      const forged = { authorization: "Bearer forged" };
      expect(budgetOf(await site.gets("/api/events", forged))).toEqual([2, 1]);
      expect(budgetOf(await site.gets("/api/events"))).toEqual([2, 0]);
      expectLimited(await site.gets("/api/events", forged));
      expect((await site.gets("/api/users/me", ben)).status).toBe(200);
    }));

  test("0 switches it off", () =>
    withLimits({ RATE_LIMIT_API: "0", RATE_LIMIT_AUTH: "5" }, async (site) => {
      for (let i = 0; i < 20; i++) {
        const answer = await site.gets("/api/available-events");
        expect([answer.status, ...budgetOf(answer)]).toEqual([200, null, null]);
      }
      const refused = await site.posts("/auth/login", { email: "x@y.org", password: "x" });
      expect(budgetOf(refused)).toEqual([5, 4]);
    }));
});

describe("RATE_LIMIT_AUTH", () => {
  const tries = (site: Site, names: object, password = "wrong") =>
    site.posts("/auth/login", { ...names, password });

  test("so many logins a minute for an account, however it is spelled", () =>
    withLimits({ RATE_LIMIT_AUTH: "3" }, async (site) => {
      const spellings = [
        { email: "alice@example.org" },
        { email: " ALICE@example.org " },
        { usernameOrEmail: "Alice@Example.ORG" },
      ];
      for (const [i, names] of spellings.entries()) {
        const refused = await tries(site, names);
        expectProblem(refused, 401, "INVALID_CREDENTIALS");
        expect(budgetOf(refused)).toEqual([3, 2 - i]);
      }
      expectLimited(await tries(site, { email: "alice@example.org" }, PASSWORD));
      expectLimited(await tries(site, { username: "alice@example.org" }, PASSWORD));
      expect((await tries(site, { email: "ben@example.org" }, PASSWORD)).status).toBe(200);
    }));

  test("an account that nobody has runs out as one that somebody has", () =>
    withLimits({ RATE_LIMIT_AUTH: "1" }, async (site) => {
      expectProblem(await tries(site, { username: "nobody" }), 401, "INVALID_CREDENTIALS");
      expectLimited(await tries(site, { username: "nobody" }));
    }));

  test("ten times as many POSTs under /auth for an address, of whatever kind", () =>
    withLimits({ RATE_LIMIT_AUTH: "1" }, async (site) => {
      const alice = await site.tokenOf("alice");
      for (let i = 0; i < 3; i++) {
        const refused = await site.posts("/auth/refresh", { refreshToken: "spent" });
        expectProblem(refused, 401, "UNAUTHENTICATED");
        expect(budgetOf(refused)).toEqual([10, 8 - i]);
      }
      for (let i = 0; i < 3; i++) {
        expectProblem(await site.posts("/auth/register", {}), 422, "VALIDATION_FAILED");
      }
      for (let i = 0; i < 3; i++) {
        expectProblem(await tries(site, { email: `new${i}@x.org` }), 401, "INVALID_CREDENTIALS");
      }
      expectLimited(await site.posts("/auth/register", {}));
      expectLimited(await tries(site, { email: "ben@example.org" }, PASSWORD));
      expectLimited(await site.posts("/auth/logout", {}, bearer(alice)));
      expect((await site.gets("/api/auth/me", bearer(alice))).status).toBe(200);
      expect((await site.gets("/api/events")).status).toBe(200);
    }));

  test("0 switches it off", () =>
    withLimits({ RATE_LIMIT_AUTH: "0", RATE_LIMIT_API: "2" }, async (site) => {
      for (let i = 0; i < 12; i++) {
        const refused = await tries(site, { email: "alice@example.org" });
        expect([refused.status, refused.headers.get("x-ratelimit-limit")]).toEqual([401, null]);
      }
    }));
});

describe("Whose address counts", () => {
  const from = (forwarded: string) => ({ "x-forwarded-for": forwarded });

  test("the connection's, whatever X-Forwarded-For says", () =>
    withLimits({ RATE_LIMIT_API: "2" }, async (site) => {
      expect((await site.gets("/api/events", from("203.0.113.1"))).status).toBe(200);
      expect((await site.gets("/api/events", from("203.0.113.2"))).status).toBe(200);
      expectLimited(await site.gets("/api/events", from("203.0.113.3")));
      expectLimited(await site.gets("/api/events", { forwarded: "for=203.0.113.4" }));
      expectLimited(await site.gets("/api/events", { "x-real-ip": "203.0.113.5" }));
    }));

  test("behind TRUST_PROXY what the proxy has put last", () =>
    withLimits({ RATE_LIMIT_API: "1", TRUST_PROXY: "127.0.0.1" }, async (site) => {
      expect((await site.gets("/api/events", from("203.0.113.1"))).status).toBe(200);
      expect((await site.gets("/api/events", from("203.0.113.2"))).status).toBe(200);
      expectLimited(await site.gets("/api/events", from("203.0.113.1")));
      expectLimited(await site.gets("/api/events", from("198.51.100.7, 203.0.113.1")));
      expect((await site.gets("/api/events")).status).toBe(200);
    }));

  test("an address that is no proxy of ours is believed nothing", () =>
    withLimits({ RATE_LIMIT_API: "1", TRUST_PROXY: "192.0.2.0/24" }, async (site) => {
      expect((await site.gets("/api/events", from("203.0.113.1"))).status).toBe(200);
      expectLimited(await site.gets("/api/events", from("203.0.113.2")));
    }));

  test("with an address of its own a client has its own budget under /auth too", () =>
    withLimits({ RATE_LIMIT_AUTH: "1", TRUST_PROXY: "loopback" }, async (site) => {
      const tries = (address: string) =>
        site.posts("/auth/refresh", { refreshToken: "x" }, from(address));
      for (let i = 0; i < 10; i++) expect((await tries("203.0.113.1")).status).toBe(401);
      expectLimited(await tries("203.0.113.1"));
      expect((await tries("203.0.113.2")).status).toBe(401);
    }));
});
