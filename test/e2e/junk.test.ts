import { newId } from "../../lib/ids";
import { Arena, throwJunkAt } from "../support/arena";
import { asJson, goodRequest, type JunkRequest, nameOf, routes } from "../support/junk";

/** So many requests for each route; `npm run test:long` goes on for longer. */
const RUNS = 20;

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.open();
});
afterAll(() => arena.close());
afterEach(() => {
  arena.interfere = undefined;
});

const eachRoute = test.each(routes.map((route) => [nameOf(route), route] as const));

const routeNamed = (name: string) => {
  const route = routes.find((candidate) => nameOf(candidate) === name);
  if (!route) throw new Error(`There is no route ${name}`);
  return route;
};

describe("Junk is refused and changes nothing", () => {
  eachRoute("%s", async (_, route) => {
    await throwJunkAt(arena, route, RUNS);
  });
});

describe("Junk would get far, because what it is mixed with is good", () => {
  eachRoute("a good request to %s is granted", async (_, route) => {
    const { status, text } = await arena.judge(goodRequest(route));
    expect(`${status} ${text}`).toMatch(/^2/);
  });
});

const asAttendee = (method: string, path: string): JunkRequest => ({
  method,
  path,
  as: "attendee",
  headers: {},
});
const withJson = (request: JunkRequest, body: string): JunkRequest => ({
  ...request,
  headers: { ...request.headers, "content-type": "application/json" },
  body,
});

/** What junk has found, shrunk; each was once a wrong answer. */
const FOUND: [string, JunkRequest, number][] = [
  [
    "a place in parts, which is an unknown parameter and no place",
    asAttendee("GET", "/events?near[lat]=x&near[lng]=1"),
    200,
  ],
  [
    "a cursor to a time before there were years",
    asAttendee(
      "GET",
      '/notifications?cursor=⟦base64:[1,"createdAt","asc","-253402300799999","01890000-0000-7000-8000-000000000000",0]⟧',
    ),
    422,
  ],
  [
    "a token longer than any of ours",
    { ...asAttendee("GET", "/auth/me"), as: { authorization: "Bearer ⟦x:5000⟧" } },
    401,
  ],
  [
    "If-None-Match with a change, which would lose its answer",
    {
      ...goodRequest(routeNamed("POST /auth/refresh")),
      headers: { "if-none-match": "*", "content-type": "application/json" },
    },
    200,
  ],
  [
    "a body for a route that takes none",
    withJson(asAttendee("POST", "/notifications/mark-all-read"), "[]"),
    422,
  ],
  [
    "a body that would pass for a query",
    withJson(asAttendee("GET", "/events"), '{"limit":7}'),
    422,
  ],
  [
    "a number of seats that is nothing which has a text",
    withJson(
      asAttendee("POST", "/bookings"),
      '{"eventId":"⟦event:other⟧","quantity":[[{"toString":0}]]}',
    ),
    422,
  ],
  ["a broken body of a read", withJson(asAttendee("GET", "/events"), "{"), 400],
  ["a calendar is what it says it is", asAttendee("GET", "/events/⟦event:own⟧/calendar.ics"), 200],
];

describe("What junk has found before stays mended", () => {
  test.each(FOUND)("%s", async (_, request, status) => {
    expect((await arena.judge(request)).status).toBe(status);
  });
});

