import { brokerOptions, createBroker } from "../../lib/broker";
import { systemClock } from "../../lib/clock";
import { openDatabase } from "../../lib/database";
import { services } from "../../services";
import { createTestDatabase } from "../support/database";
import { type Answer, Api } from "../support/people";
import { expectProblem, faultyFields, outcome } from "../support/problems";
import { startTestSystem, type TestSystem, testConfig } from "../support/system";

const PASSWORD = "correct horse 1";

let system: TestSystem;
let api: Api;
beforeAll(async () => {
  system = await startTestSystem();
  api = await Api.at(system.origin);
});
afterAll(() => system.stop());

const registers = (fields: Record<string, unknown>): Promise<Answer> =>
  api.request("POST", "/auth/register", { body: { name: "Alice", password: PASSWORD, ...fields } });
const signsIn = (body: Record<string, unknown>): Promise<Answer> =>
  api.request("POST", "/auth/login", { body: { password: PASSWORD, ...body } });
const countOfUsers = async (): Promise<number> => {
  const [row] = await system.database.query("SELECT count(*)::int AS count FROM users");
  return row.count;
};

describe("Registering", () => {
  test("gives the user, tokens and where it is", async () => {
    const answer = await registers({ email: "Ada@Example.org", name: " Ada ", username: "Ada_1" });
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      user: {
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
        name: "Ada",
        username: "Ada_1",
        email: "Ada@Example.org",
        phone: null,
        role: "attendee",
        emailVerified: false,
        createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
        updatedAt: answer.body.user.createdAt,
      },
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      refreshToken: expect.stringMatching(/^[\w-]{40,}$/),
      expiresIn: expect.any(Number),
    });
    expect(answer.headers.get("location")).toBe("/api/users/me");
    const me = await api.get("/auth/me", { token: answer.body.token });
    expect(me.body).toEqual(answer.body.user);
    expect((await api.get("/users/me", { token: answer.body.token })).body).toEqual(me.body);
  });

  test("the password is kept as a bcrypt hash alone", async () => {
    await registers({ email: "hash@example.org", password: "visible secret 1" });
    const [row] = await system.database.query(
      "SELECT u::text AS row FROM users u WHERE email = $1",
      ["hash@example.org"],
    );
    expect(row.row).toMatch(/\$2b\$/);
    expect(row.row).not.toContain("visible");
    const stored = await system.database.query("SELECT r::text AS row FROM refresh_tokens r");
    const { body } = await signsIn({ email: "hash@example.org", password: "visible secret 1" });
    expect(JSON.stringify(stored)).not.toContain(body.refreshToken);
  });

  test.each(["attendee", "host"])("as %s", async (role) => {
    const answer = await registers({ email: `as-${role}@example.org`, role });
    expect([answer.status, answer.body.user.role]).toEqual([201, role]);
  });

  test.each([
    ["an administrator", { role: "admin" }, "role"],
    ["a role in other letters", { role: "Host" }, "role"],
    ["no name", { name: undefined }, "name"],
    ["a name of spaces", { name: "   " }, "name"],
    ["a name of 101 characters", { name: "x".repeat(101) }, "name"],
    ["a name with a NUL", { name: "a\u0000b" }, "name"],
    ["half a character for a name", { name: "\ud800" }, "name"],
    ["no email", { email: undefined }, "email"],
    ["an email that is null", { email: null }, "email"],
    ["an email that is a list", { email: ["a@example.org"] }, "email"],
    ["an email without @", { email: "alice.example.org" }, "email"],
    ["two emails", { email: "a@example.org,b@example.org" }, "email"],
    ["an email with a line break", { email: "a@example.org\nBcc: b@example.org" }, "email"],
    ["an email of 255 characters", { email: `a@${"b".repeat(249)}.org` }, "email"],
    ["a username of 2", { username: "ab" }, "username"],
    ["a username of 51", { username: "x".repeat(51) }, "username"],
    ["a username with a dash", { username: "al-ice" }, "username"],
    ["a username that is an email", { username: "a@b.org" }, "username"],
    ["a username with a line break", { username: "alice\n" + "x" }, "username"],
    ["a password of 7", { password: "abcdef1" }, "password"],
    ["a password without a digit", { password: "correct horse" }, "password"],
    ["a password without a letter", { password: "12345678" }, "password"],
    ["a password of 73 bytes", { password: `a1${"x".repeat(71)}` }, "password"],
    ["a password of 38 characters and 74 bytes", { password: `a1${"ü".repeat(36)}` }, "password"],
    ["a password that is a number", { password: 12345678 }, "password"],
    ["an id", { id: "01890a5d-ac96-774b-bcce-b302099a8057" }, "id"],
    ["a verified email", { emailVerified: true }, "emailVerified"],
    ["a hash", { passwordHash: "x" }, "passwordHash"],
    ["a time", { createdAt: "2020-01-01T00:00:00Z" }, "createdAt"],
  ])("refused with 422: %s", async (_words, fields, field) => {
    const before = await countOfUsers();
    const refused = await registers({ email: "wrong@example.org", ...fields });
    expectProblem(refused, 422, "VALIDATION_FAILED");
    expect(faultyFields(refused)).toEqual([field]);
    expect(JSON.stringify(refused.body)).not.toContain(PASSWORD);
    expect(await countOfUsers()).toBe(before);
  });

  test("a password that is too long is told so in bytes, which is what it is measured in", async () => {
    for (const letter of ["x", "ü"]) {
      const refused = await registers({
        email: "long@example.org",
        password: `1${letter.repeat(72)}`,
      });
      expect(refused.body.errors).toEqual([
        { field: "password", message: "must have 72 bytes at most" },
      ]);
    }
  });

  test.each([
    ["a password of 72 bytes", { password: `a1${"x".repeat(70)}` }],
    ["a password of 8 with a letter of any script", { password: "парольй1" }],
    ["a password with spaces around it", { password: "  abcdef 1  " }],
    ["a name of 100 characters of two units each", { name: "🎉".repeat(100) }],
    ["a username that is null", { username: null }],
    ["an email of 254 characters", { email: `${"a".repeat(60)}@${"b".repeat(189)}.org` }],
    ["an email with a plus", { email: "alice+news@example.org" }],
  ])("accepted and good for a login: %s", async (_words, fields) => {
    const person = { email: `edge${await countOfUsers()}@example.org`, ...fields };
    const registered = await registers(person);
    expect(registered.status).toBe(201);
    const password = "password" in person ? person.password : PASSWORD;
    expect((await signsIn({ email: person.email, password })).status).toBe(200);
  });

  test("an email or a username that somebody has, in whatever letters", async () => {
    await registers({ email: "taken@example.org", username: "taken" });
    const email = await registers({ email: "TAKEN@Example.ORG" });
    expectProblem(email, 409, "EMAIL_TAKEN");
    const username = await registers({ email: "free@example.org", username: "TAKEN" });
    expectProblem(username, 409, "USERNAME_TAKEN");
    expect((await registers({ email: "free@example.org", username: "free" })).status).toBe(201);
  });

  test("of twenty who want one address at once, one gets it", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        registers({ email: i % 2 ? "race@example.org" : "RACE@example.org" }),
      ),
    );
    const outcomes = answers.map(outcome).sort();
    expect(outcomes).toEqual([
      [201, undefined],
      ...Array.from({ length: 19 }, () => [409, "EMAIL_TAKEN"]),
    ]);
    const rows = await system.database.query(
      "SELECT 1 FROM users WHERE lower(email) = 'race@example.org'",
    );
    expect(rows).toHaveLength(1);
  });

  test("of twenty who want one username at once, one gets it", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        registers({ email: `racer${i}@example.org`, username: "racer" }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)]);
  });
});

