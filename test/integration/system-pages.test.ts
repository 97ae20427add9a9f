import { startSystem } from "../../system";
import { createTestDatabase } from "../support/database";
import type { Answer } from "../support/people";
import { ask, expectProblem } from "../support/problems";
import { startTestSystem, type TestSystem, testConfig } from "../support/system";

let system: TestSystem;
beforeAll(async () => {
  system = await startTestSystem();
});
afterAll(() => system.stop());

const get = (path: string, headers: Record<string, string> = {}) =>
  ask(system.origin, "GET", path, { headers });

describe("Health", () => {
  test.each(["/health/live", "/health/ready"])("%s", async (path) => {
    const answer = await get(path);
    expect([answer.status, answer.body]).toEqual([200, { status: "ok" }]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
    const anyhow = await get(`${path}?nonsense=1`, { authorization: "Bearer nonsense" });
    expect(anyhow.status).toBe(200);
    expectProblem(await ask(system.origin, "POST", path), 405, "METHOD_NOT_ALLOWED");
  });

  test("a gateway without the services behind it lives and is not ready", async () => {
    const database = await createTestDatabase();
    const config = testConfig(database.url);
    const run = ["core", "auth", "users", "api"] as const;
    const part = await startSystem({ config, databaseUrl: database.url, run });
    const origin = `http://127.0.0.1:${part.address?.port}`;
    try {
      expect((await ask(origin, "GET", "/health/live")).status).toBe(200);
      const refused = await Promise.all([
        ask(origin, "GET", "/health/ready"),
        ask(origin, "GET", "/api/events"),
      ]);
      for (const answer of refused) {
        expectProblem(answer, 503, "SERVICE_UNAVAILABLE");
        expect(answer.headers.get("retry-after")).toMatch(/^\d+$/);
      }
    } finally {
      await part.stop();
      await database.drop();
    }
  });
});

describe("The API's description", () => {
  test("is public OpenAPI 3.1", async () => {
    const { status, headers, body } = await get("/openapi.json");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toMatch(/^application\/json/);
    expect(body.openapi).toMatch(/^3\.1\./);
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining(["/api/auth/login", "/api/events/{id}", "/health/ready"]),
    );
  });

  test("publishes no internal action", async () => {
    const { body } = await get("/openapi.json");
    expect(JSON.stringify(body)).not.toMatch(/\$(create|hashText|verifyJwt|ensureAdmin)|Hash"/);
  });
});

describe("The documentation", () => {
  /** Everything that a browser would fetch for a page. */
  const references = ({ body }: Answer): string[] =>
    [...String(body).matchAll(/\b(?:src|href)="([^"]*)"/g)].map((match) => match[1] ?? "");

  test("comes whole from this server", async () => {
    const page = await get("/docs");
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toMatch(/^text\/html/);
    expect(page.body).not.toMatch(/https?:|\/\/[a-z]/i);
    const files = references(page);
    expect(files.length).toBeGreaterThanOrEqual(3);
    const types = new Map([
      ["css", "text/css"],
      ["js", "text/javascript"],
      ["png", "image/png"],
    ]);
    for (const file of files) {
      expect(file).toMatch(/^\/docs\//);
      const { status, headers, body } = await get(file);
      expect([file, status]).toEqual([file, 200]);
      expect(headers.get("content-type")).toContain(types.get(file.split(".").at(-1) ?? ""));
      expect(body.length).toBeGreaterThan(100);
    }
    expect((await get("/docs/")).body).toBe(page.body);
  });

  test("needs no exception in the content security policy", async () => {
    const page = await get("/docs");
    const policy = page.headers.get("content-security-policy") ?? "";
    expect(policy).toMatch(/script-src 'self'(;|$)/);
    expect(policy).not.toMatch(/unsafe-eval|upgrade-insecure-requests/);
    expect(page.body).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son\w+=|javascript:/i);
  });

  test("shows the description of this very server", async () => {
    const { body } = await get("/docs/start.js");
    expect(body).toContain('url: "/openapi.json"');
    expect(body).toContain("validatorUrl: null");
    expect(body).not.toMatch(/https?:/);
  });

  test.each(["/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js"])(
    "%s is not sent again to who has it",
    async (path) => {
      const tag = (await get(path)).headers.get("etag") ?? "";
      expect(tag).toMatch(/^(W\/)?"[^"]+"$/);
      for (const known of [tag, tag.replace("W/", ""), `"other", ${tag}`, "*"]) {
        const again = await get(path, { "if-none-match": known });
        expect([again.status, again.body]).toEqual([304, ""]);
        expect(again.headers.get("etag")).toBe(tag);
      }
      expect((await get(path, { "if-none-match": '"other"' })).status).toBe(200);
    },
  );

  test("another start keeps the tags", async () => {
    const again = await startTestSystem({ database: system.database });
    try {
      const tag = (await get("/openapi.json")).headers.get("etag");
      const answer = await ask(again.origin, "GET", "/openapi.json");
      expect(answer.headers.get("etag")).toBe(tag);
    } finally {
      await again.stop();
    }
  });
});
