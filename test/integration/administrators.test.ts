/**
 * Once there is an administrator there always is one: who is the last can neither give up the role nor be
 * deleted, not even when all of them go at the same time. The races are real ones over HTTP on a real
 * database; the controls show what happens to them without the locks.
 */
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { type Answer, Api, Person } from "../support/people";
import { expectProblem, outcome } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";
import { untilItBites, withoutLocks } from "../support/unguarded";
import { UnreliableDatabase } from "../support/unreliable-database";

const pathOf = ({ who }: Person) => `/users/${who.id}`;
const takesTheRoleFrom = (one: Person, other: Person) =>
  one.tries("PATCH", pathOf(other), { role: "host" });
const deletes = (one: Person, other: Person) => one.tries("DELETE", pathOf(other));

const administratorsOf = async ({ database }: TestSystem): Promise<string[]> => {
  const rows = await database.query(
    "SELECT id FROM users WHERE role = 'admin' AND deleted_at IS NULL",
  );
  return rows.map(({ id }) => id);
};

/** So many administrators, and no others. */
async function administrators(system: TestSystem, api: Api, count: number): Promise<Person[]> {
  await system.database.query("UPDATE users SET role = 'attendee' WHERE role = 'admin'");
  return crowd(system, api, count, "admin");
}

describe("The last administrator", () => {
  const database = new UnreliableDatabase();
  let system: TestSystem;
  let api: Api;
  let ada: Person;
  beforeAll(async () => {
    system = await startTestSystem({
      environment: WITH_ADMINISTRATOR,
      wrapDatabase: database.wrap,
    });
    api = await Api.at(system.origin);
    ada = await administrator(api);
  });
  afterEach(() => database.works());
  afterAll(() => system.stop());

  const rowOf = async ({ who }: Person) => {
    const [row] = await system.database.query("SELECT * FROM users WHERE id = $1", [who.id]);
    return row;
  };
  /** A new administrator, by the hand of one. */
  const secondAdministrator = async (): Promise<Person> => {
    const grace = await api.attendee("Grace");
    await ada.does(200, "PATCH", pathOf(grace), { role: "admin" });
    return signedInAgain(grace);
  };
  const signedInAgain = async ({ who }: Person): Promise<Person> => {
    const { email, password } = who;
    const { body } = await api.request("POST", "/auth/login", { body: { email, password } });
    return new Person(api, who, body.token, body.refreshToken);
  };

  test.each(["attendee", "host"])("does not become %s, and nothing changes", async (role) => {
    const before = await rowOf(ada);
    for (const method of ["PUT", "PATCH"]) {
      const refused = await ada.tries(method, "/users/me", { role, name: "Nobody" });
      expectProblem(refused, 409, "LAST_ADMINISTRATOR");
    }
    expect(await rowOf(ada)).toEqual(before);
    await ada.does(200, "GET", "/auth/me");
  });

  test("changes everything else, and may be called an administrator again", async () => {
    const changed = await ada.does(200, "PATCH", "/users/me", { name: "Ada", role: "admin" });
    expect(changed).toMatchObject({ name: "Ada", role: "admin" });
  });

  test("keeps the account and whatever is in it", async () => {
    const grace = await api.host("Grace");
    const event = await grace.createsEvent();
    await system.database.query("UPDATE users SET role = 'admin' WHERE id = $1", [grace.who.id]);
    await system.database.query("UPDATE users SET role = 'host' WHERE id = $1", [ada.who.id]);
    try {
      const last = await signedInAgain(grace);
      expectProblem(await last.tries("DELETE", "/users/me"), 409, "LAST_ADMINISTRATOR");
      await last.does(200, "GET", "/auth/me");
      expect((await api.get(`/events/${event.id}`)).status).toBe(200);
    } finally {
      await system.database.query("UPDATE users SET role = 'admin' WHERE id = $1", [ada.who.id]);
    }
    await ada.does(204, "DELETE", pathOf(grace));
  });

  test("is not counted among the erased: with a second one either may go, and the other not", async () => {
    const grace = await secondAdministrator();
    await ada.does(204, "DELETE", pathOf(grace));
    expectProblem(await ada.tries("DELETE", "/users/me"), 409, "LAST_ADMINISTRATOR");
    const helen = await secondAdministrator();
    await helen.does(200, "PATCH", "/users/me", { role: "host" });
    expectProblem(await takesTheRoleFrom(ada, ada), 409, "LAST_ADMINISTRATOR");
    expect(await administratorsOf(system)).toEqual([ada.who.id]);
  });

  test("may give others whatever role", async () => {
    const ben = await api.attendee("Ben");
    await ada.does(200, "PATCH", pathOf(ben), { role: "host" });
    await ada.does(200, "PATCH", pathOf(ben), { role: "attendee" });
    await ada.does(204, "DELETE", pathOf(ben));
  });

  test("who is made one again while being deleted stays, and a repeat deletes them", async () => {
    const grace = await secondAdministrator();
    const held = database.holds(/FROM users WHERE id = \$id::uuid FOR UPDATE/);
    const deleted = deletes(ada, grace);
    await held.isReached;
    await ada.does(200, "PATCH", pathOf(grace), { role: "admin" });
    held.letGo();
    expectProblem(await deleted, 503, "SERVICE_UNAVAILABLE");
    expect(await ada.does(200, "GET", pathOf(grace))).toMatchObject({
      email: grace.who.email,
      role: "admin",
    });
    await ada.does(204, "DELETE", pathOf(grace));
    expectProblem(await ada.tries("GET", pathOf(grace)), 404, "USER_NOT_FOUND");
  });
});

