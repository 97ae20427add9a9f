/**
 * Junk for every route of the contracts, and a good request for each.
 *
 * Requests are data without ids of the moment: `⟦event:own⟧` stands for the id of a thing that exists when
 * the request is sent. So a counter-example can be printed, shrunk and kept as a regression case.
 */
import fc from "fast-check";
import type { Role } from "../../lib/contract/define";
import type { Rule } from "../../lib/contract/rules";
import { newId } from "../../lib/ids";
import { parametersOf } from "../../services/api/parameters";
import { type Route, routesOf } from "../../services/api/routes";
import { contracts } from "../../services/contracts";
import { anyText } from "./any-text";
import { inDays } from "./people";
import { VAPID } from "./push-service";

export const routes: readonly Route[] = routesOf(contracts);

export const nameOf = ({ method, path }: Route): string => `${method} ${path}`;

/** Who sends a request: somebody of a role, nobody, or whoever has this Authorization header. */
export type Sender = Role | "nobody" | { authorization: string };

export interface JunkRequest {
  method: string;
  /** Below the API's base, with the query; percent-encoded. */
  path: string;
  as: Sender;
  headers: Record<string, string>;
  /** Text of the body as it is sent; undefined for none. */
  body?: string;
  /** Of the body's characters; latin1 sends bytes that are not UTF-8. */
  encoding?: "utf8" | "latin1";
}

const PASSWORD = "correct horse 1";
/** Of any browser: a point of P-256. */
const BROWSER_KEY = VAPID.VAPID_PUBLIC_KEY;
export const NOBODYS_ID = "01890000-0000-7000-8000-000000000000";

const HOSTILE_TEXTS = [
  "",
  " ",
  "'; DROP TABLE users;--",
  "' OR '1'='1",
  "%",
  "_",
  "\\",
  "%_\\%",
  "$1 $q $$ :q ?",
  "🎟️👩‍👩‍👧‍👦",
  "שלום עולם مرحبا",
  "\u202egnp.exe",
  "a\u0000b",
  "\ud800",
  "a\udc00b",
  "\ufeff",
  "e\u0301\u0301\u0301\u0301",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "a\r\nSet-Cookie: b=c",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what a template engine would evaluate
  "${7*7}{{7*7}}<%= 7*7 %>",
  "<script>alert(1)</script>",
  "../../../../etc/passwd",
  "file:///etc/passwd",
  "NaN",
  "null",
  "true",
  "2",
  "1e3",
  "0x10",
  "-0",
  "& | ! <-> :* ( ) '",
  "'a':* & !b",
  "⟦x:41⟧",
  "⟦x:73⟧",
  "⟦x:201⟧",
  "⟦x:301⟧",
];
const LONG_TEXTS = ["⟦x:2001⟧", "⟦x:10001⟧", "⟦x:100000⟧"];
const BROKEN_IDS = [
  "not-a-uuid",
  NOBODYS_ID,
  "00000000-0000-0000-0000-000000000000",
  "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
  "01890000-0000-7000-8000-00000000000",
  "01890000-0000-7000-8000-0000000000000",
  "{01890000-0000-7000-8000-000000000000}",
  "01890000000070008000000000000000",
  "⟦event:draft⟧",
  "⟦event:other⟧",
  "⟦user:other⟧",
  "⟦booking:other⟧",
  "⟦ticket:other⟧",
  "⟦notification:other⟧",
  "⟦event:full⟧",
  "⟦event:priced⟧",
];
/** What a scanner at a door may read: tickets of this event and of another one, shown already or not, and none. */
const CODES = [
  "⟦code:own⟧",
  "⟦code:ownShown⟧",
  "⟦code:other⟧",
  "⟦code:own⟧A",
  "⟦x:43⟧",
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];
const BROKEN_TIMES = [
  "2027-02-30T00:00:00Z",
  "2027-13-01T00:00:00Z",
  "2027-01-01T24:00:00Z",
  "2027-01-01T23:59:60Z",
  "2027-01-01",
  "2027-01-01T00:00:00",
  "2027-01-01T00:00:00+25:00",
  "0000-01-01T00:00:00Z",
  "0001-01-01T00:00:00Z",
  "1969-12-31T23:59:59.999Z",
  "1970-01-01T00:00:00+14:00",
  "9999-12-31T23:59:59.999999999Z",
  "9999-12-31T23:59:59-12:00",
  "10000-01-01T00:00:00Z",
  "+275760-09-13T00:00:00Z",
  "-006060-01-01T00:00:00Z",
  "now",
  "infinity",
  "epoch",
  "0",
];
const ODD_NUMBERS = [
  "0",
  "-0",
  "-1",
  "1.5",
  "1e400",
  "-1e400",
  "1e-400",
  "0.1e1",
  "2147483647",
  "2147483648",
  "9007199254740992",
  "9007199254740993",
  "9223372036854775808",
  "100000000000000000000000000",
  "1000000",
  "1000001",
];

