import { ServiceUnavailable } from "../../lib/errors";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { createTestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { type Answer, Api, type Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";
import { UnreliableDatabase } from "../support/unreliable-database";

const database = new UnreliableDatabase();
let system: TestSystem;
let api: Api;
beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR, wrapDatabase: database.wrap });
  api = await Api.at(system.origin);
});
afterEach(() => {
  jest.restoreAllMocks();
  database.works();
});
afterAll(() => system.stop());

const brokerOf = ({ systems: [node] }: TestSystem) => {
  if (!node) throw new Error("The system has no node");
  return node.broker;
};

/** The next call of an action finds its service away. */
function isAwayOnce(action: string): { wasMissed: () => boolean } {
  const broker = brokerOf(system);
  const call = broker.call.bind(broker) as (...args: unknown[]) => Promise<unknown>;
  let missed = false;
  jest.spyOn(broker, "call").mockImplementation((...args: unknown[]) => {
    if (args[0] !== action || missed) return call(...args);
    missed = true;
    return Promise.reject(new ServiceUnavailable({ retryAfter: 1 }));
  });
  return { wasMissed: () => missed };
}

const refreshes = (there: Api, refreshToken: string) =>
  there.request("POST", "/auth/refresh", { body: { refreshToken } });
const signsIn = (there: Api, { email, password }: { email: string; password: string }) =>
  there.request("POST", "/auth/login", { body: { email, password } });
const isRefused = async ({ token, refreshToken }: { token: string; refreshToken: string }) => {
  expectProblem(await api.get("/auth/me", { token }), 401, "UNAUTHENTICATED");
  expectProblem(await refreshes(api, refreshToken), 401, "UNAUTHENTICATED");
};
const changesPassword = (person: Person, newPassword: string): Promise<Answer> =>
  person.tries("POST", "/auth/change-password", {
    currentPassword: person.who.password,
    newPassword,
  });

describe("A sign-in with what changes meanwhile", () => {
  const OPENING = /password_hash = \$passwordHash.*FOR SHARE/s;

  test("the old password that was compared before the change opens nothing after it", async () => {
    const alice = await api.attendee("Alice");
    const held = database.holds(OPENING);
    const login = signsIn(api, alice.who);
    await held.isReached;
    expect((await changesPassword(alice, "fresh horse 22")).status).toBe(204);
    held.letGo();
    expectProblem(await login, 401, "INVALID_CREDENTIALS");
    const rows = await system.database.query(
      "SELECT 1 FROM sessions WHERE user_id = $1 AND ended_at IS NULL",
      [alice.who.id],
    );
    expect(rows).toHaveLength(1);
  });

  test("the token has the role of the moment in which the session was opened", async () => {
    const admin = await administrator(api);
    const alice = await api.attendee("Alice");
    const held = database.holds(OPENING);
    const login = signsIn(api, alice.who);
    await held.isReached;
    await admin.does(200, "PATCH", `/users/${alice.who.id}`, { role: "host" });
    held.letGo();
    const { status, body } = await login;
    expect([status, body.user.role]).toEqual([200, "host"]);
    const { role } = JSON.parse(Buffer.from(body.token.split(".")[1], "base64url").toString());
    expect(role).toBe("host");
  });
});

describe("An account that is erased meanwhile", () => {
  /** What is found of the account once the password or the token was found right. */
  const FINDING = /FROM users u WHERE u\.id/;
  const isErasedDuring = async ({ who }: Person, work: () => Promise<Answer>): Promise<Answer> => {
    const held = database.holds(FINDING);
    const answer = work();
    await held.isReached;
    await system.database.query(
      `UPDATE users SET email = NULL, username = NULL, phone = NULL, password_hash = NULL,
              deleted_at = now() WHERE id = $1`,
      [who.id],
    );
    held.letGo();
    return answer;
  };

  test("opens to a sign-in no more than one that there never was", async () => {
    const alice = await api.attendee("Alice");
    const stranger = await signsIn(api, { ...alice.who, email: "nobody@example.org" });
    const refused = await isErasedDuring(alice, () => signsIn(api, alice.who));
    expectProblem(refused, 401, "INVALID_CREDENTIALS");
    expect({ ...refused.body, requestId: "" }).toEqual({ ...stranger.body, requestId: "" });
  });

  test("gives no new tokens", async () => {
    const alice = await api.attendee("Alice");
    const refused = await isErasedDuring(alice, () => refreshes(api, alice.refreshToken));
    expectProblem(refused, 401, "UNAUTHENTICATED");
    expect(refused.body.detail).toMatch(/^The refresh token /);
  });

  test("is nobody to its own access token", async () => {
    const alice = await api.attendee("Alice");
    const refused = await isErasedDuring(alice, () => alice.tries("GET", "/auth/me"));
    expectProblem(refused, 401, "UNAUTHENTICATED");
    expect(refused.body.detail).toContain("Authorization: Bearer");
  });
});

