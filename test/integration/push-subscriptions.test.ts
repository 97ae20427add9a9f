import { randomUUID } from "node:crypto";
import { MOST_SUBSCRIPTIONS } from "../../services/notifications/notifications.push-subscriptions";
import { Api, type Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { VAPID } from "../support/push-service";
import { type Nodes, startNodes, tally } from "../support/races";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";
import { whileOpen } from "../support/transaction";
import { untilItBites } from "../support/unguarded";

const PATH = "/notifications/push-subscriptions";
const KEYS = { p256dh: VAPID.VAPID_PUBLIC_KEY, auth: "AAAAAAAAAAAAAAAAAAAAAA" };

let nodes: Nodes;
let api: Api;
let alice: Person;
let ben: Person;
beforeAll(async () => {
  // The second as in production, as far as push goes.
  const strict = { ...VAPID, PUSH_NETWORKS: "10.8.0.0/16" };
  nodes = await startNodes({ environment: VAPID }, { environment: strict });
  ({ api } = nodes);
});
beforeEach(async () => {
  [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
});
afterAll(() => nodes.stop());

const endpointOf = (name: string = randomUUID()) => `https://push.example.org/${name}`;
const subscription = (fields: object = {}) => ({
  endpoint: endpointOf(),
  expirationTime: null,
  keys: KEYS,
  ...fields,
});
const rowsOf = ({ who }: Person) =>
  nodes.database.query(
    "SELECT * FROM push_subscriptions WHERE user_id = $1 ORDER BY updated_at, id",
    [who.id],
  );
const endpointsOf = async (person: Person): Promise<string[]> =>
  (await rowsOf(person)).map(({ endpoint }) => endpoint);

test("The key is everybody's, and as a browser takes it", async () => {
  const { status, body } = await api.get("/notifications/push-key");
  expect([status, body]).toEqual([200, { publicKey: VAPID.VAPID_PUBLIC_KEY }]);
});

describe("A browser is subscribed", () => {
  test("with what it says itself", async () => {
    const expirationTime = Date.UTC(2030, 0, 1);
    const asked = subscription({ expirationTime });
    const made = await alice.does(201, "POST", PATH, asked);
    expect(made).toEqual({
      id: expect.any(String),
      endpoint: asked.endpoint,
      expirationTime,
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    });
    expect(await rowsOf(alice)).toMatchObject([
      { id: made.id, ...KEYS, expires_at: new Date(expirationTime) },
    ]);
    const { expirationTime: _, ...without } = subscription();
    expect(await alice.does(201, "POST", PATH, without)).toMatchObject({ expirationTime: null });
  });

  test("once, however often it says so, with the keys that it has last", async () => {
    const asked = subscription({ expirationTime: Date.UTC(2030, 0, 1) });
    const first = await alice.does(201, "POST", PATH, asked);
    const keys = { ...KEYS, auth: "BBBBBBBBBBBBBBBBBBBBBA" };
    const again = await alice.does(201, "POST", PATH, { endpoint: asked.endpoint, keys });
    expect(again).toMatchObject({ id: first.id, createdAt: first.createdAt, expirationTime: null });
    expect(await rowsOf(alice)).toMatchObject([{ id: first.id, auth: keys.auth }]);
  });

  test("once under one key, at several nodes at once", async () => {
    const key = { "Idempotency-Key": randomUUID() };
    const asked = subscription();
    const answers = await Promise.all(
      nodes.times(alice, 30).map((person) => person.tries("POST", PATH, asked, key)),
    );
    const made = answers.filter(({ status }) => status === 201);
    expect(Object.keys(tally(answers)).filter((told) => told !== "201")).toEqual(
      made.length < answers.length ? ["409 IDEMPOTENCY_IN_PROGRESS"] : [],
    );
    const first = made.filter(({ headers }) => !headers.has("idempotency-replayed"));
    expect(first).toHaveLength(1);
    for (const { body } of made) expect(body).toEqual(first[0]?.body);
    expect(await endpointsOf(alice)).toEqual([asked.endpoint]);
  });

  test("for who is signed in there: whoever was before has it no more", async () => {
    const asked = subscription();
    const hers = await alice.does(201, "POST", PATH, asked);
    const his = await ben.does(201, "POST", PATH, asked);
    expect(his.id).not.toBe(hers.id);
    expect([await endpointsOf(alice), await endpointsOf(ben)]).toEqual([[], [asked.endpoint]]);
    // Nor takes she it back.
    await alice.does(204, "DELETE", PATH, { endpoint: asked.endpoint });
    expect(await endpointsOf(ben)).toEqual([asked.endpoint]);
  });

  test("in one spelling", async () => {
    const name = randomUUID();
    await alice.does(201, "POST", PATH, subscription({ endpoint: endpointOf(name) }));
    const other = `HTTPS://Push.Example.org:443/a/../${name}`;
    await alice.does(201, "POST", PATH, subscription({ endpoint: other }));
    expect(await endpointsOf(alice)).toEqual([endpointOf(name)]);
    await alice.does(204, "DELETE", `${PATH}?endpoint=${encodeURIComponent(other)}`);
    expect(await endpointsOf(alice)).toEqual([]);
  });
});

describe("Of one person's browsers", () => {
  const fill = async (count: number): Promise<string[]> => {
    const endpoints = Array.from({ length: count }, () => endpointOf());
    for (const endpoint of endpoints) {
      await alice.does(201, "POST", PATH, subscription({ endpoint }));
    }
    return endpoints;
  };

  test("the newest are kept, and one that says so again is new again", async () => {
    const [first = "", second, ...others] = await fill(MOST_SUBSCRIPTIONS);
    await alice.does(201, "POST", PATH, subscription({ endpoint: first }));
    const [last] = await fill(1);
    expect(await endpointsOf(alice)).toEqual([...others, first, last]);
    expect(second).toBeDefined();
  });

  const many = () =>
    Promise.all(nodes.times(alice, 60).map((person) => person.tries("POST", PATH, subscription())));

  test("no more are kept when many come at once to several nodes", async () => {
    expect(tally(await many())).toEqual({ 201: 60 });
    expect(await rowsOf(alice)).toHaveLength(MOST_SUBSCRIPTIONS);
  });

  test("Control: more are kept where they do not wait for each other", async () => {
    const unguarded = (sql: string) =>
      sql.includes("pg_advisory_xact_lock") ? "SELECT $userId::uuid AS id" : sql;
    const bites = () =>
      untilItBites(async () => {
        await many();
        return (await rowsOf(alice)).length > MOST_SUBSCRIPTIONS;
      });
    expect(await nodes.without(unguarded, bites)).toBe(true);
  });

  test("one that several people want at once is one person's", async () => {
    const asked = subscription();
    const crowd = await nodes.crowd(20);
    const answers = await Promise.all(crowd.map((person) => person.tries("POST", PATH, asked)));
    expect(tally(answers)).toEqual({ 201: 20 });
    const rows = await nodes.database.query(
      "SELECT user_id FROM push_subscriptions WHERE endpoint = $1",
      [asked.endpoint],
    );
    expect(rows).toHaveLength(1);
  });
});

describe("What is no subscription is refused by its field", () => {
  const { p256dh, auth } = KEYS;
  /** With an x of a point, and a y by which it lies on no curve. */
  const spoilt = Buffer.from(p256dh, "base64url");
  spoilt[64] = (spoilt[64] ?? 0) ^ 1;
  const compressed = Buffer.concat([Buffer.from([2]), spoilt.subarray(1, 33)]);

  test.each<[string, object, string[]]>([
    ["nothing", { endpoint: undefined, keys: undefined }, ["endpoint", "keys"]],
    ["no URL", { endpoint: "push.example.org/x" }, ["endpoint"]],
    ["another protocol", { endpoint: "ftp://push.example.org/x" }, ["endpoint"]],
    ["a script", { endpoint: "javascript:alert(1)" }, ["endpoint"]],
    ["a password", { endpoint: "https://a:b@push.example.org/x" }, ["endpoint"]],
    ["a fragment", { endpoint: "https://push.example.org/x#y" }, ["endpoint"]],
    ["too long", { endpoint: `https://push.example.org/${"x".repeat(2000)}` }, ["endpoint"]],
    ["too long as bytes", { endpoint: `https://a.example/${"🎻".repeat(400)}` }, ["endpoint"]],
    ["no text", { endpoint: { href: "https://push.example.org" } }, ["endpoint"]],
    ["no keys", { keys: {} }, ["keys.p256dh", "keys.auth"]],
    ["keys of nothing", { keys: { p256dh: "", auth: "" } }, ["keys.p256dh", "keys.auth"]],
    ["padded keys", { keys: { p256dh, auth: `${auth}==` } }, ["keys.auth"]],
    ["a short secret", { keys: { p256dh, auth: auth.slice(1) } }, ["keys.auth"]],
    [
      "another spelling of a secret",
      { keys: { p256dh, auth: `${auth.slice(1)}B` } },
      ["keys.auth"],
    ],
    ["no point", { keys: { p256dh: spoilt.toString("base64url"), auth } }, ["keys.p256dh"]],
    [
      "a point in short",
      { keys: { p256dh: compressed.toString("base64url"), auth } },
      ["keys.p256dh"],
    ],
    ["more keys", { keys: { ...KEYS, other: "x" } }, ["keys.other"]],
    ["a time as text", { expirationTime: "2030-01-01T00:00:00Z" }, ["expirationTime"]],
    ["a time before all", { expirationTime: -1 }, ["expirationTime"]],
    ["a time after all", { expirationTime: 1e16 }, ["expirationTime"]],
    ["somebody else's", { userId: randomUUID() }, ["userId"]],
  ])("%s", async (_words, fields, at) => {
    const answer = await alice.tries("POST", PATH, subscription(fields));
    expectRefusal(answer, 422, "VALIDATION_FAILED", at);
    expect(await rowsOf(alice)).toEqual([]);
  });

  test.each([
    ...["http://127.0.0.1:3000/x", "https://127.0.0.1/x", "https://[::1]/x", "https://10.1.2.3/x"],
    ...["http://169.254.169.254/latest/meta-data", "https://2130706433/x", "http://93.184.216.34/"],
  ])("%s, which only the server could reach, or anybody could read", async (endpoint) => {
    const strictly = nodes.elsewhere(alice);
    const answer = await strictly.tries("POST", PATH, subscription({ endpoint }));
    expectRefusal(answer, 422, "VALIDATION_FAILED", ["endpoint"]);
    expect(await rowsOf(alice)).toEqual([]);
  });

  test("but not what an operator allows", async () => {
    const own = "http://10.8.1.2:8080/x";
    await nodes.elsewhere(alice).does(201, "POST", PATH, subscription({ endpoint: own }));
    const loopback = "http://127.0.0.1:8080/x";
    await alice.does(201, "POST", PATH, subscription({ endpoint: loopback }));
    expect(await endpointsOf(alice)).toEqual([own, loopback]);
  });
});

describe("A browser is subscribed no more", () => {
  test("by a body or by a query, also where it was not", async () => {
    const [one, two] = [subscription(), subscription()];
    for (const asked of [one, two]) await alice.does(201, "POST", PATH, asked);
    for (let i = 0; i < 2; i++) {
      await alice.does(204, "DELETE", PATH, { endpoint: one.endpoint });
      expect(await endpointsOf(alice)).toEqual([two.endpoint]);
    }
    for (let i = 0; i < 2; i++) {
      await alice.does(204, "DELETE", `${PATH}?endpoint=${encodeURIComponent(two.endpoint)}`);
      expect(await endpointsOf(alice)).toEqual([]);
    }
  });

  test("unless it is not said which", async () => {
    for (const [path, body] of [
      [PATH, undefined],
      [PATH, {}],
      [`${PATH}?endpoint=x`, undefined],
      [`${PATH}?endpoint=${encodeURIComponent(endpointOf())}`, { endpoint: "x" }],
    ] as const) {
      const answer = await alice.tries("DELETE", path, body);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["endpoint"]);
    }
    const more = await alice.tries("DELETE", PATH, { ...subscription() });
    expectRefusal(more, 422, "VALIDATION_FAILED", ["expirationTime", "keys"]);
  });

  test("when its person is erased", async () => {
    await alice.does(201, "POST", PATH, subscription());
    await ben.does(201, "POST", PATH, subscription());
    await alice.does(204, "DELETE", "/users/me");
    expect([await rowsOf(alice), await rowsOf(ben)]).toEqual([[], [expect.anything()]]);
  });
});

test("While somebody's row is held they are told to come again, and nothing is done later", async () => {
  await whileOpen(
    nodes.database,
    "SELECT FROM users WHERE id = $1 FOR UPDATE",
    [alice.who.id],
    async (holder) => {
      expectProblem(await alice.tries("POST", PATH, subscription()), 503, "SERVICE_UNAVAILABLE");
      await ben.does(201, "POST", PATH, subscription());
      await holder.commits();
    },
  );
  expect(await rowsOf(alice)).toEqual([]);
});

test("Of who is erased meanwhile nothing is kept", async () => {
  await nodes.database.query(
    `UPDATE users SET deleted_at = now(), email = NULL, username = NULL, phone = NULL, password_hash = NULL
      WHERE id = $1`,
    [alice.who.id],
  );
  expectProblem(await alice.tries("POST", PATH, subscription()), 401, "UNAUTHENTICATED");
  expect(await rowsOf(alice)).toEqual([]);
});

describe("Without keys", () => {
  let system: TestSystem;
  let bare: Person;
  beforeAll(async () => {
    system = await startTestSystem();
    bare = await (await Api.at(system.origin)).attendee("Alice");
  });
  afterAll(() => system.stop());

  test("there is no push, and what is taken back is not there", async () => {
    for (const answer of [
      await bare.tries("GET", "/notifications/push-key"),
      await bare.tries("POST", PATH, subscription()),
    ]) {
      expectProblem(answer, 404, "PUSH_NOT_AVAILABLE");
    }
    await bare.does(204, "DELETE", PATH, { endpoint: endpointOf() });
  });
});