/** Values that no JavaScript can turn into text. */
const WITHOUT_TEXT = ['{"toString":0}', '[{"toString":null}]', '[[{"toString":0,"valueOf":0}]]'];

export const asJson = (value: unknown): string => JSON.stringify(value);

/** Values in JSON that hardly any field wants; as text, because `1e400` and `-0` are no values of JavaScript. */
const junkJson: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_TEXTS, ...LONG_TEXTS).map(asJson),
  fc.constantFrom(...BROKEN_IDS, ...CODES, ...BROKEN_TIMES).map(asJson),
  fc.constantFrom(...ODD_NUMBERS),
  fc.constantFrom(
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    '["a","b"]',
    '{"$gt":""}',
    '{"lat":1}',
    '{"lat":1,"lng":2,"extra":{"a":{"b":1}}}',
    '{"lat":"1","lng":"2"}',
    '{"lat":91,"lng":1e400}',
    '{"toString":"x","valueOf":1}',
    ...WITHOUT_TEXT,
    '{"__proto__":{"role":"admin"}}',
    '{"constructor":{"prototype":{"role":"admin"}}}',
    '{"length":1000000000}',
    '["⟦x:41⟧"]',
    `[${Array(21).fill('"tag"').join()}]`,
    "⟦deep:500⟧",
  ),
  anyText({ maxLength: 60 }).map(asJson),
  fc.jsonValue({ maxDepth: 3 }).map(asJson),
);

/** Positions in a list that nobody was given. */
const forgedCursor: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom<unknown>(1, 0, "1", null),
    fc.constantFrom<unknown>(
      ...["startDateTime", "createdAt", "date", "title", "name", "price", "relevance", "updatedAt"],
      ...["category", "__proto__", "constructor", null],
    ),
    fc.constantFrom<unknown>("asc", "desc", "ASC; DROP TABLE users", null),
    fc.constantFrom<unknown>(
      ...["0", "-1", "253402300799999", "-253402300799999", "-62135596800001", "99999999999999999"],
      ...["", "a", "'", "\u0000", "\ud800", "x".repeat(300), 5, null],
    ),
    fc.constantFrom<unknown>(NOBODYS_ID, "x", null),
    fc.constantFrom<unknown>(0, 1, -1, 1.5, Number.MAX_SAFE_INTEGER, 1e300, null),
  )
  .chain((parts) =>
    fc.oneof(
      { weight: 4, arbitrary: fc.constant(`⟦base64:${asJson(parts)}⟧`) },
      { weight: 1, arbitrary: fc.constantFrom("e30", "W10", "⟦base64:[1⟧", "%%%", "bnVsbA") },
    ),
  );