describe("A service that is away for a moment", () => {
  test("a refresh can be repeated with the same token when no token could be signed", async () => {
    const alice = await api.attendee("Alice");
    const core = isAwayOnce("core.$signJwt");
    const refused = await refreshes(api, alice.refreshToken);
    expectProblem(refused, 503, "SERVICE_UNAVAILABLE");
    expect(core.wasMissed()).toBe(true);
    const again = await refreshes(api, alice.refreshToken);
    expect(again.status).toBe(200);
    expect((await refreshes(api, again.body.refreshToken)).status).toBe(200);
  });

  test("a new role whose sessions could not be ended is none, and a repeat does both", async () => {
    const admin = await administrator(api);
    const alice = await api.attendee("Alice");
    const changes = () => admin.tries("PATCH", `/users/${alice.who.id}`, { role: "host" });
    const auth = isAwayOnce("auth.$endSessions");
    expectProblem(await changes(), 503, "SERVICE_UNAVAILABLE");
    expect(auth.wasMissed()).toBe(true);
    expect(await alice.does(200, "GET", "/auth/me")).toMatchObject({ role: "attendee" });
    expect((await changes()).body).toMatchObject({ role: "host" });
    await isRefused(alice);
  });

  test("nor is a new password, and a repeat ends the other sessions", async () => {
    const alice = await api.attendee("Alice");
    const phone = (await signsIn(api, alice.who)).body;
    const auth = isAwayOnce("auth.$endSessions");
    const refused = await changesPassword(alice, "fresh horse 22");
    expectProblem(refused, 503, "SERVICE_UNAVAILABLE");
    expect(auth.wasMissed()).toBe(true);
    expect((await changesPassword(alice, "fresh horse 22")).status).toBe(204);
    await isRefused(phone);
    await alice.does(200, "GET", "/auth/me");
  });
});

describe("Hashes of another cost", () => {
  const comparisons = async (there: TestSystem, work: () => Promise<Answer>) => {
    const call = jest.spyOn(brokerOf(there), "call");
    const { status } = await work();
    const calls = call.mock.calls as unknown as [string, { hash: string }][];
    const costs = calls
      .filter(([name]) => name === "core.$compareText")
      .map(([, { hash }]) => hash.slice(0, 7))
      .sort();
    const hashed = calls.filter(([name]) => name === "core.$hashText").length;
    call.mockRestore();
    return { status, costs, hashed };
  };

  test("an account from cheaper days costs no less than an unknown one, and a sign-in renews it", async () => {
    const { who } = await api.attendee("Alice");
    const dearer = await startTestSystem({
      database: system.database,
      environment: { BCRYPT_ROUNDS: "5" },
    });
    try {
      const there = await Api.at(dearer.origin);
      const stranger = { email: "nobody@example.org", password: "wrong horse 1" };
      // The very first one, too: the hash to compare with was made when the service started.
      expect(await comparisons(dearer, () => signsIn(there, stranger))).toEqual({
        status: 401,
        costs: ["$2b$05$"],
        hashed: 0,
      });
      const wrong = { ...who, password: "wrong horse 1" };
      expect(await comparisons(dearer, () => signsIn(there, wrong))).toEqual({
        status: 401,
        costs: ["$2b$04$", "$2b$05$"],
        hashed: 0,
      });
      expect(await comparisons(dearer, () => signsIn(there, who))).toMatchObject({
        status: 200,
        hashed: 1,
      });
      expect(await comparisons(dearer, () => signsIn(there, who))).toEqual({
        status: 200,
        costs: ["$2b$05$"],
        hashed: 0,
      });
    } finally {
      await dearer.stop();
    }
  });

  test("who signs in twenty times at once while the hash is renewed gets in every time", async () => {
    const { who } = await api.attendee("Alice");
    const dearer = await startTestSystem({
      database: system.database,
      environment: { BCRYPT_ROUNDS: "5" },
    });
    try {
      const there = await Api.at(dearer.origin);
      const answers = await Promise.all(Array.from({ length: 20 }, () => signsIn(there, who)));
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    } finally {
      await dearer.stop();
    }
  });
});

test("what is long over is removed at the start, however much it is, and nothing else", async () => {
  const old = await createTestDatabase();
  try {
    await old.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       VALUES ('01890a5d-ac96-774b-bcce-b302099a8057', 'A', 'a@example.org', 'host', 'x', now(), now())`,
    );
    await old.query(
      `INSERT INTO sessions (id, user_id, created_at, expires_at)
       SELECT gen_random_uuid(), u.id, now(),
              now() + CASE WHEN n <= 2500 THEN interval '-25 hours' ELSE interval '-23 hours' END
         FROM users u, generate_series(1, 2501) n`,
    );
    await old.query(
      `INSERT INTO refresh_tokens (token_hash, session_id, created_at, used_at)
       SELECT sha256(n::text::bytea), s.id, now(),
              CASE WHEN n <= 2500 THEN now() - interval '31 days'
                   WHEN n = 2501 THEN now() - interval '29 days' END
         FROM (SELECT id FROM sessions ORDER BY expires_at DESC LIMIT 1) s,
              generate_series(1, 2502) n`,
    );
    const started = await startTestSystem({ database: old });
    try {
      await eventually(async () => {
        expect(await old.query("SELECT 1 FROM sessions")).toHaveLength(1);
        expect(
          await old.query("SELECT used_at IS NULL AS fresh FROM refresh_tokens ORDER BY 1"),
        ).toEqual([{ fresh: false }, { fresh: true }]);
      });
    } finally {
      await started.stop();
    }
  } finally {
    await old.drop();
  }
});