describe("Signing in", () => {
  beforeAll(async () => {
    await registers({ name: "Zoe", email: "Zoe@example.org", username: "Zoe_9" });
  });

  test.each([
    ["by email", { email: "Zoe@example.org" }],
    ["by email in other letters", { email: "zOE@EXAMPLE.org" }],
    ["by email with spaces around it", { email: " zoe@example.org " }],
    ["by username", { username: "Zoe_9" }],
    ["by username in other letters", { username: "zOE_9" }],
    ["by either: the email", { usernameOrEmail: "zoe@example.org" }],
    ["by either: the username", { usernameOrEmail: "zoe_9" }],
  ])("%s", async (_words, names) => {
    const answer = await signsIn(names);
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.body).sort()).toEqual(["expiresIn", "refreshToken", "token", "user"]);
    expect(answer.body.user).toMatchObject({ name: "Zoe", email: "Zoe@example.org" });
    expect(answer.headers.get("location")).toBeNull();
  });

  test("each time with tokens of its own", async () => {
    const [one, other] = await Promise.all([
      signsIn({ username: "zoe_9" }),
      signsIn({ username: "zoe_9" }),
    ]);
    expect(one.body.refreshToken).not.toBe(other.body.refreshToken);
    expect(one.body.token).not.toBe(other.body.token);
  });

  test.each([
    ["no account named", {}],
    ["two names", { email: "zoe@example.org", username: "zoe_9" }],
    ["no password", { email: "zoe@example.org", password: undefined }],
    ["an empty password", { email: "zoe@example.org", password: "" }],
    ["a password that is an object", { email: "zoe@example.org", password: { $ne: "" } }],
    ["an email that is an object", { email: { $ne: "" } }],
    ["an unknown field", { email: "zoe@example.org", remember: true }],
  ])("refused with 422: %s", async (_words, body) => {
    expectProblem(await signsIn(body), 422, "VALIDATION_FAILED");
  });

  const REFUSED: [string, Record<string, unknown>][] = [
    ["a wrong password", { email: "zoe@example.org", password: "wrong horse 1" }],
    ["the password in other letters", { email: "zoe@example.org", password: "Correct horse 1" }],
    ["the password with a space", { email: "zoe@example.org", password: `${PASSWORD} ` }],
    ["a password of 73 bytes", { email: "zoe@example.org", password: "x".repeat(73) }],
    ["a password of 1000", { email: "zoe@example.org", password: "x".repeat(1000) }],
    ["an account that nobody has", { email: "nobody@example.org" }],
    ["a username that nobody has", { username: "nobody" }],
    ["something that is no email", { email: "nonsense" }],
    ["wildcards", { usernameOrEmail: "%" }],
    ["SQL", { usernameOrEmail: "' OR '1'='1" }],
    ["an unknown account and 73 bytes", { email: "nobody@example.org", password: "x".repeat(73) }],
  ];
  test.each(REFUSED)("%s is refused in the same words", async (_words, body) => {
    const [model] = REFUSED;
    const expected = await signsIn(model?.[1] ?? {});
    const refused = await signsIn(body);
    expectProblem(refused, 401, "INVALID_CREDENTIALS");
    expect({ ...refused.body, requestId: "" }).toEqual({ ...expected.body, requestId: "" });
    expect([...refused.headers.keys()].sort()).toEqual([...expected.headers.keys()].sort());
  });

  test.each(REFUSED)("%s costs one comparison, as any", async (_words, body) => {
    const [node] = system.systems;
    if (!node) throw new Error("The system has no node");
    const call = jest.spyOn(node.broker, "call");
    try {
      await signsIn(body);
      const compared = call.mock.calls.filter(([name]) => name === "core.$compareText");
      expect(compared).toHaveLength(1);
      // A hash of the same cost, or the times would differ all the same.
      expect(compared[0]?.[1]).toMatchObject({ hash: expect.stringMatching(/^\$2b\$04\$/) });
    } finally {
      call.mockRestore();
    }
  });

  test("a password whose first 72 bytes are right is wrong all the same", async () => {
    const password = `a1${"x".repeat(70)}`;
    await registers({ email: "long@example.org", password });
    expect((await signsIn({ email: "long@example.org", password })).status).toBe(200);
    const longer = await signsIn({ email: "long@example.org", password: `${password}y` });
    expectProblem(longer, 401, "INVALID_CREDENTIALS");
  });
});