const junkText: fc.Arbitrary<string> = fc.oneof(
  // A query has no half surrogate pairs: percent-encoding knows bytes only.
  fc.constantFrom(...HOSTILE_TEXTS.filter((text) => text.isWellFormed()), "⟦x:2001⟧"),
  fc.constantFrom(...BROKEN_IDS, ...BROKEN_TIMES, ...ODD_NUMBERS),
  fc.constantFrom("48.2,16.4", "91,0", "0,181", "1,2,3", ",", "90,180", "-90,-180", "NaN,NaN"),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  forgedCursor,
);

/** Values that fields want, by the parameter's name; others come from the rule. Times are made when asked for. */
const SAMPLES: Readonly<Record<string, () => unknown>> = {
  email: () => "junk.⟦fresh⟧@example.org",
  username: () => "junk_⟦fresh⟧",
  usernameOrEmail: () => "⟦email:attendee⟧",
  password: () => PASSWORD,
  currentPassword: () => PASSWORD,
  newPassword: () => PASSWORD,
  refreshToken: () => "⟦refreshToken⟧",
  token: () => "⟦unsubscribe⟧",
  phone: () => "+436641234567",
  eventId: () => "⟦event:other⟧",
  availableEventId: () => "⟦availableEvent⟧",
  hostId: () => "⟦user:host⟧",
  currency: () => "EUR",
  timeZone: () => "Europe/Vienna",
  startDateTime: () => inDays(7),
  endDateTime: () => inDays(8),
  saleStartsAt: () => inDays(-1),
  saleEndsAt: () => inDays(6),
  from: () => inDays(-1),
  to: () => inDays(30),
  ifMatch: () => "*",
  code: () => "⟦code:own⟧",
  // One that is another for each request and the same when that is sent again: a browser's goes to who sends it.
  endpoint: () => `https://push.example.org/${newId()}`,
  expirationTime: () => null,
  p256dh: () => BROWSER_KEY,
  auth: () => "AAAAAAAAAAAAAAAAAAAAAA",
};
/** Values of one action that are others than {@link SAMPLES}. */
const OWN_SAMPLES: Readonly<Record<string, typeof SAMPLES>> = {
  "bookings.undoCheckIn": { code: () => "⟦code:ownShown⟧" },
  "notifications.changePreferences": { "booking.confirmed": () => ({ email: false }) },
};
/** Parameters that go together in ways that no rule of a single one tells: those of a good request. */
const GOOD_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  "auth.signIn": ["usernameOrEmail", "password"],
};
/** Where the first of {@link THINGS} is in no state for it. */
const GOOD_THING: Readonly<Record<string, string>> = {
  "users.follow": "⟦user:host⟧",
  "users.unfollow": "⟦user:host⟧",
  "users.listFollowers": "⟦user:host⟧",
  "events.publish": "⟦event:ownDraft⟧",
  "bookings.joinWaitlist": "⟦event:full⟧",
  "bookings.findWaitlist": "⟦event:waited⟧",
  "bookings.leaveWaitlist": "⟦event:waited⟧",
};
/** What the path of a route names, by the code of its 404. */
const THINGS: Readonly<Record<string, readonly string[]>> = {
  EVENT_NOT_FOUND: [
    ...["⟦event:own⟧", "⟦event:ownDraft⟧", "⟦event:other⟧", "⟦event:draft⟧"],
    ...["⟦event:full⟧", "⟦event:waited⟧", "⟦event:priced⟧"],
  ],
  BOOKING_NOT_FOUND: ["⟦booking:own⟧", "⟦booking:other⟧", "⟦booking:held⟧", "⟦booking:waited⟧"],
  TICKET_NOT_FOUND: ["⟦ticket:own⟧", "⟦ticket:ownShown⟧", "⟦ticket:other⟧"],
  USER_NOT_FOUND: ["me", "⟦user:attendee⟧", "⟦user:host⟧", "⟦user:other⟧"],
  NOTIFICATION_NOT_FOUND: ["⟦notification:own⟧", "⟦notification:other⟧"],
};

