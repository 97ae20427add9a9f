import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { loadConfig } from "../../lib/config";
import { isError, RateLimited } from "../../lib/errors";
import { budgetsOf, namedAccount } from "../../services/api/rate-limits";

const answer = () => new ServerResponse(new IncomingMessage(new Socket()));
const headersOf = (res: ServerResponse) => ({
  limit: res.getHeader("X-RateLimit-Limit"),
  remaining: res.getHeader("X-RateLimit-Remaining"),
  reset: res.getHeader("X-RateLimit-Reset"),
});
const budgets = (auth: number, api: number) =>
  budgetsOf(loadConfig({ RATE_LIMIT_AUTH: String(auth), RATE_LIMIT_API: String(api) }));

test("so many requests are let through, the next is told when to come again", async () => {
  const { api } = budgets(5, 3);
  const remaining: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const res = answer();
    await api.spend("alice", res);
    remaining.push(headersOf(res).remaining);
    expect(headersOf(res)).toMatchObject({ limit: 3, reset: expect.any(Number) });
  }
  expect(remaining).toEqual([2, 1, 0]);

  const res = answer();
  const refusal: unknown = await api.spend("alice", res).catch((error: unknown) => error);
  expect(isError(refusal, RateLimited)).toBe(true);
  const { retryAfter } = (refusal as { data: { retryAfter: number } }).data;
  expect(retryAfter).toBeGreaterThanOrEqual(1);
  expect(retryAfter).toBeLessThanOrEqual(60);
  expect(headersOf(res)).toEqual({ limit: 3, remaining: 0, reset: retryAfter });
});

test("every key has a budget of its own", async () => {
  const { api } = budgets(5, 1);
  await api.spend("alice", answer());
  const res = answer();
  await api.spend("ben", res);
  expect(headersOf(res).remaining).toBe(0);
  await expect(api.spend("alice", answer())).rejects.toMatchObject({ type: RateLimited.code });
});

test("looking at a budget spends nothing, be it new or spent", async () => {
  const { api } = budgets(5, 1);
  for (let i = 0; i < 3; i++) {
    const res = answer();
    await api.show("alice", res);
    expect(headersOf(res)).toEqual({ limit: 1, remaining: 1, reset: 60 });
  }
  await api.spend("alice", answer());
  await api.spend("alice", answer()).catch(() => {});
  const res = answer();
  await api.show("alice", res);
  expect(headersOf(res)).toMatchObject({ limit: 1, remaining: 0 });
});

test("an address may sign in ten times as often as an account", async () => {
  const { account, auth } = budgets(2, 0);
  const [ofAccount, ofAddress] = [answer(), answer()];
  await account.spend("alice", ofAccount);
  await auth.spend("203.0.113.7", ofAddress);
  expect([headersOf(ofAccount).limit, headersOf(ofAddress).limit]).toEqual([2, 20]);
});

test("0 switches a limit off, and its headers with it", async () => {
  const { account, auth, api } = budgets(0, 0);
  for (const budget of [account, auth, api]) {
    const res = answer();
    for (let i = 0; i < 100; i++) await budget.spend("alice", res);
    await budget.show("alice", res);
    expect(headersOf(res)).toEqual({ limit: undefined, remaining: undefined, reset: undefined });
  }
});

describe("The account that a sign-in names", () => {
  test("is one, however it is written", () => {
    for (const body of [
      { email: "Ada@Example.org" },
      { usernameOrEmail: "  ada@example.org " },
      { username: "ADA@EXAMPLE.ORG", password: "x" },
    ]) {
      expect(namedAccount(body)).toBe("ada@example.org");
    }
  });

  test.each([[undefined], [null], ["ada"], [[]], [{}], [{ email: 5 }], [{ email: null }]])(
    "is nobody's in %j",
    (body) => {
      expect(namedAccount(body)).toBeUndefined();
    },
  );

  test("is a key of bounded length", () => {
    expect(namedAccount({ email: "a".repeat(1_000_000) })?.length).toBeLessThan(1000);
  });
});