/** How all administrators go at once: what each of them does, given whose turn is next. */
const WAYS: [string, number, (one: Person, next: Person, turn: number) => Promise<Answer>][] = [
  ["five give up the role", 5, (one) => takesTheRoleFrom(one, one)],
  ["five delete themselves", 5, (one) => deletes(one, one)],
  [
    "five do the one or the other",
    5,
    (one, _next, turn) => (turn % 2 ? deletes(one, one) : takesTheRoleFrom(one, one)),
  ],
  ["two take the role from each other", 2, takesTheRoleFrom],
  ["two delete each other", 2, deletes],
];

const goAtOnce = (people: Person[], way: (typeof WAYS)[number][2]): Promise<Answer[]> =>
  Promise.all(people.map((one, turn) => way(one, people[(turn + 1) % people.length] ?? one, turn)));

describe("Administrators who all go at once", () => {
  let system: TestSystem;
  let second: TestSystem;
  let api: Api;
  let elsewhere: Api;
  beforeAll(async () => {
    system = await startTestSystem();
    second = await startTestSystem({ database: system.database });
    api = await Api.at(system.origin);
    elsewhere = await Api.at(second.origin);
  });
  afterAll(async () => {
    await second.stop();
    await system.stop();
  });

  describe.each(["one process", "two processes on one database"])("in %s", (processes) => {
    test.each(WAYS)("%s: one of them stays", async (_words, count, way) => {
      for (let round = 0; round < 5; round++) {
        const here = await administrators(system, api, count);
        const people =
          processes === "one process"
            ? here
            : here.map((one, i) => (i % 2 ? new Person(elsewhere, one.who, one.token, "") : one));
        const answers = await goAtOnce(people, way);
        const refusals = answers.filter(({ status }) => status >= 300).map(outcome);
        expect(refusals).toHaveLength(1);
        // Of two who go for each other the slower one may be signed out already.
        expect([
          [409, "LAST_ADMINISTRATOR"],
          [401, "UNAUTHENTICATED"],
        ]).toContainEqual(refusals[0]);
        expect(await administratorsOf(system)).toHaveLength(1);
      }
    });
  });

  test("whoever is refused while another is deleted loses nothing", async () => {
    for (let round = 0; round < 5; round++) {
      const hosts = [await api.host("Ada"), await api.host("Grace")];
      const events = await Promise.all(hosts.map((host) => host.createsEvent()));
      await administrators(system, api, 0);
      await system.database.query("UPDATE users SET role = 'admin' WHERE id = ANY ($1)", [
        hosts.map(({ who }) => who.id),
      ]);
      const answers = await Promise.all(hosts.map((host) => deletes(host, host)));
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 409]);
      const found = await Promise.all(events.map(({ id }) => api.get(`/events/${id}`)));
      expect(found.map(({ status }) => status)).toEqual(
        answers.map(({ status }) => (status === 204 ? 404 : 200)),
      );
    }
  });
});

describe("Controls: the same with the locks taken away", () => {
  let system: TestSystem;
  let api: Api;
  beforeAll(async () => {
    system = await startTestSystem({ wrapDatabase: withoutLocks });
    api = await Api.at(system.origin);
  });
  afterAll(() => system.stop());

  test.each(WAYS)("%s: none is left", async (_words, count, way) => {
    const noneIsLeft = await untilItBites(async () => {
      await goAtOnce(await administrators(system, api, count), way);
      return (await administratorsOf(system)).length === 0;
    });
    expect(noneIsLeft).toBe(true);
  });
});