function sample(name: string, rule: Rule, action = ""): unknown {
  const made = OWN_SAMPLES[action]?.[name] ?? SAMPLES[name];
  if (made) return made();
  switch (rule.type) {
    case "enum":
      return rule.values[0];
    case "boolean":
      return true;
    case "number":
      return Math.max(rule.min ?? 1, 1);
    case "array":
      return [sample("", rule.items)];
    case "object":
      return Object.fromEntries(
        Object.entries(rule.props).map(([prop, inner]) => [prop, sample(prop, inner)]),
      );
    case "custom":
      switch (rule.kind) {
        case "id":
          return NOBODYS_ID;
        case "instant":
          return inDays(7);
        case "queryInteger":
        case "queryNumber":
          return 1;
        case "queryBoolean":
          return true;
        case "queryPoint":
          return "48.2,16.4";
        default:
          return "words".padEnd("minLength" in rule ? Number(rule.minLength ?? 0) : 0, "s");
      }
  }
}

const PLACEHOLDER = /(⟦[^⟦⟧]*⟧)/;

/** Percent-encoded, placeholders left as they are; a bracket of theirs that stands alone is text. */
const encoded = (text: string): string =>
  text
    .split(PLACEHOLDER)
    .map((part) => (PLACEHOLDER.test(part) ? part : encodeURIComponent(part)))
    .join("");

const ruleOf = (route: Route, name: string): Rule => {
  const rule = route.definition.params[name];
  if (!rule) throw new Error(`${route.action} has no parameter ${name}`);
  return rule;
};

const thingsOf = (route: Route, parameter: string): readonly string[] =>
  THINGS[route.definition.rest?.missing?.[parameter]?.code ?? ""] ?? [];

const sendersOf = ({ definition: { access } }: Route): readonly Role[] =>
  typeof access === "object" ? access.roles : ["attendee", "host", "admin"];

/** What a thing is for whoever has it: the host an event, the attendee a booking. */
const goodThing = (route: Route, parameter: string): string => {
  const own = GOOD_THING[route.action] ?? thingsOf(route, parameter)[0];
  if (!own) throw new Error(`${nameOf(route)}: say in THINGS what :${parameter} names`);
  return own;
};

/** A request that is in order as far as its shape goes. */
export function goodRequest(route: Route): JunkRequest {
  const places = parametersOf(route.definition);
  const wanted = (name: string) => {
    const rule = ruleOf(route, name);
    const good = GOOD_PARAMETERS[route.action];
    return good ? good.includes(name) : !rule.optional && rule.default === undefined;
  };
  const changes = route.definition.needsChange ? places.body.slice(0, 1) : [];
  const body = places.body.filter((name) => wanted(name) || changes.includes(name));
  const query = places.query.filter(wanted).map((name) => {
    const value = String(sample(name, ruleOf(route, name), route.action));
    return `${name}=${encoded(value)}`;
  });
  const path = route.path.replace(/:(\w+)/g, (_, parameter) => goodThing(route, parameter));
  return {
    method: route.method,
    path: query.length ? `${path}?${query.join("&")}` : path,
    as: sendersOf(route)[0] ?? "nobody",
    headers: body.length ? { "content-type": "application/json" } : {},
    ...(body.length
      ? {
          body: asJson(
            Object.fromEntries(
              body.map((name) => [name, sample(name, ruleOf(route, name), route.action)]),
            ),
          ),
        }
      : {}),
  };
}

/** Fields that nobody may set: of rows, of other routes, of JavaScript's objects. */
const FORBIDDEN_FIELDS: readonly (readonly [string, string])[] = [
  ["id", asJson(NOBODYS_ID)],
  ["role", '"admin"'],
  ["hostId", '"⟦user:other⟧"'],
  ["userId", '"⟦user:other⟧"'],
  ["numberOfAttendees", "0"],
  ["number_of_attendees", "0"],
  ["status", '"cancelled"'],
  ["version", "1000"],
  ["amount", "0"],
  ["emailVerified", "true"],
  ["email_verified", "true"],
  ["passwordHash", `"${"x".repeat(60)}"`],
  ["createdAt", '"2020-01-01T00:00:00Z"'],
  ["deletedAt", "null"],
  ["viewerIsAdmin", "true"],
  ["caller", '{"role":"admin"}'],
  ["$statusCode", "500"],
  ["ifMatch", '"*"'],
  ["__proto__", '{"role":"admin"}'],
  ["constructor", '{"prototype":{"role":"admin"}}'],
  ["a, b, c", "1"],
  ["", "1"],
  ["\ud800", "1"],
  ["⟦x:5000⟧", "1"],
];

