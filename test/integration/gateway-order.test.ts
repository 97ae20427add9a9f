import { Api, type Event, type Person } from "../support/people";
import { type AskOptions, ask, expectProblem, json } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";

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

describe("Where several errors apply, the first of the contract's order answers", () => {
  const TOO_LARGE = "x".repeat(1_048_577);
  const plain = { "content-type": "text/plain" };
  let henry: Person;
  let alice: Person;
  beforeAll(async () => {
    henry = await api.host("Henry");
    alice = await api.attendee("Alice");
    await alice.books(event, 3);
  });

  /** Each step mends the first fault of the one before it and keeps the others. */
  const ladder: [string, () => [string, string, AskOptions], number, string][] = [
    [
      "a path that leads nowhere",
      () => [
        "PATCH",
        "/api/nothing",
        { headers: { ...plain, ...bearer("forged") }, body: TOO_LARGE },
      ],
      404,
      "NOT_FOUND",
    ],
    [
      "a method that the path lacks",
      () => [
        "POST",
        `/api/events/${event.id}`,
        { headers: { ...plain, ...bearer("forged") }, body: TOO_LARGE },
      ],
      405,
      "METHOD_NOT_ALLOWED",
    ],
    [
      "a body that is too large",
      () => [
        "PATCH",
        `/api/events/${event.id}`,
        { headers: { ...plain, ...bearer("forged") }, body: TOO_LARGE },
      ],
      413,
      "PAYLOAD_TOO_LARGE",
    ],
    [
      "a body of a wrong type",
      () => [
        "PATCH",
        `/api/events/${event.id}`,
        { headers: { ...plain, ...bearer("forged") }, body: "{" },
      ],
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    [
      "a body that is no JSON",
      () => [
        "PATCH",
        `/api/events/${event.id}`,
        { headers: { "content-type": "application/json", ...bearer("forged") }, body: "{" },
      ],
      400,
      "MALFORMED_JSON",
    ],
    [
      "a bad token",
      () => {
        const { headers, body } = json({ capacity: 0 });
        return [
          "PATCH",
          `/api/events/${NOBODY}`,
          { headers: { ...headers, ...bearer("forged") }, body: body ?? "" },
        ];
      },
      401,
      "UNAUTHENTICATED",
    ],
  ];
  test.each(ladder)("%s", async (_words, request, status, code) => {
    expectProblem(await ask(system.origin, ...request()), status, code);
  });

  test("then the role, the fields, the thing, whose it is, its version, its state", async () => {
    const stale = { "if-match": '"0-stale"' };
    const tries = (who: Person, id: string, body: unknown, headers?: Record<string, string>) =>
      who.tries("PATCH", `/events/${id}`, body, headers);

    expectProblem(await tries(alice, NOBODY, { capacity: 0 }, stale), 403, "FORBIDDEN");
    expectProblem(await tries(henry, NOBODY, { capacity: 0 }, stale), 422, "VALIDATION_FAILED");
    expectProblem(await tries(henry, "no-id", { capacity: 0 }, stale), 422, "VALIDATION_FAILED");
    expectProblem(await tries(henry, NOBODY, { capacity: 1 }, stale), 404, "EVENT_NOT_FOUND");
    expectProblem(await tries(henry, "no-id", { capacity: 1 }, stale), 404, "EVENT_NOT_FOUND");
    expectProblem(await tries(henry, event.id, { capacity: 1 }, stale), 403, "FORBIDDEN");
    expectProblem(await tries(hanna, event.id, { capacity: 1 }, stale), 412, "PRECONDITION_FAILED");
    const refused = await tries(hanna, event.id, { capacity: 1 }, { "if-match": "*" });
    expectProblem(refused, 409, "CAPACITY_BELOW_SOLD");
    expect((await tries(hanna, event.id, { capacity: 5 })).status).toBe(200);
  });

  test("a bad token is refused on a public endpoint too, and only once the route is known", async () => {
    for (const header of ["Bearer nonsense", "Bearer ", "Bearer", "Basic YTpi", ""]) {
      const headers = { authorization: header };
      const answer = await ask(system.origin, "GET", "/api/events", { headers });
      expectProblem(answer, 401, "UNAUTHENTICATED");
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
    }
    const headers = bearer("nonsense");
    expectProblem(await ask(system.origin, "GET", "/api/nope", { headers }), 404, "NOT_FOUND");
    const wrongMethod = await ask(system.origin, "DELETE", "/api/events", { headers });
    expectProblem(wrongMethod, 405, "METHOD_NOT_ALLOWED");
  });

  test("a public endpoint keeps the order as well", async () => {
    const signsIn = (body: string, headers: Record<string, string> = {}) =>
      ask(system.origin, "POST", "/api/auth/login", {
        headers: { "content-type": "application/json", ...headers },
        body,
      });
    const forged = bearer("forged");
    expectProblem(await signsIn("{", forged), 400, "MALFORMED_JSON");
    expectProblem(await signsIn("{}", forged), 401, "UNAUTHENTICATED");
    expectProblem(await signsIn("{}"), 422, "VALIDATION_FAILED");
    const wrong = JSON.stringify({ email: hanna.who.email, password: "wrong horse 1" });
    expectProblem(await signsIn(wrong), 401, "INVALID_CREDENTIALS");
  });
});
