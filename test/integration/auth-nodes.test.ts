import type { Transporter } from "../../lib/broker";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { freePort } from "../support/free-port";
import { Api, Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";

/** What a busy machine may take for the asking, on top of what the contract promises. */
const BUSY_MS = 2_000;

/** Two processes on one database, each with a gateway and all services. */
interface Pair {
  one: TestSystem;
  other: TestSystem;
}

async function strangers(database: TestDatabase): Promise<Pair> {
  return {
    one: await startTestSystem({ database, environment: WITH_ADMINISTRATOR }),
    other: await startTestSystem({ database }),
  };
}

async function neighbours(database: TestDatabase): Promise<Pair> {
  const ports = { one: await freePort(), other: await freePort() };
  const urls = Object.entries(ports).map(([name, port]) => `tcp://127.0.0.1:${port}/${name}`);
  const start = (nodeID: keyof typeof ports) => {
    // Moleculer's types of the options lack `urls`.
    const options: object = { udpDiscovery: false, port: ports[nodeID], urls };
    const transporter: Transporter = { type: "TCP", options };
    const environment = WITH_ADMINISTRATOR;
    return startTestSystem({ database, environment, transporter, nodeID });
  };
  const [one, other] = await Promise.all([start("one"), start("other")]);
  await Promise.all(
    [one, other].flatMap(({ systems }) =>
      systems.map(({ broker }) =>
        eventually(async () => {
          expect(broker.registry.nodes.list({ onlyAvailable: true })).toHaveLength(2);
        }),
      ),
    ),
  );
  return { one, other };
}

const refreshes = (api: Api, refreshToken: string) =>
  api.request("POST", "/auth/refresh", { body: { refreshToken } });

describe.each([
  ["that cannot reach each other know within five seconds", strangers, 5_000 + BUSY_MS],
  ["that reach each other know within a second", neighbours, 1_000 + BUSY_MS],
])("Two nodes %s", (_words, starts, withinMs) => {
  let database: TestDatabase;
  let pair: Pair;
  let here: Api;
  let there: Api;
  beforeAll(async () => {
    database = await createTestDatabase();
    pair = await starts(database);
    here = await Api.at(pair.one.origin);
    there = await Api.at(pair.other.origin);
  });
  afterAll(async () => {
    await Promise.all([pair.one.stop(), pair.other.stop()]);
    await database.drop();
  });

  const endings: [string, (alice: Person) => Promise<unknown>][] = [
    ["signed out", (alice) => alice.does(204, "POST", "/auth/logout")],
    ["was deleted", (alice) => alice.does(204, "DELETE", "/users/me")],
    [
      "has another role",
      async (alice) =>
        (await administrator(here)).does(200, "PATCH", `/users/${alice.who.id}`, { role: "host" }),
    ],
    [
      "showed a spent refresh token",
      async (alice) => {
        expect((await refreshes(here, alice.refreshToken)).status).toBe(200);
        expect((await refreshes(here, alice.refreshToken)).status).toBe(401);
      },
    ],
  ];
  test.each(endings)("that somebody %s", async (_what, ends) => {
    const alice = await here.attendee("Alice");
    const { who, token, refreshToken } = alice;
    const sameThere = new Person(there, who, token, refreshToken);
    await sameThere.does(200, "GET", "/auth/me");
    await ends(alice);
    const refused = async (person: Person) =>
      expectProblem(await person.tries("GET", "/auth/me"), 401, "UNAUTHENTICATED");
    await eventually(() => Promise.all([refused(alice), refused(sameThere)]), withinMs);
    expectProblem(await refreshes(there, refreshToken), 401, "UNAUTHENTICATED");
  });

  test("that somebody changed the password elsewhere", async () => {
    const alice = await here.attendee("Alice");
    const { email, password } = alice.who;
    const login = await there.request("POST", "/auth/login", { body: { email, password } });
    const phone = new Person(there, alice.who, login.body.token, login.body.refreshToken);
    const changes = { currentPassword: password, newPassword: "fresh horse 22" };
    await alice.does(204, "POST", "/auth/change-password", changes);
    await eventually(async () => {
      expectProblem(await phone.tries("GET", "/auth/me"), 401, "UNAUTHENTICATED");
    }, withinMs);
    await alice.does(200, "GET", "/auth/me");
  });

  test("also a node that starts afterwards, from its first answer on", async () => {
    const alice = await here.attendee("Alice");
    await alice.does(204, "POST", "/auth/logout");
    const third = await startTestSystem({ database });
    try {
      const { token } = alice;
      const answer = await (await Api.at(third.origin)).get("/auth/me", { token });
      expectProblem(answer, 401, "UNAUTHENTICATED");
    } finally {
      await third.stop();
    }
  });
});