const field = (name: string, json: string): string => `${asJson(name)}:${json}`;

function bodyOf(route: Route): fc.Arbitrary<string> {
  const { body } = parametersOf(route.definition);
  // Samples are made inside map(): a time must be of the moment when the request is.
  const known = body.map((name) => {
    const rule = ruleOf(route, name);
    const isNeeded = !rule.optional && rule.default === undefined;
    return fc.oneof(
      {
        weight: isNeeded ? 12 : 3,
        arbitrary: fc
          .constant(null)
          .map(() => [field(name, asJson(sample(name, rule, route.action)))]),
      },
      { weight: isNeeded ? 1 : 8, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: junkJson.map((json) => [field(name, json)]) },
    );
  });
  const surplus = fc.oneof(
    { weight: 5, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...FORBIDDEN_FIELDS).map(([name, json]) => [field(name, json)]),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(anyText({ maxLength: 20 }), junkJson)
        .map(([name, json]) => [field(name, json)]),
    },
  );
  return fc.tuple(...known, surplus).map((fields) => `{${fields.flat().join(",")}}`);
}

const BROKEN_BODIES = [
  "{",
  '{"a":',
  '{"a":"\\ud8"}',
  '{"a":NaN}',
  "{'a':1}",
  "nul",
  "\ufeff{}",
  '{"a":1}{"b":2}',
  "a=b&c=d",
  "null",
  "[]",
  "1e400",
  '"text"',
  "true",
  "⟦deep:20000⟧",
  '{"name":"⟦x:1100000⟧"}',
  '"\u00ff\u00fe"',
];
const ODD_TYPES = [
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "application/json; charset=latin1",
  "application/json; charset=utf-16",
  "application/merge-patch+json",
  "json",
  "",
];
const ODD_METHODS = [
  "HEAD",
  "OPTIONS",
  "PUT",
  "PATCH",
  "DELETE",
  "POST",
  "PROPFIND",
  "TRACE",
  "FOO",
];

const JSON_HEADERS = { "content-type": "application/json" };

function payloadOf(route: Route): fc.Arbitrary<Pick<JunkRequest, "body" | "headers" | "encoding">> {
  const hasBody = parametersOf(route.definition).body.length > 0;
  const asItShouldBe = bodyOf(route).map((body) => ({ body, headers: JSON_HEADERS }));
  const none = fc.constant({ headers: {} });
  return fc.oneof(
    { weight: hasBody ? 30 : 2, arbitrary: asItShouldBe },
    { weight: hasBody ? 1 : 20, arbitrary: none },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...BROKEN_BODIES)
        .map((body) => ({ body, headers: JSON_HEADERS, encoding: "latin1" as const })),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(bodyOf(route), fc.constantFrom(...ODD_TYPES))
        .map(([body, type]) => ({ body, headers: { "content-type": type } })),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(bodyOf(route), fc.nat())
        .map(([body, at]) => ({ body: body.slice(0, at % body.length), headers: JSON_HEADERS })),
    },
  );
}

const BROKEN_ENCODINGS = ["%", "%E0%A4%A", "%ZZ", "%00", "%C0%80", "%ED%A0%80", "+", "%2e%2e%2f"];

