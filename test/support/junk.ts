/**
 * Junk for every route of the contracts, and an arena that throws it at a running system: each answer must
 * be one that the contract has, and whatever is refused must leave every row as it was.
 *
 * Requests are data without ids of the moment: `⟦event:own⟧` stands for the id of a thing that exists when
 * the request is sent. So a counter-example can be printed, shrunk and kept as a regression case.
 */
import { Agent, request as httpRequest } from "node:http";
import fc from "fast-check";
import { Client } from "pg";
import type { Role } from "../../lib/contract/define";
import type { Rule } from "../../lib/contract/rules";
import type { Database } from "../../lib/database";
import { errorCatalogue } from "../../lib/errors";
import { parametersOf } from "../../services/api/parameters";
import { API_BASE, type Route, routesOf } from "../../services/api/routes";
import { contracts } from "../../services/contracts";
import { type DescriptionCheck, describedBy } from "./api-description";
import { Api, inDays, type Person } from "./people";
import { type Spread, startTestSystem, type TestSystem } from "./system";

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
const NOBODYS_ID = "01890000-0000-7000-8000-000000000000";

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
  "⟦notification:other⟧",
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

const asJson = (value: unknown): string => JSON.stringify(value);

/** Values in JSON that hardly any field wants; as text, because `1e400` and `-0` are no values of JavaScript. */
const junkJson: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...HOSTILE_TEXTS, ...LONG_TEXTS).map(asJson),
  fc.constantFrom(...BROKEN_IDS, ...BROKEN_TIMES).map(asJson),
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
    '{"__proto__":{"role":"admin"}}',
    '{"constructor":{"prototype":{"role":"admin"}}}',
    '{"length":1000000000}',
    '["⟦x:41⟧"]',
    `[${Array(21).fill('"tag"').join()}]`,
    "⟦deep:500⟧",
  ),
  fc.string({ unit: "binary", maxLength: 60 }).map(asJson),
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
};
/** Parameters that go together in ways that no rule of a single one tells: those of a good request. */
const GOOD_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  "auth.signIn": ["usernameOrEmail", "password"],
};
/** Where the first of {@link THINGS} is in no state for it. */
const GOOD_THING: Readonly<Record<string, string>> = { "events.publish": "⟦event:ownDraft⟧" };
/** What the path of a route names, by the code of its 404. */
const THINGS: Readonly<Record<string, readonly string[]>> = {
  EVENT_NOT_FOUND: ["⟦event:own⟧", "⟦event:ownDraft⟧", "⟦event:other⟧", "⟦event:draft⟧"],
  BOOKING_NOT_FOUND: ["⟦booking:own⟧", "⟦booking:other⟧"],
  USER_NOT_FOUND: ["me", "⟦user:attendee⟧", "⟦user:host⟧", "⟦user:other⟧"],
  NOTIFICATION_NOT_FOUND: ["⟦notification:own⟧", "⟦notification:other⟧"],
};

