import { generateKeyPairSync } from "node:crypto";
import jwt from "jsonwebtoken";
import { MovableClock } from "../support/movable-clock";
import { Api, type Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { startTestSystem, type TestSystem } from "../support/system";

const SECRET = "a secret that only this test has, of 32 bytes and more";
const clock = new MovableClock();

let system: TestSystem;
let api: Api;
let alice: Person;
let claims: jwt.JwtPayload;
beforeAll(async () => {
  system = await startTestSystem({ clock, environment: { JWT_SECRET: SECRET } });
  api = await Api.at(system.origin);
  alice = await api.attendee("Alice");
  claims = jwt.verify(alice.token, SECRET) as jwt.JwtPayload; // An object was signed, so an object comes out.
});
afterEach(() => clock.moveBack());
afterAll(() => system.stop());

const whoIs = (token: string) => api.get("/auth/me", { token });

async function expectRefused(token: string): Promise<void> {
  expectProblem(await whoIs(token), 401, "UNAUTHENTICATED");
  expectProblem(await api.get("/events", { token }), 401, "UNAUTHENTICATED");
}

test("what is signed like ours, with our secret, is ours", async () => {
  expect((await whoIs(jwt.sign(claims, SECRET, { algorithm: "HS256" }))).status).toBe(200);
});

test("a token tells who, which session and which role, and nothing about the person", () => {
  expect(jwt.decode(alice.token, { complete: true })?.header).toEqual({ alg: "HS256", typ: "JWT" });
  expect(Object.keys(claims).sort()).toEqual(["aud", "exp", "iat", "iss", "role", "sid", "sub"]);
  expect(claims.sub).toBe(alice.who.id);
});

describe("Refused", () => {
  const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const unsigned = (alg: string, signature = "") =>
    `${base64url({ alg, typ: "JWT" })}.${base64url(claims)}.${signature}`;
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

  const forged: [string, () => string][] = [
    ["no algorithm", () => unsigned("none")],
    ["no algorithm, in other letters", () => unsigned("NoNe")],
    ["no algorithm, our signature", () => unsigned("none", alice.token.split(".")[2])],
    ["our algorithm, no signature", () => unsigned("HS256")],
    ["our algorithm, some signature", () => unsigned("HS256", "x".repeat(43))],
    ["another secret", () => jwt.sign(claims, "another secret of 32 bytes or more")],
    ["HS512 with our secret", () => jwt.sign(claims, SECRET, { algorithm: "HS512" })],
    ["HS384 with our secret", () => jwt.sign(claims, SECRET, { algorithm: "HS384" })],
    ["RS256", () => jwt.sign(claims, privateKey, { algorithm: "RS256" })],
    ["another issuer", () => jwt.sign({ ...claims, iss: "another" }, SECRET)],
    ["another audience", () => jwt.sign({ ...claims, aud: "another" }, SECRET)],
    ["a user that is no id", () => jwt.sign({ ...claims, sub: "alice" }, SECRET)],
    ["a session that is no id", () => jwt.sign({ ...claims, sid: "1" }, SECRET)],
    ["a role that there is not", () => jwt.sign({ ...claims, role: "root" }, SECRET)],
    ["not valid before tomorrow", () => jwt.sign({ ...claims, nbf: 4_000_000_000 }, SECRET)],
    ["expired", () => jwt.sign({ ...claims, exp: 1_000_000_000 }, SECRET)],
    ["a text for content", () => jwt.sign("alice", SECRET)],
    ["without its signature", () => alice.token.split(".").slice(0, 2).join(".")],
    ["with a part too many", () => `${alice.token}.x`],
    ["a character less", () => alice.token.slice(0, -1)],
    ["of dots", () => "..."],
    ["as long as a header may be", () => "x".repeat(8_000)],
  ];
  test.each(forged)("a token with %s", async (_words, token) => {
    await expectRefused(token());
  });

  test.each(["iss", "aud", "sub", "sid", "role", "exp"])("a token without %s", async (claim) => {
    const { [claim]: _left, ...rest } = claims;
    await expectRefused(jwt.sign(rest, SECRET));
  });

  test("a changed claim", async () => {
    const [head, , signature] = alice.token.split(".");
    await expectRefused([head, base64url({ ...claims, role: "admin" }), signature].join("."));
  });

  test("in a query, a cookie or a body: the header alone counts", async () => {
    const elsewhere = await api.request("GET", `/auth/me?token=${alice.token}`, {
      headers: { cookie: `token=${alice.token}` },
    });
    expectProblem(elsewhere, 401, "UNAUTHENTICATED");
  });
});

test.each(["bearer", "BEARER", "Bearer  "])(
  "the word «%s» before it is read as well",
  async (word) => {
    const headers = { authorization: `${word} ${alice.token}` };
    expect((await api.request("GET", "/auth/me", { headers })).status).toBe(200);
  },
);

describe("Time", () => {
  test("a token lives as long as it said, and a refresh gives one that lives on", async () => {
    const ben = await api.attendee("Ben");
    const renewed = await api.request("POST", "/auth/refresh", {
      body: { refreshToken: ben.refreshToken },
    });
    const { expiresIn, token, refreshToken } = renewed.body;
    const { exp = 0, iat = 0 } = jwt.decode(token) as jwt.JwtPayload; // Our own token: an object.
    expect(exp - iat).toBe(expiresIn);

    clock.moveTo(new Date((exp - 30) * 1000));
    expect((await whoIs(token)).status).toBe(200);
    clock.moveTo(new Date((exp + 1) * 1000));
    await expectRefused(token);
    const late = await api.request("POST", "/auth/refresh", { body: { refreshToken } });
    expect(late.status).toBe(200);
    expect((await whoIs(late.body.token)).status).toBe(200);
  });
});
