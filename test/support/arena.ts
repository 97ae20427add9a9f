/**
 * An arena that throws junk at a running system: each answer must be one that the contract has, and
 * whatever is refused must leave every row as it was.
 */
import { Agent, request as httpRequest } from "node:http";
import fc from "fast-check";
import { Client } from "pg";
import type { Role } from "../../lib/contract/define";
import { errorCatalogue } from "../../lib/errors";
import { API_BASE, type Route } from "../../services/api/routes";
import { type DescriptionCheck, describedBy } from "./api-description";
import { intercepted } from "./intercepted";
import { asJson, type JunkRequest, junkFor, NOBODYS_ID, nameOf, routes, type Sender } from "./junk";
import { Api, type Person } from "./people";
import { VAPID } from "./push-service";
import { type Spread, startTestSystem, type TestSystem } from "./system";
import { unsubscribeToken } from "./unsubscribe-token";
import { type Change, type Row, WatchedTables } from "./watched-tables";

/** Only for a booking in its place does somebody lose a place on a waiting list by what others do. */
const WAITED_ENOUGH = "waitlist → bookings";
/** Seats that become free go to who waits, and what has become of bookings is written down to be told. */
const PROMOTES = [
  ...["+bookings", "+tickets", WAITED_ENOUGH, "events.number_of_attendees"],
  "+outbox",
];
const CANCELS_BOOKINGS = [
  ...["status", "cancel_reason", "hold_expires_at", "version", "updated_at"].map(
    (column) => `bookings.${column}`,
  ),
  ...["tickets.status", "events.number_of_attendees", "+outbox"],
];
const CHANGES_PREFERENCES = [
  ...["+notification_preferences", "-notification_preferences"],
  "notification_preferences.enabled",
];
const CHECKS_IN = ["tickets.status", "tickets.checked_in_at"];

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
    ...["users.*", "-users", "sessions.ended_at", "sessions.end_reason", "-sessions", "-follows"],
    ...["-interests", "-told_moments", "-awaited_sales", "-push_subscriptions"],
    ...["-refresh_tokens", "-notifications", "-notification_preferences", "-idempotency_keys"],
    "-waitlist",
    ...["events.*", "-events"],
    ...[...CANCELS_BOOKINGS, ...PROMOTES],
  ],
  "users.follow": ["+follows"],
  "users.unfollow": ["-follows"],
  "events.create": ["+events", "+awaited_sales", "+idempotency_keys", "+outbox"],
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
  ]
    .map((column) => `events.${column}`)
    .concat("+awaited_sales", "-awaited_sales", "awaited_sales.opens_at", PROMOTES),
  "events.publish": ["events.status", "events.version", "events.updated_at", ...PROMOTES],
  "events.postpone": [
    ...["status", "version", "updated_at", "start_date_time", "end_date_time"].map(
      (column) => `events.${column}`,
    ),
    "+outbox",
  ],
  "events.cancel": [
    ...["events.status", "events.version", "events.updated_at", "events.cancelled_because"],
    ...["-waitlist", "-awaited_sales", ...CANCELS_BOOKINGS],
  ],
  "events.delete": [
    ...["events.status", "events.version", "events.updated_at", "events.deleted_at"],
    ...[
      "-events",
      "-waitlist",
      "-interests",
      "-told_moments",
      "-awaited_sales",
      ...CANCELS_BOOKINGS,
    ],
  ],
  "events.expressInterest": ["+interests"],
  "events.withdrawInterest": ["-interests"],
  "bookings.create": [
    ...["+bookings", "+tickets", "events.number_of_attendees"],
    ...["+outbox", "+idempotency_keys"],
  ],
  "bookings.cancel": [...CANCELS_BOOKINGS, ...PROMOTES],
  "bookings.joinWaitlist": ["+waitlist", "+idempotency_keys"],
  "bookings.leaveWaitlist": ["-waitlist"],
  "bookings.checkIn": CHECKS_IN,
  "bookings.undoCheckIn": CHECKS_IN,
  "notifications.markRead": ["notifications.is_read"],
  "notifications.markAllRead": ["notifications.is_read"],
  "notifications.subscribeToPush": [
    ...["+push_subscriptions", "push_subscriptions.*", "-push_subscriptions"],
    "+idempotency_keys",
  ],
  "notifications.unsubscribeFromPush": ["-push_subscriptions"],
  "notifications.changePreferences": CHANGES_PREFERENCES,
  "notifications.unsubscribe": CHANGES_PREFERENCES,
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