function sample(name: string, rule: Rule): unknown {
  const made = SAMPLES[name];
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

/** Percent-encoded, placeholders left as they are. */
const encoded = (text: string): string =>
  text
    .split(/(⟦.*?⟧)/s)
    .map((part) => (part.startsWith("⟦") ? part : encodeURIComponent(part)))
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
  return {
    method: route.method,
    path: route.path.replace(/:(\w+)/g, (_, parameter) => goodThing(route, parameter)),
    as: sendersOf(route)[0] ?? "nobody",
    headers: body.length ? { "content-type": "application/json" } : {},
    ...(body.length
      ? {
          body: asJson(
            Object.fromEntries(body.map((name) => [name, sample(name, ruleOf(route, name))])),
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
        arbitrary: fc.constant(null).map(() => [field(name, asJson(sample(name, rule)))]),
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
        .tuple(fc.string({ unit: "binary", maxLength: 20 }), junkJson)
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
      odd: oddHeaders,
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
    ...[...HOSTILE_TEXTS, ...LONG_TEXTS, ...BROKEN_IDS, ...BROKEN_TIMES].map(asJson),
    ...ODD_NUMBERS,
    ...["null", "true", "[]", "{}", "[[]]", '{"lat":"1","lng":"2"}', '{"__proto__":{}}'],
  ];
  for (const name of body) {
    const others = goodFields.filter(([other]) => other !== name);
    yield withFields(others);
    for (const json of values) yield withFields([...others, [name, json]]);
  }
  if (body.length) {
    for (const [name, json] of FORBIDDEN_FIELDS) yield withFields([...goodFields, [name, json]]);
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

/**
 * What a success of an action may do to rows that exist: `table.column`, `table.*` or `-table` where rows
 * may go, and `+table` where rows may come. A route that changes anything else fails.
 */
const MAY_CHANGE: Readonly<Record<string, readonly string[]>> = {
  "auth.signUp": ["+users", "+sessions", "+refresh_tokens"],
  "auth.signIn": ["+sessions", "+refresh_tokens"],
  "auth.refresh": ["+refresh_tokens", "refresh_tokens.used_at", "sessions.expires_at"],
  "auth.signOut": ["sessions.ended_at", "sessions.end_reason"],
  "auth.changePassword": [
    ...["users.password_hash", "users.updated_at"],
    ...["sessions.ended_at", "sessions.end_reason"],
  ],
  "users.update": [
    ...["name", "email", "username", "phone", "updated_at", "email_verified"].map(
      (column) => `users.${column}`,
    ),
  ],
  "users.delete": [
    ...["users.*", "-users", "sessions.ended_at", "sessions.end_reason", "-sessions"],
    ...["-refresh_tokens", "-notifications", "events.*", "-events", "bookings.*", "tickets.status"],
  ],
  "events.create": ["+events"],
  "events.update": [
    ...["title", "description", "location", "latitude", "longitude", "start_date_time"],
    ...[
      "end_date_time",
      "time_zone",
      "available_event_id",
      "capacity",
      "price",
      "currency",
      "tags",
    ],
    ...["sale_starts_at", "sale_ends_at", "version", "updated_at"],
  ].map((column) => `events.${column}`),
  "events.publish": ["events.status", "events.version", "events.updated_at"],
  "events.postpone": [
    ...["status", "version", "updated_at", "start_date_time", "end_date_time"],
  ].map((column) => `events.${column}`),
  "events.cancel": [
    ...["events.status", "events.version", "events.updated_at", "events.number_of_attendees"],
    ...["bookings.status", "bookings.cancel_reason", "bookings.updated_at", "tickets.status"],
  ],
  "events.delete": [
    ...["events.status", "events.version", "events.updated_at", "events.number_of_attendees"],
    ...["events.deleted_at", "-events"],
    ...["bookings.status", "bookings.cancel_reason", "bookings.updated_at", "tickets.status"],
  ],
  "bookings.create": ["+bookings", "+tickets", "events.number_of_attendees"],
  "bookings.cancel": [
    ...["bookings.status", "bookings.cancel_reason", "bookings.updated_at", "tickets.status"],
    "events.number_of_attendees",
  ],
  "notifications.markRead": ["notifications.is_read"],
  "notifications.markAllRead": ["notifications.is_read"],
};
/** Administrators may set roles too, which ends the sessions that carry the old one. */
const ADMIN_MAY_CHANGE: Readonly<Record<string, readonly string[]>> = {
  "users.update": ["users.role", "sessions.ended_at", "sessions.end_reason"],
};

/** What the gateway itself may answer on any route. */
const GENERAL_CODES = new Set([
  ...["VALIDATION_FAILED", "MALFORMED_JSON", "BAD_REQUEST", "UNAUTHENTICATED", "FORBIDDEN"],
  ...["NOT_FOUND", "METHOD_NOT_ALLOWED", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"],
  "HEADERS_TOO_LARGE",
]);

type Row = Record<string, unknown>;
/** Rows by table and key. */
type Snapshot = Map<string, Map<string, Row>>;

interface Change {
  table: string;
  key: string;
  before: Row | undefined;
  after: Row | undefined;
  columns: string[];
}

function changesBetween(before: Snapshot, after: Snapshot): Change[] {
  const changes: Change[] = [];
  for (const [table, rows] of after) {
    const old = before.get(table) ?? new Map<string, Row>();
    for (const key of new Set([...old.keys(), ...rows.keys()])) {
      const [was, is] = [old.get(key), rows.get(key)];
      const columns = Object.keys(was ?? is ?? {}).filter(
        (column) => asJson(was?.[column]) !== asJson(is?.[column]),
      );
      if (columns.length) changes.push({ table, key, before: was, after: is, columns });
    }
  }
  return changes;
}

const told = ({ table, before, after, columns }: Change): string =>
  before && after
    ? `${table}.${columns.join("/")} of ${before.id}`
    : `a row ${after ? "more in" : "less in"} ${table}`;

interface RawAnswer {
  status: number;
  contentType: string | null;
  requestId: string | undefined;
  text: string;
}

const ANSWER_TIMEOUT_MS = 15_000;

const fits = (pattern: string, path: string) =>
  new RegExp(`^${pattern.replace(/:\w+/g, "[^/]+")}$`).test(path);

const clip = (text: string) => (text.length > 600 ? `${text.slice(0, 600)}…` : text);

/** A system to throw junk at, with somebody of every role, things of theirs, and things of people who do nothing. */
export class Arena {
  /** Stands between the services and the database while it is set: a control shows with it that the judge sees. */
  interfere: ((sql: string) => Promise<void>) | undefined;

  private readonly agent = new Agent({ keepAlive: true });
  private readonly sql: Client;
  private tables: string[] = [];
  private state: Snapshot = new Map();
  private sum = "";
  private fresh = 0;
  private readonly people = new Map<string, Person>();
  private readonly things = new Map<string, string>();

  private constructor(
    private readonly system: TestSystem,
    private readonly api: Api,
    private readonly description: DescriptionCheck,
  ) {
    this.sql = new Client({ connectionString: system.database.url });
  }

  static async open(spread: Spread = "one process"): Promise<Arena> {
    let arena: Arena | undefined;
    const wrapDatabase = (database: Database): Database => ({
      ...database,
      async query(sql, bind, transaction) {
        await arena?.interfere?.(sql);
        return database.query(sql, bind, transaction);
      },
    });
    const system = await startTestSystem({ wrapDatabase, spread });
    const api = await Api.at(system.origin);
    arena = new Arena(system, api, await describedBy(system.origin));
    await arena.sql.connect();
    const { rows } = await arena.sql.query(
      "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    );
    arena.tables = rows.map(({ table_name }) => table_name);
    const catalogue = await arena.sql.query(
      "SELECT id FROM available_events ORDER BY name LIMIT 1",
    );
    arena.things.set("availableEvent", catalogue.rows[0].id);
    const ended = await api.attendee("Ended");
    arena.things.set("token:ended", ended.token);
    await ended.does(204, "POST", "/auth/logout");
    await arena.heal();
    return arena;
  }

  async close(): Promise<void> {
    this.agent.destroy();
    await this.sql.end();
    await this.system.stop();
  }

  /** Runs a statement beside the system, with `⟦things⟧` in it. */
  async meddle(sql: string): Promise<void> {
    await this.sql.query(this.resolved(sql));
  }

  /**
   * Sends a request and judges the answer and what it did to the tables.
   *
   * @throws Error that says what is wrong
   */
  async judge(request: JunkRequest): Promise<RawAnswer> {
    const answer = await this.send(request);
    const faults: string[] = [];
    const note = (work: () => void) => {
      try {
        work();
      } catch (error) {
        faults.push(error instanceof Error ? error.message : String(error));
      }
    };
    note(() => this.judgeAnswer(request, answer));
    if ((await this.checksum()) !== this.sum) {
      const before = this.state;
      this.state = await this.snapshot();
      note(() => this.judgeChanges(request, answer, changesBetween(before, this.state)));
      const route = this.routeOf(request);
      if (answer.status < 300 && route?.action === "auth.refresh") this.takeTokens(answer.text);
      await this.heal();
    }
    if (faults.length) {
      throw new Error(
        `${faults.join("\n")}\n${request.method} ${clip(request.path)} as ${asJson(request.as)} → ` +
          `${answer.status} ${clip(answer.text)}`,
      );
    }
    return answer;
  }

  private routeOf({ method, path }: JunkRequest): Route | undefined {
    const plain = this.resolved(path.split("?", 1)[0] ?? "");
    const wanted = method === "HEAD" ? "GET" : method;
    // Routes are sorted as the gateway tries them.
    const first = routes.find((route) => fits(route.path, plain));
    return routes.find((route) => route.path === first?.path && route.method === wanted);
  }

  private takeTokens(text: string): void {
    const attendee = this.people.get("attendee");
    if (attendee) attendee.refreshToken = JSON.parse(text).refreshToken;
  }

  /** Text with the things of this moment in it. */
  private resolved(text: string): string {
    return text.replace(/⟦(.*?)⟧/gs, (_, name: string) => {
      const size = Number(name.split(":")[1]);
      if (name === "fresh") return String(this.fresh++);
      if (name.startsWith("x:")) return "x".repeat(size);
      if (name.startsWith("deep:")) return "[".repeat(size) + "]".repeat(size);
      if (name.startsWith("base64:")) {
        return Buffer.from(this.resolved(name.slice(7))).toString("base64url");
      }
      const [kind = "", who = ""] = name.split(":");
      const person = this.people.get(who);
      if (kind === "user" && person) return person.who.id;
      if (kind === "email" && person) return person.who.email;
      if (kind === "token" && person) return person.token;
      const thing =
        name === "refreshToken" ? this.people.get("attendee")?.refreshToken : this.things.get(name);
      if (thing === undefined) throw new Error(`There is no ${name} in the arena`);
      return thing;
    });
  }

  private authorization(as: Sender): Record<string, string> {
    if (as === "nobody") return {};
    if (typeof as === "object") return { authorization: this.resolved(as.authorization) };
    return { authorization: `Bearer ${this.people.get(as)?.token}` };
  }

  private send({ method, path, as, headers, body, encoding }: JunkRequest): Promise<RawAnswer> {
    const { hostname, port } = new URL(this.system.origin);
    const bytes = body === undefined ? undefined : Buffer.from(this.resolved(body), encoding);
    return new Promise((resolve, reject) => {
      const sent = httpRequest(
        {
          agent: this.agent,
          hostname,
          port,
          method,
          path: `${API_BASE}${this.resolved(path)}`,
          headers: {
            ...this.authorization(as),
            ...Object.fromEntries(
              Object.entries(headers).map(([name, value]) => [name, this.resolved(value)]),
            ),
            ...(bytes ? { "content-length": bytes.length } : {}),
          },
          timeout: ANSWER_TIMEOUT_MS,
        },
        (res) => {
          const chunks: Buffer[] = [];
          res.on("data", (chunk) => chunks.push(chunk));
          res.once("error", reject);
          res.once("end", () =>
            resolve({
              status: res.statusCode ?? 0,
              contentType: res.headers["content-type"] ?? null,
              requestId: res.headers["x-request-id"]?.toString(),
              text: Buffer.concat(chunks).toString(),
            }),
          );
        },
      );
      sent.once("timeout", () => sent.destroy(new Error("There was no answer")));
      sent.once("error", (error) =>
        reject(new Error(`${method} ${clip(path)} got no answer: ${error.message}`)),
      );
      sent.end(bytes);
    });
  }

  private judgeAnswer(request: JunkRequest, { status, contentType, requestId, text }: RawAnswer) {
    if (status >= 500) throw new Error("The server failed");
    if (status === 304 && request.method !== "GET" && request.method !== "HEAD") {
      throw new Error("Only what was read can be unmodified");
    }
    if (!requestId) throw new Error("The answer has no X-Request-Id");
    const hasText = text !== "" && request.method !== "HEAD";
    const body = hasText && contentType?.includes("json") ? JSON.parse(text) : text || undefined;
    const route = this.routeOf(request);
    if (status >= 400 && request.method !== "HEAD") {
      if (!contentType?.startsWith("application/problem+json")) throw new Error("No problem+json");
      const kind = errorCatalogue().get(body.code);
      if (kind?.status !== status) throw new Error(`${body.code} is no code for ${status}`);
      if (route && !GENERAL_CODES.has(body.code)) {
        const own = route.definition.errors ?? [];
        if (!own.some(({ code }) => code === body.code)) {
          throw new Error(`${route.action} does not declare ${body.code}`);
        }
      }
      if (status === 422 && !body.errors?.length) throw new Error("422 names no field");
    }
    // What is refused before it is a request to any route is described nowhere.
    if (status !== 431 && body?.code !== "BAD_REQUEST" && status !== 304) {
      const path = `${API_BASE}${this.resolved(request.path.split("?", 1)[0] ?? "")}`;
      this.description.check(request.method, path, status, contentType, body);
    }
    if (route && status !== 431) this.judgeOrder(request, route, status);
  }

  /** 401 goes before 403 of the role, and both before whatever else is wrong with a readable request. */
  private judgeOrder({ as, body, headers, encoding }: JunkRequest, route: Route, status: number) {
    if (body !== undefined) {
      const readable = headers["content-type"] === "application/json" && encoding !== "latin1";
      if (!readable || "content-encoding" in headers) return;
      try {
        JSON.parse(this.resolved(body));
      } catch {
        return;
      }
    }
    const { access } = route.definition;
    const isRole = typeof as === "string" && as !== "nobody";
    const expected =
      typeof as === "object" || (as === "nobody" && access !== "public")
        ? 401
        : typeof access === "object" && isRole && !access.roles.includes(as)
          ? 403
          : undefined;
    if (expected && status !== expected) throw new Error(`This must be ${expected}`);
  }

  private judgeChanges(request: JunkRequest, { status }: RawAnswer, changes: Change[]): void {
    // People are told a moment after what they are told of, so a notification may belong to an earlier request.
    const counted = changes.filter(({ table, before }) => table !== "notifications" || before);
    if (counted.length === 0) return;
    if (status >= 400) throw new Error(`Refused, and yet changed: ${counted.map(told).join(", ")}`);
    const route = this.routeOf(request);
    const isAdmin = request.as === "admin";
    const allowed = new Set([
      ...(MAY_CHANGE[route?.action ?? ""] ?? []),
      ...((isAdmin && ADMIN_MAY_CHANGE[route?.action ?? ""]) || []),
    ]);
    const actor = typeof request.as === "string" ? this.people.get(request.as)?.who.id : undefined;
    for (const change of counted) {
      const { table, before, after, columns } = change;
      const isAllowed = !before
        ? allowed.has(`+${table}`)
        : !after
          ? allowed.has(`-${table}`)
          : columns.every((name) => allowed.has(`${table}.${name}`) || allowed.has(`${table}.*`));
      if (!isAllowed) throw new Error(`${route?.action} may not change ${told(change)}`);
      const forged = before ? undefined : forgedIn(table, after ?? {}, actor);
      if (forged) throw new Error(`${table}.${forged} of a new row was set by the request`);
      const owner = before && OWNER[table] ? before[OWNER[table]] : undefined;
      const isSeats = table === "events" && columns.join() === "number_of_attendees";
      if (actor && owner !== undefined && owner !== actor && !isAdmin && !isSeats) {
        throw new Error(`${table} of somebody else: ${told(change)}`);
      }
    }
  }

  private async checksum(): Promise<string> {
    const { rows } = await this.sql.query(
      this.tables
        .map(
          (table) => `SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) AS sum FROM ${table} t`,
        )
        .join(" UNION ALL "),
    );
    return rows.map(({ sum }) => sum).join();
  }

  private async snapshot(): Promise<Snapshot> {
    const state: Snapshot = new Map();
    for (const table of this.tables) {
      const { rows } = await this.sql.query(`SELECT to_jsonb(t) - 'search' AS row FROM ${table} t`);
      state.set(
        table,
        new Map(rows.map(({ row }) => [String(row.id ?? row.token_hash ?? row.name), row])),
      );
    }
    this.sum = await this.checksum();
    return state;
  }

  private row(table: string, id: string | undefined): Row | undefined {
    return id === undefined ? undefined : this.state.get(table)?.get(id);
  }

  /** Whether somebody still has the account, role and session they had. */
  private isWell(person: Person | undefined, role: Role): boolean {
    if (!person) return false;
    const claims = Buffer.from(person.token.split(".")[1] ?? "", "base64url").toString();
    const user = this.row("users", person.who.id);
    const session = this.row("sessions", JSON.parse(claims).sid);
    return user?.role === role && !user.deleted_at && session?.ended_at === null;
  }

  private async person(who: string, role: Role): Promise<Person> {
    const known = this.people.get(who);
    if (known && this.isWell(known, role)) return known;
    const person = await this.api.registers(who, role === "admin" ? "attendee" : role);
    if (role === "admin") {
      await this.sql.query("UPDATE users SET role = 'admin' WHERE id = $1", [person.who.id]);
      const { email, password } = person.who;
      person.token = (
        await this.api.request("POST", "/auth/login", { body: { email, password } })
      ).body.token;
    }
    this.people.set(who, person);
    return person;
  }

  private async event(name: string, host: Person, status: "published" | "draft"): Promise<void> {
    const row = this.row("events", this.things.get(name));
    const isWell =
      row?.status === status &&
      row.host_id === host.who.id &&
      !row.deleted_at &&
      row.price === 0 &&
      Number(row.capacity) >= 100 &&
      Date.parse(String(row.end_date_time)) > Date.now() &&
      (row.sale_starts_at ?? row.sale_ends_at) === null;
    if (!isWell) this.things.set(name, (await host.createsEvent({ status, capacity: 100_000 })).id);
  }

  private async booking(whose: "own" | "other", person: Person): Promise<void> {
    const eventId = this.things.get(`event:${whose}`) ?? "";
    const row = this.row("bookings", this.things.get(`booking:${whose}`));
    if (row?.status !== "confirmed" || row.event_id !== eventId || row.user_id !== person.who.id) {
      this.things.set(`booking:${whose}`, (await person.books({ id: eventId })).id);
    }
    const notice = this.row("notifications", this.things.get(`notification:${whose}`));
    if (notice?.user_id !== person.who.id) {
      const [first] = await person.isTold("booking.confirmed");
      this.things.set(`notification:${whose}`, first.id);
    }
  }

  /** Puts back what a successful request has taken away, so that the next one meets everything again. */
  private async heal(): Promise<void> {
    await this.person("admin", "admin");
    const [host, other] = [await this.person("host", "host"), await this.person("rival", "host")];
    const attendee = await this.person("attendee", "attendee");
    const stranger = await this.person("other", "attendee");
    await this.event("event:own", host, "published");
    await this.event("event:ownDraft", host, "draft");
    await this.event("event:other", other, "published");
    await this.event("event:draft", other, "draft");
    await this.booking("own", attendee);
    await this.booking("other", stranger);
    for (const [id, row] of this.state.get("bookings") ?? []) {
      const isSpare =
        row.user_id === attendee.who.id &&
        row.event_id === this.things.get("event:other") &&
        row.status === "confirmed";
      if (isSpare) await attendee.cancels({ id });
    }
    this.state = await this.snapshot();
  }
}

/** Column that says whose a row is. */
const OWNER: Readonly<Record<string, string>> = {
  users: "id",
  events: "host_id",
  notifications: "user_id",
};

/** The column of a new row that holds what only the system decides; undefined where all is well. */
function forgedIn(table: string, row: Row, actor: string | undefined): string | undefined {
  const wrong: Record<string, Record<string, boolean>> = {
    users: {
      id: row.id === NOBODYS_ID,
      role: row.role !== "attendee" && row.role !== "host",
      email_verified: row.email_verified !== false,
    },
    events: {
      id: row.id === NOBODYS_ID,
      host_id: row.host_id !== actor,
      number_of_attendees: row.number_of_attendees !== 0,
      version: row.version !== 1,
      status: row.status !== "published" && row.status !== "draft",
    },
    bookings: {
      id: row.id === NOBODYS_ID,
      user_id: row.user_id !== actor,
      amount: row.amount !== 0,
      status: row.status !== "confirmed",
    },
  };
  return Object.entries(wrong[table] ?? {}).find(([, isForged]) => isForged)?.[0];
}

/**
 * Throws junk at a route until it has had enough.
 *
 * @param runs how many requests
 * @param withinMs the time that these and the search for a smaller counter-example may take together
 * @throws Error with the shrunk request, and how to repeat it
 */
export async function throwJunkAt(
  arena: Arena,
  route: Route,
  runs: number,
  withinMs = 25_000,
): Promise<void> {
  const { JUNK_SEED, JUNK_PATH } = process.env;
  const outcome = await fc.check(
    fc.asyncProperty(junkFor(route), async (request) => {
      await arena.judge(request);
    }),
    {
      numRuns: runs,
      interruptAfterTimeLimit: withinMs,
      markInterruptAsFailure: true,
      ...(JUNK_SEED ? { seed: Number(JUNK_SEED) } : {}),
      ...(JUNK_PATH ? { path: JUNK_PATH } : {}),
    },
  );
  if (!outcome.failed) return;
  const { errorInstance, counterexample, seed, counterexamplePath, numRuns, numShrinks } = outcome;
  if (!counterexample) {
    throw new Error(`${numRuns} of ${runs} requests took ${withinMs} ms (JUNK_SEED=${seed})`);
  }
  throw new Error(
    `${errorInstance instanceof Error ? errorInstance.message : errorInstance}\n` +
      `Shrunk ${numShrinks} times to ${JSON.stringify(counterexample[0], null, 2)}\n` +
      `Repeat with JUNK_SEED=${seed} JUNK_PATH=${counterexamplePath} and -t "${nameOf(route)}"`,
  );
}
