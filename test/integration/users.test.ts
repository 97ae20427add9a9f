import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { Api, type Person } from "../support/people";
import { expectProblem, faultyFields } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";

const NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057";
const PUBLIC = ["id", "name", "role", "username"];
const ALL = [
  "createdAt",
  "email",
  "emailVerified",
  "id",
  "name",
  "phone",
  "role",
  "updatedAt",
  "username",
];

let system: TestSystem;
let api: Api;
let admin: Person;
let hanna: Person;
let alice: Person;
beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  admin = await administrator(api);
  hanna = await api.host("Hanna");
  alice = await api.attendee("Alice");
});
afterAll(() => system.stop());

const fieldsOf = (user: object) => Object.keys(user).sort();
const rowOf = async ({ who }: Person) => {
  const [row] = await system.database.query("SELECT * FROM users WHERE id = $1", [who.id]);
  return row;
};

describe("One user", () => {
  test("oneself, with all fields, by id and as «me»", async () => {
    const me = await alice.does(200, "GET", "/users/me");
    expect(fieldsOf(me)).toEqual(ALL);
    expect(me).toMatchObject({ id: alice.who.id, email: alice.who.email, role: "attendee" });
    expect(await alice.does(200, "GET", `/users/${alice.who.id}`)).toEqual(me);
    expect(await alice.does(200, "GET", `/users/${alice.who.id.toUpperCase()}`)).toEqual(me);
    expect(await admin.does(200, "GET", `/users/${alice.who.id}`)).toEqual(me);
  });

  test("others, as everybody may see them", async () => {
    for (const [viewer, person] of [
      [alice, hanna],
      [hanna, alice],
      [alice, admin],
    ] as const) {
      const seen = await viewer.does(200, "GET", `/users/${person.who.id}`);
      expect(fieldsOf(seen)).toEqual(PUBLIC);
      expect(seen).toMatchObject({ id: person.who.id, name: person.who.name });
    }
  });

  test.each([NOBODY, "nonsense", "5", "ME", "me2", "%00", "'%20OR%201=1"])(
    "%s is nobody",
    async (id) => {
      expectProblem(await alice.tries("GET", `/users/${id}`), 404, "USER_NOT_FOUND");
      expectProblem(
        await alice.tries("PATCH", `/users/${id}`, { name: "X" }),
        404,
        "USER_NOT_FOUND",
      );
      expectProblem(await alice.tries("DELETE", `/users/${id}`), 404, "USER_NOT_FOUND");
    },
  );

  test("is for somebody signed in", async () => {
    for (const path of ["/users", "/users/me", `/users/${hanna.who.id}`]) {
      expectProblem(await api.get(path), 401, "UNAUTHENTICATED");
    }
    for (const method of ["PUT", "PATCH", "DELETE"]) {
      const refused = await api.request(method, "/users/me", { body: { name: "X" } });
      expectProblem(refused, 401, "UNAUTHENTICATED");
    }
  });
});