function queryOf(route: Route): fc.Arbitrary<string> {
  const { query } = parametersOf(route.definition);
  const value = (name: string) =>
    fc.oneof(
      {
        weight: 2,
        arbitrary: fc.constant(null).map(() => encoded(String(sample(name, ruleOf(route, name))))),
      },
      { weight: 2, arbitrary: junkText.map(encoded) },
      { weight: 1, arbitrary: fc.constantFrom(...BROKEN_ENCODINGS) },
      ...(name === "cursor" ? [{ weight: 8, arbitrary: forgedCursor }] : []),
    );
  const style = fc.oneof(
    { weight: 12, arbitrary: fc.constant("") },
    {
      weight: 1,
      arbitrary: fc.constantFrom("[]", "[0]", "[99]", "[b]", "[lat]", "[toString]", "[b][c][d]"),
    },
  );
  const known = query.map((name) =>
    fc.oneof(
      { weight: 6, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.tuple(style, value(name)).map(([s, v]) => [`${name}${s}=${v}`]) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(value(name), value(name))
          .map(([a, b]) =>
            name === "near"
              ? [`near[lat]=${a}`, `near[lng]=${b}`]
              : [`${name}=${a}`, `${name}=${b}`],
          ),
      },
    ),
  );
  const surplus = fc.oneof(
    { weight: 8, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(...FORBIDDEN_FIELDS.slice(0, -1)), style, junkText)
        .map(([[name], s, v]) => [
          `${encoded(name.isWellFormed() ? name : "x")}${s}=${encoded(v)}`,
        ]),
    },
    { weight: 1, arbitrary: fc.constantFrom(["&&&"], ["=="], ["%=%"], ["a"], ["[]=1"], ["[a]=1"]) },
  );
  return fc
    .tuple(...known, surplus)
    .map((parts) => parts.flat().join("&"))
    .map((text) => (text === "" ? "" : `?${text}`));
}

function pathOf(route: Route): fc.Arbitrary<string> {
  const segments = route.path.split("/").map((segment) => {
    if (!segment.startsWith(":")) return fc.constant(segment);
    return fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...thingsOf(route, segment.slice(1))) },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom(...BROKEN_IDS, ...HOSTILE_TEXTS, "⟦x:3000⟧", "ME", "me ")
          // An empty segment and dots are other paths; half a pair has no bytes to be encoded.
          .filter((text) => text.trim() !== "" && text.isWellFormed())
          .map(encoded),
      },
      { weight: 1, arbitrary: fc.constantFrom(...BROKEN_ENCODINGS) },
    );
  });
  return fc.tuple(...segments).map((parts) => parts.join("/"));
}

const BAD_AUTHORIZATIONS = [
  "",
  "Bearer",
  "Bearer ",
  "Bearer x",
  "Bearer a.b.c",
  "Bearer ⟦x:5000⟧",
  "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwicm9sZSI6ImFkbWluIn0.",
  "Bearer ⟦token:attendee⟧x",
  "bearer  ⟦token:ended⟧",
  "Basic YWRtaW46YWRtaW4=",
  "⟦token:attendee⟧",
  "Bearer ⟦token:attendee⟧, Bearer ⟦token:admin⟧",
];

function senderOf(route: Route): fc.Arbitrary<Sender> {
  return fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom<Sender>(...sendersOf(route)) },
    { weight: 1, arbitrary: fc.constantFrom<Sender>("attendee", "host", "admin") },
    { weight: 1, arbitrary: fc.constant<Sender>("nobody") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...BAD_AUTHORIZATIONS).map((authorization) => ({ authorization })),
    },
  );
}

const oddHeaders: fc.Arbitrary<Record<string, string>> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('"1"', 'W/"1-x"', '"99999999999"', "*", ",,,", "⟦x:3000⟧", "\u00ff", "1")
      .map((tag) => ({ "if-match": tag })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Record<string, string>>(
      { "if-none-match": "*" },
      { "x-request-id": "⟦x:200⟧" },
      { "x-forwarded-for": "1, 2, ::, x" },
      { accept: "application/xml" },
      { "accept-encoding": "gzip;q=x, *;q=0" },
      { "content-encoding": "gzip" },
      { "x-http-method-override": "DELETE" },
      { origin: "null" },
      { host: "[::" },
    ),
  },
);