describe("A key for a repetition is no way around the rules", () => {
  const withKeys = routes.filter(({ definition }) => definition.rest?.idempotent);
  const underKey = (request: JunkRequest, key: string): JunkRequest => ({
    ...request,
    headers: { ...request.headers, "idempotency-key": key },
  });

  /** What makes a good request another one. */
  const OTHERWISE: Readonly<Record<string, object>> = {
    "POST /bookings": { quantity: 2 },
    "POST /events": { capacity: 2 },
    "POST /events/:id/waitlist": { quantity: 2 },
    "POST /notifications/push-subscriptions": { expirationTime: 4_102_444_800_000 },
  };

  test("these routes take one", () => {
    expect(withKeys.map(nameOf).sort()).toEqual(Object.keys(OTHERWISE));
  });

  describe.each(withKeys.map((route) => [nameOf(route), route] as const))("%s", (_, route) => {
    // People's keys are theirs for all routes: each here begins with the route's own words.
    const own = route.action;
    test.each<[string, string, number]>([
      ["none at all", "", 422],
      ["white space, which is none", "   ", 422],
      ["256 characters", own.padEnd(256, "x"), 422],
      ["255 characters", own.padEnd(255, "x"), 201],
      ["bytes that are not ASCII", `${own}\u00e9\u00ff\u0080`, 201],
      ["a list of keys, which is one key", `${own}, b, ${own}`, 201],
      ["SQL", `${own}'; DROP TABLE idempotency_keys;--`, 201],
    ])("%s", async (_words, key, status) => {
      const request = underKey(goodRequest(route), key);
      expect((await arena.judge(request)).status).toBe(status);
    });

    test("one that stands for another request of the same person", async () => {
      const request = underKey(goodRequest(route), newId());
      expect((await arena.judge(request)).status).toBe(201);
      const asked = { ...JSON.parse(request.body ?? "{}"), ...OTHERWISE[nameOf(route)] };
      const { status, text } = await arena.judge(withJson(request, asJson(asked)));
      expect([status, JSON.parse(text).code]).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
    });

    test("one that was used: the first answer again, and nothing twice", async () => {
      const request = underKey(goodRequest(route), newId());
      const first = await arena.judge(request);
      const again = await arena.judge(request);
      expect([first.status, again.status, again.text]).toEqual([201, 201, first.text]);
    });
  });
});

describe("The judge sees what is wrong", () => {
  const me = routeNamed("GET /auth/me");
  const nobodysBooking = asAttendee("GET", "/bookings/01890000-0000-7000-8000-000000000000");

  test("a failure of the server, with a way to repeat it", async () => {
    arena.interfere = async (sql) => {
      if (sql.includes("FROM users u WHERE u.id")) throw new Error("planted");
    };
    await expect(throwJunkAt(arena, me, RUNS)).rejects.toThrow(
      /The server failed[\s\S]*JUNK_SEED=-?\d+ JUNK_PATH=\d/,
    );
  });

  test("a row that changed although the request was refused", async () => {
    arena.interfere = async (sql) => {
      if (!sql.includes("FROM bookings")) return;
      arena.interfere = undefined;
      await arena.meddle("UPDATE users SET email_verified = true WHERE id = '⟦user:other⟧'");
    };
    await expect(arena.judge(nobodysBooking)).rejects.toThrow(
      "Refused, and yet changed: users.email_verified",
    );
  });

  test("something to be told although the request was refused", async () => {
    arena.interfere = async (sql) => {
      if (!sql.includes("FROM bookings")) return;
      arena.interfere = undefined;
      await arena.meddle(
        `INSERT INTO outbox VALUES (gen_random_uuid(), 'booking', 'planted', gen_random_uuid(), 1, now(), NULL, '{}')`,
      );
    };
    await expect(arena.judge(nobodysBooking)).rejects.toThrow(
      "Refused, and yet changed: a row more in outbox",
    );
  });

  test("a place on a waiting list that went to nobody", async () => {
    arena.interfere = async (sql) => {
      if (!sql.includes("UPDATE bookings SET status = 'cancelled'")) return;
      arena.interfere = undefined;
      await arena.meddle("DELETE FROM waitlist WHERE event_id = '⟦event:waited⟧'");
    };
    const cancels = { ...asAttendee("DELETE", "/bookings/⟦booking:waited⟧"), as: "admin" as const };
    await expect(arena.judge(cancels)).rejects.toThrow("a row less in waitlist");
  });

  test("a column that a success may not change", async () => {
    arena.interfere = async (sql) => {
      if (!sql.includes("FROM users u WHERE u.id")) return;
      arena.interfere = undefined;
      await arena.meddle("UPDATE events SET created_at = now() WHERE id = '⟦event:other⟧'");
    };
    await expect(arena.judge(goodRequest(me))).rejects.toThrow(
      "auth.me may not change events.created_at",
    );
  });

  test("a change to something of somebody else's", async () => {
    arena.interfere = async (sql) => {
      if (!sql.includes("FOR UPDATE OF e")) return;
      arena.interfere = undefined;
      await arena.meddle("UPDATE events SET title = 'Mine' WHERE id = '⟦event:other⟧'");
    };
    await expect(arena.judge(goodRequest(routeNamed("PATCH /events/:id")))).rejects.toThrow(
      "events of somebody else: events.title",
    );
  });
});