describe("Changing a user", () => {
  test.each(["PUT", "PATCH"])("%s changes what it names and leaves the rest", async (method) => {
    const ben = await api.attendee("Ben");
    const before = await ben.does(200, "GET", "/users/me");
    const username = `ben_${method}`;
    const changed = await ben.does(200, method, "/users/me", { username, phone: "+431234567" });
    expect(changed).toEqual({
      ...before,
      username,
      phone: "+431234567",
      updatedAt: expect.any(String),
    });
    expect(changed.updatedAt > before.updatedAt).toBe(true);
    expect(await ben.does(200, "GET", "/auth/me")).toEqual(changed);
    const cleared = await ben.does(200, method, `/users/${ben.who.id}`, {
      username: null,
      phone: null,
    });
    expect(cleared).toMatchObject({ name: "Ben", username: null, phone: null });
  });

  test("is for oneself and administrators", async () => {
    for (const method of ["PUT", "PATCH"]) {
      const path = `/users/${alice.who.id}`;
      expectProblem(await hanna.tries(method, path, { name: "Mallory" }), 403, "FORBIDDEN");
      expect(await admin.does(200, method, path, { name: "Alicia" })).toMatchObject({
        id: alice.who.id,
        name: "Alicia",
        role: "attendee",
      });
      await alice.does(200, method, path, { name: "Alice" });
    }
  });

  test("a new address is not verified; the same in other letters is no new one", async () => {
    const ben = await api.attendee("Ben");
    const verify = () =>
      system.database.query("UPDATE users SET email_verified = true WHERE id = $1", [ben.who.id]);
    await verify();
    expect(await ben.does(200, "PATCH", "/users/me", { name: "Benno" })).toMatchObject({
      emailVerified: true,
    });
    const shouted = ben.who.email.toUpperCase();
    expect(await ben.does(200, "PATCH", "/users/me", { email: shouted })).toMatchObject({
      email: shouted,
      emailVerified: true,
    });
    const moved = await ben.does(200, "PATCH", "/users/me", { email: `new.${ben.who.email}` });
    expect(moved.emailVerified).toBe(false);
    const login = (email: string) =>
      api.request("POST", "/auth/login", { body: { email, password: ben.who.password } });
    expect((await login(ben.who.email)).status).toBe(401);
    expect((await login(`new.${ben.who.email}`)).status).toBe(200);
  });

  test("what somebody else has is taken, in whatever letters", async () => {
    const ben = await api.attendee("Ben");
    await hanna.does(200, "PATCH", "/users/me", { username: "Hanna_1" });
    const before = await rowOf(ben);
    const email = await ben.tries("PATCH", "/users/me", { email: hanna.who.email.toUpperCase() });
    expectProblem(email, 409, "EMAIL_TAKEN");
    const username = await ben.tries("PATCH", "/users/me", { username: "hanna_1", name: "B" });
    expectProblem(username, 409, "USERNAME_TAKEN");
    expect(await rowOf(ben)).toEqual(before);
    await hanna.does(200, "PATCH", "/users/me", { username: "HANNA_1", email: hanna.who.email });
  });

  test("of ten who want one username at once, one gets it", async () => {
    const people = await Promise.all(Array.from({ length: 10 }, () => api.attendee("Racer")));
    const answers = await Promise.all(
      people.map((person) => person.tries("PATCH", "/users/me", { username: "winner" })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(9).fill(409)]);
  });

  test.each<[string, unknown, string]>([
    ["nothing", {}, "body"],
    ["no body", undefined, "body"],
    ["a name that is null", { name: null }, "name"],
    ["an empty name", { name: " " }, "name"],
    ["an email that is null", { email: null }, "email"],
    ["an email that is none", { email: "nonsense" }, "email"],
    ["a username with a space", { username: "a b c" }, "username"],
    ["a phone with a letter", { phone: "+43123x567" }, "phone"],
    ["a phone without +", { phone: "431234567" }, "phone"],
    ["a phone that begins with 0", { phone: "+0431234567" }, "phone"],
    ["a phone with spaces", { phone: "+43 123 4567" }, "phone"],
    ["a phone of 16 digits", { phone: "+4312345678901234" }, "phone"],
    ["a phone that is a number", { phone: 431234567 }, "phone"],
    ["an id", { id: NOBODY }, "id"],
    ["a role", { role: "admin" }, "role"],
    ["the role they have", { role: "attendee" }, "role"],
    ["a verified address", { emailVerified: true }, "emailVerified"],
    ["a time", { createdAt: "2020-01-01T00:00:00Z" }, "createdAt"],
    ["a hash", { passwordHash: "x" }, "passwordHash"],
    ["a hash by its column", { password_hash: "x" }, "password_hash"],
    ["a password", { password: "correct horse 2" }, "password"],
    ["a deletion", { deletedAt: null }, "deletedAt"],
  ])("%s is refused, whatever else is right, and changes nothing", async (_words, body, field) => {
    const before = await rowOf(alice);
    for (const method of ["PUT", "PATCH"]) {
      const alone = await alice.tries(method, "/users/me", body);
      expectProblem(alone, 422, "VALIDATION_FAILED");
      expect(faultyFields(alone)).toContain(field);
      if (field === "body") continue;
      const together = await alice.tries(method, "/users/me", {
        name: "Changed",
        ...Object(body),
      });
      expect(faultyFields(together)).toEqual([field]);
    }
    expect(await rowOf(alice)).toEqual(before);
  });

  test("a fault is found before it shows whose account it is", async () => {
    const refused = await hanna.tries("PATCH", `/users/${alice.who.id}`, { role: "admin" });
    expectProblem(refused, 422, "VALIDATION_FAILED");
    const nobody = await hanna.tries("PATCH", `/users/${NOBODY}`, { name: "X" });
    expectProblem(nobody, 404, "USER_NOT_FOUND");
  });

  test("an administrator gives roles, but only those there are", async () => {
    const ben = await api.attendee("Ben");
    const path = `/users/${ben.who.id}`;
    expect(await admin.does(200, "PATCH", path, { role: "host" })).toMatchObject({ role: "host" });
    expectProblem(await admin.tries("PATCH", path, { role: "root" }), 422, "VALIDATION_FAILED");
    expectProblem(await admin.tries("PATCH", path, { id: NOBODY }), 422, "VALIDATION_FAILED");
    expect(await admin.does(200, "PUT", path, { role: "admin" })).toMatchObject({ role: "admin" });
  });

  test("roles and passwords change at once with the smallest pool: nobody waits for themselves", async () => {
    const small = await startTestSystem({
      database: system.database,
      environment: { ...WITH_ADMINISTRATOR, DATABASE_POOL: "3" },
    });
    try {
      const there = await Api.at(small.origin);
      const people = await Promise.all(Array.from({ length: 6 }, () => there.attendee("Ben")));
      const ada = await administrator(there);
      const answers = await Promise.all(
        people.map((person, i) =>
          i % 2
            ? ada.tries("PATCH", `/users/${person.who.id}`, { role: "host" })
            : person.tries("POST", "/auth/change-password", {
                currentPassword: person.who.password,
                newPassword: "fresh horse 22",
              }),
        ),
      );
      expect(answers.map(({ status }) => status)).toEqual([204, 200, 204, 200, 204, 200]);
    } finally {
      await small.stop();
    }
  });
});