/** What it answers for an Idempotency-Key, where it takes one. */
const KEY_CODES = ["IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_PROGRESS"];

/** Messages on their way out of the system, which they leave when they may. */
const ON_THEIR_WAY: ReadonlySet<string> = new Set(["dispatches", "deliveries"]);
/** What is told because its time has come. */
const BY_THE_CLOCK: readonly unknown[] = ["saleStarted", "reminderDue"];
/**
 * Rows that come beside whatever is asked for: people are told a moment after what they are told of, so a notification
 * may belong to an earlier request, as does what a consumer has heard of, and of what the clock brings no request knows.
 */
const isOfNoRequest = ({ table, before, after }: Change): boolean =>
  // Kept for as long as it takes to clear away what an erased person has left.
  ON_THEIR_WAY.has(table) ||
  (table === "undelivered" && (before ?? after)?.name === "users.erased") ||
  (before
    ? table === "awaited_sales" && !after
    : table === "notifications" ||
      table === "inbox" ||
      table === "told_moments" ||
      (table === "outbox" && BY_THE_CLOCK.includes(after?.action)));

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
  private fresh = 0;
  private readonly people = new Map<string, Person>();
  /** The hash of the password that each person knows. */
  private readonly passwords = new WeakMap<Person, string>();
  private readonly things = new Map<string, string>();

  private constructor(
    private readonly system: TestSystem,
    private readonly api: Api,
    private readonly description: DescriptionCheck,
    private readonly sql: Client,
    private readonly tables: WatchedTables,
  ) {}

  static async open(spread: Spread = "one process"): Promise<Arena> {
    let arena: Arena | undefined;
    const wrapDatabase = intercepted(async (sql) => {
      await arena?.interfere?.(sql);
      return sql;
    });
    // No hold lapses by itself while junk is thrown.
    const environment = { BOOKING_HOLD_SECONDS: "604800", ...VAPID };
    const system = await startTestSystem({ wrapDatabase, spread, environment });
    const api = await Api.at(system.origin);
    const sql = new Client({ connectionString: system.database.url });
    await sql.connect();
    const description = await describedBy(system.origin);
    arena = new Arena(system, api, description, sql, await WatchedTables.open(sql));
    const catalogue = await sql.query("SELECT id FROM available_events ORDER BY name LIMIT 1");
    arena.things.set("availableEvent", catalogue.rows[0].id);
    const ended = await api.attendee("Ended");
    arena.things.set("token:ended", ended.token);
    await ended.does(204, "POST", "/auth/logout");
    arena.things.set("unsubscribe", unsubscribeToken(system, (await api.attendee("Tired")).who.id));
    await arena.heal();
    return arena;
  }

  /** @throws Error where a row changed that the judge cannot have seen */
  async close(): Promise<void> {
    this.agent.destroy();
    try {
      await this.tables.check();
    } finally {
      await this.sql.end();
      await this.system.stop();
    }
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
    const changes = await this.tables.look();
    if (changes.length) {
      note(() => this.judgeChanges(request, answer, changes));
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
    return text.replace(/⟦([^⟦⟧]*)⟧/gs, (_, name: string) => {
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
        const own = (route.definition.errors ?? []).map(({ code }) => code);
        const ofKey = route.definition.rest?.idempotent ? KEY_CODES : [];
        if (![...own, ...ofKey].includes(body.code)) {
          throw new Error(`${route.action} does not declare ${body.code}`);
        }
      }
      if (body.code === "VALIDATION_FAILED" && !body.errors?.length) {
        throw new Error("422 names no field");
      }
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
    const counted = changes.filter((change) => !isOfNoRequest(change));
    if (counted.length === 0) return;
    if (status >= 400) throw new Error(`Refused, and yet changed: ${counted.map(told).join(", ")}`);
    const route = this.routeOf(request);
    const isAdmin = request.as === "admin";
    const allowed = new Set([
      ...(MAY_CHANGE[route?.action ?? ""] ?? []),
      ...((isAdmin && ADMIN_MAY_CHANGE[route?.action ?? ""]) || []),
    ]);
    const actor = typeof request.as === "string" ? this.people.get(request.as)?.who.id : undefined;
    const cancelled = new Set(
      counted
        .filter(({ table, after }) => table === "events" && after?.status !== "published")
        .map(({ key }) => key),
    );
    const seatOf = (row: Row | undefined) => `${row?.event_id} ${row?.user_id}`;
    const rowsOf = (wanted: string, isWanted: (change: Change) => boolean) =>
      counted.filter((change) => change.table === wanted && isWanted(change));
    const waited = rowsOf("waitlist", ({ after }) => !after).map(({ before }) => seatOf(before));
    const booked = rowsOf("bookings", ({ before }) => !before).map(({ after }) => seatOf(after));
    for (const change of counted) {
      const { table, before, after, columns } = change;
      const byPromotion = waited.includes(seatOf(after)) || booked.includes(seatOf(before));
      const isAllowed = !before
        ? allowed.has(`+${table}`)
        : !after
          ? allowed.has(`-${table}`) || (byPromotion && allowed.has(WAITED_ENOUGH))
          : columns.every((name) => allowed.has(`${table}.${name}`) || allowed.has(`${table}.*`));
      if (!isAllowed) throw new Error(`${route?.action} may not change ${told(change)}`);
      const forged = before ? undefined : this.forgedIn(table, after ?? {}, actor, byPromotion);
      if (forged) throw new Error(`${table}.${forged} of a new row was set by the request`);
      const owner = before && OWNER[table] ? before[OWNER[table]] : undefined;
      const isSeats = table === "events" && columns.join() === "number_of_attendees";
      const isTheirs = owner !== undefined && owner !== actor;
      // Whoever waits for an event that is cancelled or removed waits no more.
      const byEnd = table === "waitlist" && !after && cancelled.has(String(before?.event_id));
      if (actor && isTheirs && !isAdmin && !isSeats && !byPromotion && !byEnd) {
        throw new Error(`${table} of somebody else: ${told(change)}`);
      }
    }
  }

  /** Whether somebody still has the account, password, role and session they had. */
  private isWell(person: Person | undefined, role: Role): boolean {
    if (!person) return false;
    const claims = Buffer.from(person.token.split(".")[1] ?? "", "base64url").toString();
    const user = this.tables.row("users", person.who.id);
    const session = this.tables.row("sessions", JSON.parse(claims).sid);
    const signsIn =
      user?.email === person.who.email && user.password_hash === this.passwords.get(person);
    return signsIn && user.role === role && !user.deleted_at && session?.ended_at === null;
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
    const find = "SELECT password_hash FROM users WHERE id = $1";
    this.passwords.set(person, (await this.sql.query(find, [person.who.id])).rows[0].password_hash);
    return person;
  }

  private isInOrder(row: Row | undefined, host: Person, status: "published" | "draft"): row is Row {
    return (
      row?.status === status &&
      row.host_id === host.who.id &&
      !row.deleted_at &&
      Date.parse(String(row.end_date_time)) > Date.now() &&
      (row.sale_starts_at ?? row.sale_ends_at) === null
    );
  }

  /** An event with seats for everybody. */
  private async event(
    name: string,
    host: Person,
    fields: { status?: "published" | "draft"; price?: number; currency?: string } = {},
  ): Promise<void> {
    const { status = "published", price = 0 } = fields;
    const row = this.tables.row("events", this.things.get(name));
    const isWell =
      this.isInOrder(row, host, status) && row.price === price && Number(row.capacity) >= 100;
    if (!isWell)
      this.things.set(name, (await host.createsEvent({ ...fields, capacity: 100_000 })).id);
  }

  private isActive({ status }: Row): boolean {
    return status === "confirmed" || status === "pending";
  }

  /** The rows of a table that say that somebody has, or waits for, seats of an event. */
  private rowsOf(table: "bookings" | "waitlist", eventId: string, { who }: Person): Row[] {
    return this.tables
      .rows(table)
      .filter((row) => row.event_id === eventId && row.user_id === who.id);
  }

  /** An event of one seat, which is taken, and for which the attendee waits or not. */
  private async fullEvent(
    kind: "full" | "waited",
    host: Person,
    taker: Person,
    attendee: Person,
  ): Promise<void> {
    let id = this.things.get(`event:${kind}`) ?? "";
    const row = this.tables.row("events", id);
    const isWell =
      this.isInOrder(row, host, "published") &&
      row.price === 0 &&
      row.capacity === 1 &&
      this.rowsOf("bookings", id, taker).some((booking) => this.isActive(booking));
    if (!isWell) {
      id = (await host.createsEvent({ capacity: 1 })).id;
      this.things.set(`event:${kind}`, id);
      this.things.set(`booking:${kind}`, (await taker.books({ id })).id);
    }
    const waits = this.rowsOf("waitlist", id, attendee).length > 0;
    if (waits && kind === "full") await attendee.does(204, "DELETE", `/events/${id}/waitlist`);
    if (!waits && kind === "waited") await attendee.waitsFor({ id });
  }

  /** Somebody's booking, of two seats; the first ticket is still to be shown, the second one was. */
  private async booking(whose: "own" | "other", person: Person, host: Person): Promise<void> {
    const eventId = this.things.get(`event:${whose}`) ?? "";
    const row = this.tables.row("bookings", this.things.get(`booking:${whose}`));
    if (row?.status !== "confirmed" || row.event_id !== eventId || row.user_id !== person.who.id) {
      const { id, tickets } = await person.books({ id: eventId }, 2);
      this.things.set(`booking:${whose}`, id);
      for (const [i, name] of [whose, `${whose}Shown`].entries()) {
        this.things.set(`ticket:${name}`, tickets[i]?.id ?? "");
        this.things.set(`code:${name}`, tickets[i]?.code ?? "");
      }
    }
    const isIn = (name: string) =>
      this.tables.row("tickets", this.things.get(`ticket:${name}`))?.status === "checked_in";
    const door = (name: string, step = "") =>
      host.does(200, "POST", `/events/${eventId}/check-in${step}`, {
        code: this.things.get(`code:${name}`),
      });
    if (isIn(whose)) await door(whose, "/undo");
    if (!isIn(`${whose}Shown`)) await door(`${whose}Shown`);
    const notice = this.tables.row("notifications", this.things.get(`notification:${whose}`));
    if (notice?.user_id !== person.who.id) {
      const [first] = await person.isTold("booking.confirmed");
      this.things.set(`notification:${whose}`, first.id);
    }
  }

  /** Seats that the attendee has not paid for yet. */
  private async hold(person: Person): Promise<void> {
    const eventId = this.things.get("event:priced") ?? "";
    const row = this.tables.row("bookings", this.things.get("booking:held"));
    if (row?.status === "pending" && row.event_id === eventId && row.user_id === person.who.id) {
      return;
    }
    this.things.set("booking:held", (await person.books({ id: eventId })).id);
  }

  /** Puts back what a successful request has taken away, so that the next one meets everything again. */
  private async heal(): Promise<void> {
    await this.person("admin", "admin");
    const [host, other] = [await this.person("host", "host"), await this.person("rival", "host")];
    const attendee = await this.person("attendee", "attendee");
    const stranger = await this.person("other", "attendee");
    await this.event("event:own", host);
    await this.event("event:ownDraft", host, { status: "draft" });
    await this.event("event:other", other);
    await this.event("event:draft", other, { status: "draft" });
    await this.event("event:priced", other, { price: 500, currency: "EUR" });
    await this.booking("own", attendee, host);
    await this.booking("other", stranger, other);
    await this.hold(attendee);
    const spare = (row: Row) =>
      row.user_id === attendee.who.id &&
      this.isActive(row) &&
      row.id !== this.things.get("booking:own") &&
      row.id !== this.things.get("booking:held");
    for (const row of this.tables.rows("bookings").filter(spare)) {
      await attendee.cancels({ id: String(row.id) });
    }
    await this.fullEvent("full", other, stranger, attendee);
    await this.fullEvent("waited", host, stranger, attendee);
    // What this has changed is no request's.
    await this.tables.look();
  }

  /** The column of a new row that holds what only the system decides; undefined where all is well. */
  private forgedIn(
    table: string,
    row: Row,
    actor: string | undefined,
    byPromotion: boolean,
  ): string | undefined {
    const price = Number(this.tables.row("events", String(row.event_id))?.price);
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
        user_id: row.user_id !== actor && !byPromotion,
        amount: row.amount !== price * Number(row.quantity),
        status: row.status !== (price > 0 ? "pending" : "confirmed"),
      },
      waitlist: { id: row.id === NOBODYS_ID, user_id: row.user_id !== actor },
      interests: { user_id: row.user_id !== actor },
      push_subscriptions: { id: row.id === NOBODYS_ID, user_id: row.user_id !== actor },
      idempotency_keys: { user_id: row.user_id !== actor },
      // Whoever has the link in somebody's mail may end their mails, and nothing else.
      notification_preferences: {
        user_id: row.user_id !== actor && (row.channel !== "email" || row.enabled !== false),
      },
    };
    return Object.entries(wrong[table] ?? {}).find(([, isForged]) => isForged)?.[0];
  }
}

/** Column that says whose a row is. */
const OWNER: Readonly<Record<string, string>> = {
  users: "id",
  events: "host_id",
  notifications: "user_id",
  waitlist: "user_id",
  push_subscriptions: "user_id",
};

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
