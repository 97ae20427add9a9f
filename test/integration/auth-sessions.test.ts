import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { eventually } from "../support/eventually";
import { type Answer, Api, Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { SPREADS, startTestSystem, type TestSystem } from "../support/system";

const refreshes = (api: Api, refreshToken: unknown) =>
  api.request("POST", "/auth/refresh", { body: { refreshToken } });
const whoIs = (api: Api, token: string) => api.get("/auth/me", { token });

/** The words are about the token that was sent, not about a header that nobody needs here. */
function expectRefusedToken(answer: Answer): void {
  expectProblem(answer, 401, "UNAUTHENTICATED");
  expect(answer.body.detail).toMatch(/^The refresh token /);
}

/** The same person in another session. */
async function elsewhere({ who, api }: Person): Promise<Person> {
  const { email, password } = who;
  const { status, body } = await api.request("POST", "/auth/login", { body: { email, password } });
  expect(status).toBe(200);
  return new Person(api, who, body.token, body.refreshToken);
}

async function isSignedIn(person: Person): Promise<void> {
  expect((await whoIs(person.api, person.token)).status).toBe(200);
}
async function isSignedOut(person: Person): Promise<void> {
  expectProblem(await whoIs(person.api, person.token), 401, "UNAUTHENTICATED");
  expectProblem(await refreshes(person.api, person.refreshToken), 401, "UNAUTHENTICATED");
}

describe.each(SPREADS)("Sessions in %s", (spread) => {
  let system: TestSystem;
  let api: Api;
  beforeAll(async () => {
    system = await startTestSystem({ spread, environment: WITH_ADMINISTRATOR });
    api = await Api.at(system.origin);
  });
  afterAll(() => system.stop());

  const endings = async (person: Person) => {
    const rows = await system.database.query(
      "SELECT end_reason FROM sessions WHERE user_id = $1 ORDER BY created_at, id",
      [person.who.id],
    );
    return rows.map(({ end_reason }) => end_reason);
  };

  test("a refresh token gives new tokens; the access token from before still lives", async () => {
    const alice = await api.attendee("Alice");
    const renewed = await refreshes(api, alice.refreshToken);
    expect(renewed.status).toBe(200);
    expect(Object.keys(renewed.body).sort()).toEqual([
      "expiresIn",
      "refreshToken",
      "token",
      "user",
    ]);
    expect(renewed.body.user).toMatchObject({ id: alice.who.id, email: alice.who.email });
    expect(renewed.body.refreshToken).not.toBe(alice.refreshToken);
    await isSignedIn(alice);
    expect((await whoIs(api, renewed.body.token)).status).toBe(200);
    expect((await refreshes(api, renewed.body.refreshToken)).status).toBe(200);
  });

  test("a spent one ends the whole session, newer tokens included, and no other", async () => {
    const alice = await api.attendee("Alice");
    const phone = await elsewhere(alice);
    const first = await refreshes(api, alice.refreshToken);
    const second = await refreshes(api, first.body.refreshToken);
    expect(second.status).toBe(200);

    expectRefusedToken(await refreshes(api, alice.refreshToken));
    expectRefusedToken(await refreshes(api, second.body.refreshToken));
    await eventually(async () => {
      for (const token of [alice.token, first.body.token, second.body.token]) {
        expect((await whoIs(api, token)).status).toBe(401);
      }
    });
    await isSignedIn(phone);
    expect(await endings(alice)).toEqual(["token_reused", null]);
  });

  test("of two who refresh with one token at once, one succeeds, and the session is over", async () => {
    const alice = await api.attendee("Alice");
    const answers = await Promise.all([
      refreshes(api, alice.refreshToken),
      refreshes(api, alice.refreshToken),
    ]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    const winner = answers.find(({ status }) => status === 200);
    expectProblem(await refreshes(api, winner?.body.refreshToken), 401, "UNAUTHENTICATED");
    expect(await endings(alice)).toEqual(["token_reused"]);
  });

  test("signing out ends this session at once, not the others", async () => {
    const alice = await api.attendee("Alice");
    const phone = await elsewhere(alice);
    expect(await alice.does(204, "POST", "/auth/logout")).toBeUndefined();
    await isSignedOut(alice);
    await isSignedIn(phone);
    expectProblem(await alice.tries("POST", "/auth/logout"), 401, "UNAUTHENTICATED");
    await elsewhere(alice);
    expect(await endings(alice)).toEqual(["signed_out", null, null]);
  });

  test("a new password ends the other sessions at once and keeps this one", async () => {
    const alice = await api.attendee("Alice");
    const phone = await elsewhere(alice);
    const changes = { currentPassword: alice.who.password, newPassword: "fresh horse 22" };
    await alice.does(204, "POST", "/auth/change-password", changes);
    await isSignedIn(alice);
    expect((await refreshes(api, alice.refreshToken)).status).toBe(200);
    await isSignedOut(phone);
    const login = (password: string) =>
      api.request("POST", "/auth/login", { body: { email: alice.who.email, password } });
    expectProblem(await login(alice.who.password), 401, "INVALID_CREDENTIALS");
    expect((await login("fresh horse 22")).status).toBe(200);
  });

  test("a role that an administrator changes ends the user's sessions; the next has it", async () => {
    const alice = await api.attendee("Alice");
    const admin = await administrator(api);
    const changed = await admin.does(200, "PATCH", `/users/${alice.who.id}`, { role: "host" });
    expect(changed.role).toBe("host");
    await isSignedOut(alice);
    await (await elsewhere(alice)).createsEvent();

    const ben = await api.attendee("Ben");
    await admin.does(200, "PATCH", `/users/${ben.who.id}`, { role: "attendee", name: "Benjamin" });
    await isSignedIn(ben);
  });
});

describe("Changing a password", () => {
  let system: TestSystem;
  let api: Api;
  let alice: Person;
  beforeAll(async () => {
    system = await startTestSystem();
    api = await Api.at(system.origin);
    alice = await api.attendee("Alice");
  });
  afterAll(() => system.stop());

  const changes = (body: unknown) => alice.tries("POST", "/auth/change-password", body);

  test("needs the current one", async () => {
    const phone = await elsewhere(alice);
    for (const currentPassword of ["wrong horse 1", "x".repeat(73)]) {
      const refused = await changes({ currentPassword, newPassword: "fresh horse 22" });
      expectProblem(refused, 401, "INVALID_CREDENTIALS");
    }
    await isSignedIn(phone);
    await elsewhere(alice);
  });

  test.each([
    ["short1", "newPassword"],
    ["no digit here", "newPassword"],
    [`a1${"x".repeat(71)}`, "newPassword"],
    [null, "newPassword"],
  ])("refuses %j for a new one", async (newPassword, field) => {
    const refused = await changes({ currentPassword: alice.who.password, newPassword });
    expectProblem(refused, 422, "VALIDATION_FAILED");
    expect(refused.body.errors.map((error: { field: string }) => error.field)).toEqual([field]);
  });

  test("is for somebody signed in", async () => {
    const body = { currentPassword: alice.who.password, newPassword: "fresh horse 22" };
    const refused = await api.request("POST", "/auth/change-password", { body });
    expectProblem(refused, 401, "UNAUTHENTICATED");
  });

  test("of five at once one wins, and the others know the current one no more", async () => {
    const cleo = await api.attendee("Cleo");
    const news = Array.from({ length: 5 }, (_, i) => `fresh horse ${i}`);
    const answers = await Promise.all(
      news.map((newPassword) =>
        cleo.tries("POST", "/auth/change-password", {
          currentPassword: cleo.who.password,
          newPassword,
        }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 401, 401, 401, 401]);
    const winner = answers.findIndex(({ status }) => status === 204);
    const { status } = await api.request("POST", "/auth/login", {
      body: { email: cleo.who.email, password: news[winner] },
    });
    expect(status).toBe(200);
  });
});

describe("Refresh tokens that are none", () => {
  let system: TestSystem;
  let api: Api;
  beforeAll(async () => {
    system = await startTestSystem();
    api = await Api.at(system.origin);
  });
  afterAll(() => system.stop());

  test.each(["nonsense", "x".repeat(200), "null", "'; DROP TABLE sessions; --"])(
    "%s: 401",
    async (token) => {
      expectRefusedToken(await refreshes(api, token));
    },
  );
  test.each([undefined, null, "", 5, {}, ["x"], "x".repeat(201), "a\u0000b"])(
    "%j: 422",
    async (token) => {
      expectProblem(await refreshes(api, token), 422, "VALIDATION_FAILED");
    },
  );

  test("an access token refreshes nothing, a refresh token opens nothing", async () => {
    const alice = await api.attendee("Alice");
    expect((await refreshes(api, alice.token)).status).toBe(alice.token.length > 200 ? 422 : 401);
    const refused = await whoIs(api, alice.refreshToken);
    expectProblem(refused, 401, "UNAUTHENTICATED");
    expect(refused.body.detail).toContain("Authorization: Bearer");
    await isSignedIn(alice);
  });

  test("a session whose thirty days are over gives no tokens", async () => {
    const alice = await api.attendee("Alice");
    await system.database.query("UPDATE sessions SET expires_at = now() WHERE user_id = $1", [
      alice.who.id,
    ]);
    expectRefusedToken(await refreshes(api, alice.refreshToken));
  });
});
