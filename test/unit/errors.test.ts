import { Errors } from "moleculer";
import {
  AppError,
  defineError,
  errorCatalogue,
  exposedError,
  Internal,
  isError,
  NotFound,
  PreconditionFailed,
  RateLimited,
  ServiceUnavailable,
  ValidationFailed,
} from "../../lib/errors";
// Every kind is defined where it belongs: with the services' contracts.
import "../../services/contracts";

const kinds = [...errorCatalogue().values()];

/** An error as it arrives from another node: without its class, its fields as JSON left them. */
function fromAnotherNode(error: Error): Error {
  const { name, message, ...fields } = JSON.parse(
    JSON.stringify({ ...error, name: error.name, message: error.message }),
  );
  return Object.assign(new Error(message), { name, ...fields });
}

describe("The catalogue", () => {
  test.each(kinds.map((kind) => [kind.code, kind] as const))("%s is well formed", (code, kind) => {
    expect(code).toMatch(/^[A-Z]+(_[A-Z]+)*$/);
    expect(kind.status).toBeGreaterThanOrEqual(400);
    expect(kind.status).toBeLessThan(600);
    expect(kind.title).not.toBe("");
    // Facts may be lost on the way; the words must not make it worse.
    expect(kind.detail({})).toEqual(expect.stringMatching(/\w.*\.$/));
  });

  test("gives one code one meaning", () => {
    expect(() => defineError(NotFound.code, 404, "Again", () => "Again.")).toThrow(/NOT_FOUND/);
    expect(errorCatalogue().get(NotFound.code)).toBe(NotFound);
  });

  test("has the codes that the API's users share", () => {
    const shared = {
      VALIDATION_FAILED: 422,
      MALFORMED_JSON: 400,
      UNAUTHENTICATED: 401,
      FORBIDDEN: 403,
      NOT_FOUND: 404,
      METHOD_NOT_ALLOWED: 405,
      REQUEST_TIMEOUT: 408,
      PRECONDITION_FAILED: 412,
      PAYLOAD_TOO_LARGE: 413,
      UNSUPPORTED_MEDIA_TYPE: 415,
      RATE_LIMITED: 429,
      SERVICE_UNAVAILABLE: 503,
      INTERNAL: 500,
    };
    const found = Object.keys(shared).map((code) => [code, errorCatalogue().get(code)?.status]);
    expect(Object.fromEntries(found)).toEqual(shared);
  });
});

describe("An error", () => {
  const error = new PreconditionFailed({ version: 3 });

  test("is made from facts and says them", () => {
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({
      type: "PRECONDITION_FAILED",
      code: 412,
      data: { version: 3 },
      retryable: false,
    });
    expect(error.message).toContain("version 3");
  });

  test("has the lines that made it where it is a fault of ours, and none where it is an answer", () => {
    const limit = Error.stackTraceLimit;
    const lines = (error: Error) => error.stack?.split("\n").filter((line) => /^ +at /.test(line));
    expect(lines(new ServiceUnavailable({}))?.length).toBeGreaterThan(0);
    expect(lines(new NotFound({}))).toEqual([]);
    expect(lines(new Error("of anybody after that"))?.length).toBeGreaterThan(0);
    expect(Error.stackTraceLimit).toBe(limit);
  });

  test("is known by its code here and on another node", () => {
    for (const either of [error, fromAnotherNode(error)]) {
      expect(isError(either, PreconditionFailed)).toBe(true);
      expect(isError(either, NotFound)).toBe(false);
    }
    expect(isError(new Error("PRECONDITION_FAILED"), PreconditionFailed)).toBe(false);
    expect(isError({ type: "PRECONDITION_FAILED" }, PreconditionFailed)).toBe(false);
    expect(isError(undefined, PreconditionFailed)).toBe(false);
  });

  test("of validation names the only field at fault, or how many there are", () => {
    const one = { field: "title", message: "is required" };
    expect(new ValidationFailed({ errors: [one] }).message).toBe("title: is required");
    expect(new ValidationFailed({ errors: [one, one] }).message).toMatch(/^2 fields/);
  });
});

describe("What a client may know", () => {
  test.each(kinds.map((kind) => [kind.code, kind] as const))(
    "of %s: its kind and facts, from this node or another",
    (_code, kind) => {
      const facts = { eventId: "an id", retryAfter: 7 };
      const error = new kind(facts);
      expect(exposedError(error)).toEqual({ kind, facts });
      expect(exposedError(fromAnotherNode(error))).toEqual({ kind, facts });
    },
  );

  test("of an error whose facts were lost: its kind", () => {
    const bare = Object.assign(new Error("gone"), { type: RateLimited.code });
    expect(exposedError(bare)).toEqual({ kind: RateLimited, facts: {} });
    const odd = Object.assign(new Error("gone"), { type: RateLimited.code, data: "text" });
    expect(exposedError(odd)).toEqual({ kind: RateLimited, facts: {} });
  });

  test.each([
    ["no node runs the service", new Errors.ServiceNotFoundError({ action: "a.b" })],
    ["its node is gone", new Errors.ServiceNotAvailableError({ action: "a.b" })],
    ["it took too long", new Errors.RequestTimeoutError({ action: "a.b", nodeID: "n" })],
    ["no time was left", new Errors.RequestSkippedError({ action: "a.b", nodeID: "n" })],
    ["it was rejected", new Errors.RequestRejectedError({ action: "a.b", nodeID: "n" })],
    [
      "its queue is full",
      new Errors.QueueIsFullError({ action: "a.b", nodeID: "n", size: 1, limit: 1 }),
    ],
    ["the connection between nodes is gone", new Errors.BrokerDisconnectedError("gone")],
  ])("where %s: that it is not available, and when to come again", (_why, error) => {
    for (const either of [error, fromAnotherNode(error)]) {
      const { kind, facts } = exposedError(either);
      expect(kind).toBe(ServiceUnavailable);
      expect(facts).toEqual({ retryAfter: expect.any(Number) });
    }
  });

  test.each<[string, unknown]>([
    ["a fault of the program", new TypeError("Cannot read properties of undefined (/app/x.js)")],
    ["a fault of the database", Object.assign(new Error("relation users"), { code: "42P01" })],
    [
      "Moleculer's own validation",
      new Errors.ValidationError("Parameters", "VALIDATION_ERROR", {}),
    ],
    ["a client error of Moleculer's", new Errors.MoleculerClientError("secret", 418, "ODD", {})],
    ["a code that is only a status", Object.assign(new Error("x"), { code: 404 })],
    ["a type that is no text", Object.assign(new Error("x"), { type: { code: "NOT_FOUND" } })],
    ["a name that every object has", Object.assign(new Error("x"), { type: "constructor" })],
    ["a thrown text", "SELECT * FROM users"],
    ["a thrown nothing", undefined],
    ["a thrown null", null],
  ])("of %s: nothing", (_what, error) => {
    const { kind, facts } = exposedError(error);
    expect(kind).toBe(Internal);
    expect(facts).toEqual({});
    expect(kind.detail(facts)).not.toMatch(/app|users|secret|SELECT/);
  });
});