const IDEMPOTENCY_KEYS = [
  "",
  "⟦x:256⟧",
  "⟦x:255⟧",
  "⟦x:3000⟧",
  "⟦fresh⟧",
  "again",
  "again, again",
  " again ",
  '"again"',
  "\u00ff\u0080",
  "a\tb",
  "'; DROP TABLE idempotency_keys;--",
  "$1",
  "\\x00",
  "__proto__",
];

/** Headers of a request to a route; a key for its repetition often where the route takes one. */
const headersOf = ({ definition: { rest } }: Route): fc.Arbitrary<Record<string, string>> =>
  fc.oneof(
    { weight: rest?.idempotent ? 4 : 14, arbitrary: oddHeaders },
    {
      weight: rest?.idempotent ? 4 : 1,
      arbitrary: fc.constantFrom(...IDEMPOTENCY_KEYS).map((key) => ({ "idempotency-key": key })),
    },
  );

/** Requests to a route in which good and bad parts are mixed, so that some of the bad ones get far. */
export function junkFor(route: Route): fc.Arbitrary<JunkRequest> {
  return fc
    .record({
      method: fc.oneof(
        { weight: 20, arbitrary: fc.constant(route.method) },
        { weight: 1, arbitrary: fc.constantFrom(...ODD_METHODS) },
      ),
      path: pathOf(route),
      query: queryOf(route),
      as: senderOf(route),
      payload: payloadOf(route),
      odd: headersOf(route),
    })
    .map(({ path, query, payload, odd, ...request }) => ({
      ...request,
      ...payload,
      path: `${path}${query}`,
      headers: { ...odd, ...payload.headers },
    }));
}

/** Every field of a route with every piece of junk in its place, all else in order. */
export function* everyFieldSpoilt(route: Route): Generator<JunkRequest> {
  const { body, query } = parametersOf(route.definition);
  const good = goodRequest(route);
  const goodFields: [string, string][] = Object.entries(JSON.parse(good.body ?? "{}")).map(
    ([name, value]) => [name, asJson(value)],
  );
  const withFields = (fields: [string, string][]): JunkRequest => ({
    ...good,
    headers: JSON_HEADERS,
    body: `{${fields.map(([name, json]) => field(name, json)).join(",")}}`,
  });
  const values = [
    ...[...HOSTILE_TEXTS, ...LONG_TEXTS, ...BROKEN_IDS, ...CODES, ...BROKEN_TIMES].map(asJson),
    ...ODD_NUMBERS,
    ...["null", "true", "[]", "{}", "[[]]", '{"lat":"1","lng":"2"}', '{"__proto__":{}}'],
    ...WITHOUT_TEXT,
  ];
  for (const name of body) {
    const others = goodFields.filter(([other]) => other !== name);
    yield withFields(others);
    for (const json of values) yield withFields([...others, [name, json]]);
  }
  if (body.length) {
    for (const [name, json] of FORBIDDEN_FIELDS) yield withFields([...goodFields, [name, json]]);
  }
  for (const key of IDEMPOTENCY_KEYS) {
    yield { ...good, headers: { ...good.headers, "idempotency-key": key } };
  }
  const texts = [...HOSTILE_TEXTS, ...BROKEN_IDS, ...BROKEN_TIMES, ...ODD_NUMBERS, "⟦x:2001⟧"];
  for (const name of query) {
    for (const text of texts.filter((candidate) => candidate.isWellFormed())) {
      yield { ...good, path: `${good.path}?${name}=${encoded(text)}` };
    }
    for (const raw of BROKEN_ENCODINGS) yield { ...good, path: `${good.path}?${name}=${raw}` };
    for (const style of ["[]", "[0]", "[b]", "[lat]"]) {
      yield { ...good, path: `${good.path}?${name}${style}=1` };
    }
  }
}