describe("The first administrator", () => {
  const startsWith = async (work: (api: Api) => Promise<void>, email = "root@example.org") => {
    const other = await startTestSystem({
      database,
      environment: { ADMIN_EMAIL: email, ADMIN_PASSWORD: "root password 1" },
    });
    try {
      await work(await Api.at(other.origin));
    } finally {
      await other.stop();
    }
  };
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());
  const admins = () => database.query("SELECT email FROM users WHERE role = 'admin'");

  test("comes from the configuration, once, however often it starts", async () => {
    for (let start = 0; start < 2; start++) {
      await startsWith(async (there) => {
        const body = { email: "root@example.org", password: "root password 1" };
        const answer = await there.request("POST", "/auth/login", { body });
        expect([answer.status, answer.body.user.role]).toEqual([200, "admin"]);
      });
    }
    await startsWith(async () => {}, "ROOT@example.org");
    expect(await admins()).toEqual([{ email: "root@example.org" }]);
  });

  test("is in the log by the variable's name, not by the address", async () => {
    const data = await createTestDatabase();
    const config = testConfig(data.url, {
      ADMIN_EMAIL: "root@example.org",
      ADMIN_PASSWORD: "root password 1",
      LOG_LEVEL: "info",
    });
    const database = openDatabase(data.url, { connections: 3 });
    const lines: string[] = [];
    const broker = createBroker(
      brokerOptions(config, { log: { write: (line) => lines.push(line) } }),
      (["core", "users", "auth"] as const).map((name) =>
        services[name]({ config, clock: systemClock, database }),
      ),
    );
    try {
      await broker.start();
    } finally {
      await broker.stop();
      await database.close();
      await data.drop();
    }
    expect(lines.join("")).toContain("Created the administrator of ADMIN_EMAIL");
    expect(lines.join("")).not.toMatch(/root@|root password/);
  });

  test("another password in the configuration does not change the account's", async () => {
    const other = await startTestSystem({
      database,
      environment: { ADMIN_EMAIL: "root@example.org", ADMIN_PASSWORD: "another password 1" },
    });
    const there = await Api.at(other.origin);
    const tries = (password: string) =>
      there.request("POST", "/auth/login", { body: { email: "root@example.org", password } });
    expect((await tries("another password 1")).status).toBe(401);
    expect((await tries("root password 1")).status).toBe(200);
    await other.stop();
  });

  test("is nobody who has an account already", async () => {
    await startsWith(async (there) => {
      const mallory = await there.attendee("Mallory");
      await startsWith(async (again) => {
        const body = { email: mallory.who.email, password: mallory.who.password };
        const answer = await again.request("POST", "/auth/login", { body });
        expect([answer.status, answer.body.user.role]).toEqual([200, "attendee"]);
      }, mallory.who.email.toUpperCase());
    });
    expect(await admins()).toEqual([{ email: "root@example.org" }]);
  });
});
