import type { Role } from "../../lib/contract/define";
import type { Route } from "../../services/api/routes";
import { crowd } from "../support/crowd";
import { goodRequest, nameOf, routes } from "../support/junk";
import { type Answer, Api, type Booking, type Person } from "../support/people";
import { VAPID } from "../support/push-service";
import { startTestSystem, type TestSystem } from "../support/system";
import { unsubscribeToken } from "../support/unsubscribe-token";

/**
 * Everybody knocks at every door. Whether somebody of a role may come in at all, the contract says; whose
 * things they may touch, the table below does. A route that it lacks fails: somebody has to decide.
 */

const VISITORS = [
  "anonymous",
  "garbage token",
  "stranger",
  "owner",
  "other host",
  "host",
  "administrator",
] as const;
type Visitor = (typeof VISITORS)[number];

const ROLE_OF: Partial<Record<Visitor, Role>> = {
  stranger: "attendee",
  owner: "attendee",
  "other host": "host",
  host: "host",
  administrator: "admin",
};

/** Whom a route admits to a thing, among those whose role may use it, and what the others are told. */
interface Ownership {
  admits: "all" | readonly Visitor[];
  others?: string;
}
const all: Ownership = { admits: "all" };
const itsHost: Ownership = { admits: ["host", "administrator"], others: "403 FORBIDDEN" };
const itsUser: Ownership = { admits: ["owner", "administrator"], others: "403 FORBIDDEN" };

/**
 * The owner is the attendee who has the booking, the notification, the place on the waiting list or the account;
 * the host is the one whose event it is about.
 */
const OWNERSHIP: Readonly<Record<string, Ownership>> = {
  "POST /auth/register": all,
  "POST /auth/login": all,
  "POST /auth/refresh": all,
  "POST /auth/logout": all,
  "POST /auth/change-password": all,
  "GET /auth/me": all,
  "GET /users": all,
  "GET /users/:id": all,
  "PATCH /users/:id": itsUser,
  "PUT /users/:id": itsUser,
  "DELETE /users/:id": itsUser,
  "POST /users/:id/follow": all,
  "DELETE /users/:id/follow": all,
  "GET /users/me/following": all,
  "GET /users/:id/followers": itsHost,
  "GET /available-events": all,
  "POST /events": all,
  "GET /events": all,
  "GET /events/search": all,
  "GET /events/:id": all,
  "GET /events/:id/calendar.ics": all,
  "PATCH /events/:id": itsHost,
  "PUT /events/:id": itsHost,
  "DELETE /events/:id": itsHost,
  "POST /events/:id/publish": itsHost,
  "POST /events/:id/postpone": itsHost,
  "POST /events/:id/cancel": itsHost,
  "POST /events/:id/interest": all,
  "DELETE /events/:id/interest": all,
  "GET /events/:id/bookings": itsHost,
  "POST /events/:id/check-in": itsHost,
  "POST /events/:id/check-in/undo": itsHost,
  "GET /events/:id/gate-key": itsHost,
  "POST /events/:id/waitlist": all,
  "GET /events/:id/waitlist": { admits: ["owner"], others: "404 WAITLIST_ENTRY_NOT_FOUND" },
  "DELETE /events/:id/waitlist": all,
  "POST /bookings": all,
  "GET /bookings": all,
  "GET /bookings/my-bookings": all,
  "GET /bookings/:id": {
    admits: ["owner", "host", "administrator"],
    others: "404 BOOKING_NOT_FOUND",
  },
  "DELETE /bookings/:id": { admits: ["owner", "administrator"], others: "404 BOOKING_NOT_FOUND" },
  "GET /bookings/:id/tickets/:ticketId/qr.svg": {
    admits: ["owner"],
    others: "404 BOOKING_NOT_FOUND",
  },
  "GET /notifications": all,
  "GET /notifications/count": all,
  "POST /notifications/mark-all-read": all,
  "GET /notifications/push-key": all,
  "POST /notifications/push-subscriptions": all,
  "DELETE /notifications/push-subscriptions": all,
  "GET /notifications/:id": { admits: ["owner"], others: "404 NOTIFICATION_NOT_FOUND" },
  "GET /notifications/preferences": all,
  "PUT /notifications/preferences": all,
  // Whoever has the link: it lies in a mail, and its owner may be signed in nowhere.
  "GET /notifications/unsubscribe": all,
  "POST /notifications/unsubscribe": all,
  "POST /notifications/mark-read/:id": { admits: ["owner"], others: "404 NOTIFICATION_NOT_FOUND" },
};

let system: TestSystem;
let api: Api;
beforeAll(async () => {
  system = await startTestSystem({ environment: VAPID });
  api = await Api.at(system.origin);
});
afterAll(() => system.stop());

/** Who has not been at any door yet. */
const newcomers: Record<Role, Person[]> = { attendee: [], host: [], admin: [] };
const COME_TOGETHER = 100;

/** Somebody with an account, signed in, who has done nothing yet. */
async function newcomer(role: Role): Promise<Person> {
  for (;;) {
    const person = newcomers[role].pop();
    if (person) return person;
    newcomers[role].push(...(await crowd(system, api, COME_TOGETHER, role)));
  }
}

/** One who can sign in as well. */
async function registered(role: Role): Promise<Person> {
  if (role !== "admin") return api.registers("Ann", role);
  const person = await api.attendee("Ada");
  const { id, email, password } = person.who;
  await system.database.query("UPDATE users SET role = 'admin' WHERE id = $1", [id]);
  const signedIn = await api.request("POST", "/auth/login", { body: { email, password } });
  person.token = signedIn.body.token;
  person.refreshToken = signedIn.body.refreshToken;
  return person;
}

/** A host with an event, an attendee, and whoever comes along; made anew for every knock. */
interface Scene {
  host: Person;
  owner: Person;
  visitor: Person | undefined;
  eventId: string;
  /** What `:id` names in the route. */
  thing: string | undefined;
  /** The owner's ticket, where there is one. */
  ticket: Booking["tickets"][number] | undefined;
}

const kindOf = (route: Route): string | undefined => route.definition.rest?.missing?.id?.code;

async function sceneOf(route: Route, who: Visitor): Promise<Scene> {
  const somebody = route.path.startsWith("/auth/") ? registered : newcomer;
  const [host, owner] = await Promise.all([somebody("host"), somebody("attendee")]);
  const waiting = route.path.endsWith("/waitlist");
  const event = await host.createsEvent(waiting ? { capacity: 1 } : {});
  const kind = kindOf(route);
  let ticket: Scene["ticket"];
  let thing =
    kind === "EVENT_NOT_FOUND" ? event.id : kind === "USER_NOT_FOUND" ? owner.who.id : undefined;
  if (waiting) {
    await (await newcomer("attendee")).books(event);
    if (route.method !== "POST") await owner.waitsFor(event);
  } else if (route.path !== "/bookings" || route.method !== "POST") {
    const booking = await owner.books(event);
    [ticket] = booking.tickets;
    if (kind === "BOOKING_NOT_FOUND") thing = booking.id;
  }
  if (route.action === "bookings.undoCheckIn") {
    await host.does(200, "POST", `/events/${event.id}/check-in`, { code: ticket?.code });
  }
  if (kind === "NOTIFICATION_NOT_FOUND") [{ id: thing }] = await owner.isTold("booking.confirmed");
  if (route.action === "events.publish")
    await host.does(200, "POST", `/events/${event.id}/postpone`);
  if (route.action === "users.listFollowers") thing = host.who.id;
  // Of somebody else's, because nobody follows themselves.
  if (route.path.endsWith("/follow")) thing = (await somebody("host")).who.id;
  const visitors: Record<Visitor, () => Promise<Person | undefined>> = {
    anonymous: async () => undefined,
    "garbage token": async () => undefined,
    stranger: () => somebody("attendee"),
    owner: async () => owner,
    "other host": () => somebody("host"),
    host: async () => host,
    administrator: () => somebody("admin"),
  };
  return { host, owner, visitor: await visitors[who](), eventId: event.id, thing, ticket };
}

/** A request to the route that is in order, so that nothing but the visitor decides. */
async function knock(route: Route, who: Visitor): Promise<Answer> {
  const { visitor, owner, eventId, thing, ticket } = await sceneOf(route, who);
  const person = visitor ?? owner;
  const values: Record<string, string> = {
    "event:other": eventId,
    refreshToken: person.refreshToken,
    "email:attendee": person.who.email,
    fresh: person.who.id.slice(-12),
    "code:own": ticket?.code ?? "",
    "code:ownShown": ticket?.code ?? "",
    unsubscribe: unsubscribeToken(system, owner.who.id),
  };
  const filledIn = (text: string) => text.replace(/⟦(.+?)⟧/g, (_, name) => values[name] ?? name);
  const { body, path: good } = goodRequest(route);
  const token = who === "garbage token" ? "gar.ba.ge" : visitor?.token;
  const path = route.path.replace(":id", thing ?? "").replace(":ticketId", ticket?.id ?? "");
  const query = good.includes("?") ? filledIn(good.slice(good.indexOf("?"))) : "";
  return api.request(route.method, `${path}${query}`, {
    ...(token ? { token } : {}),
    ...(body ? { body: filledIn(body) } : {}),
  });
}

/** What whoever has no business with the route at all is told; undefined for the others. */
function refusalOfRole({ definition: { access } }: Route, who: Visitor): string | undefined {
  const role = ROLE_OF[who];
  if (who === "garbage token" || (!role && access !== "public")) return "401 UNAUTHENTICATED";
  if (role && typeof access === "object" && !access.roles.includes(role)) return "403 FORBIDDEN";
  return undefined;
}

function expectedFor(route: Route, who: Visitor): string {
  const { admits, others = "granted" } = OWNERSHIP[nameOf(route)] ?? {};
  if (!admits) throw new Error(`Say in OWNERSHIP whom ${nameOf(route)} admits`);
  const isAdmitted = admits === "all" || admits.includes(who);
  return refusalOfRole(route, who) ?? (isAdmitted ? "granted" : others);
}

const outcomeOf = ({ status, body }: Answer): string =>
  status < 300 ? "granted" : `${status} ${body.code}`;

test("the table of ownership names the routes that there are and no others", () => {
  expect(Object.keys(OWNERSHIP).sort()).toEqual(routes.map(nameOf).sort());
});

test.each(routes.map((route) => [nameOf(route), route] as const))(
  "%s opens to whom it should",
  async (_, route) => {
    // Each comes to a scene of their own, so nobody minds the others.
    const knocks = VISITORS.map(async (who) => [who, outcomeOf(await knock(route, who))] as const);
    const outcomes = Object.fromEntries(await Promise.all(knocks));
    expect(outcomes).toEqual(
      Object.fromEntries(VISITORS.map((who) => [who, expectedFor(route, who)])),
    );
  },
);

const ofOneEvent = routes.filter((route) => kindOf(route) === "EVENT_NOT_FOUND");

/** What its own host is told of a draft where a draft is in no state for it. */
const NOT_FOR_DRAFTS: Readonly<Record<string, string>> = {
  "POST /events/:id/postpone": "409 INVALID_TRANSITION",
  "POST /events/:id/cancel": "409 INVALID_TRANSITION",
  // Nobody can have a ticket of it.
  "POST /events/:id/check-in": "404 TICKET_NOT_FOUND",
  "POST /events/:id/check-in/undo": "404 TICKET_NOT_FOUND",
};

describe("A draft is nobody's business", () => {
  test.each(ofOneEvent.map((route) => [nameOf(route), route] as const))(
    "%s hides it from all but its host and administrators",
    async (name, route) => {
      const host = await newcomer("host");
      const visitors = new Map<Visitor, Person | undefined>([
        ["anonymous", undefined],
        ["stranger", await newcomer("attendee")],
        ["other host", await newcomer("host")],
        ["administrator", await newcomer("admin")],
        ["host", host],
      ]);
      const { body } = goodRequest(route);
      const outcomes = new Map<Visitor, string>();
      const expected = new Map<Visitor, string>();
      for (const [who, visitor] of visitors) {
        const { id } = await host.createsEvent({ status: "draft" });
        const answer = await api.request(route.method, route.path.replace(":id", id), {
          ...(visitor ? { token: visitor.token } : {}),
          ...(body ? { body } : {}),
        });
        outcomes.set(who, outcomeOf(answer));
        const maySee = who === "host" || who === "administrator";
        const whenLetIn = maySee ? (NOT_FOR_DRAFTS[name] ?? "granted") : "404 EVENT_NOT_FOUND";
        expected.set(who, refusalOfRole(route, who) ?? whenLetIn);
      }
      expect(outcomes).toEqual(expected);
    },
  );

  test("no list shows it, and nobody can book it", async () => {
    const [host, other, stranger] = await Promise.all([
      api.host("Hanna"),
      api.host("Otto"),
      api.attendee("Stan"),
    ]);
    const draft = await host.createsEvent({ status: "draft", title: "Unbeknown gala" });
    const lists = [
      "/events",
      "/events?status=draft",
      `/events?hostId=${host.who.id}`,
      `/events?hostId=${host.who.id}&status=draft`,
      "/events?from=2020-01-01T00:00:00Z",
      "/events/search?q=unbeknown",
      "/events/search?q=unbeknown&status=draft",
    ];
    for (const path of lists) {
      const answers = [await api.get(path)];
      for (const person of [other, stranger]) answers.push(await person.tries("GET", path));
      for (const { status, body } of answers) {
        expect(status).toBe(200);
        expect(body.data.map(({ id }: { id: string }) => id)).not.toContain(draft.id);
      }
    }
    const own = await host.does(200, "GET", "/events?status=draft");
    expect(own.data.map(({ id }: { id: string }) => id)).toContain(draft.id);
    expect(outcomeOf(await stranger.triesToBook(draft))).toBe("404 EVENT_NOT_FOUND");
  });
});

describe("What is somebody else's shows in no list", () => {
  let host: Person;
  let owner: Person;
  let stranger: Person;
  let bookingId: string;
  beforeAll(async () => {
    [host, owner, stranger] = await Promise.all([
      api.host("Hanna"),
      api.attendee("Olga"),
      api.attendee("Stan"),
    ]);
    bookingId = (await owner.books(await host.createsEvent())).id;
    await owner.isTold("booking.confirmed");
  });

  test("bookings show to their owner and the event's host alone", async () => {
    const otherHost = await api.host("Otto");
    const idsSeenBy = async (person: Person, path = "/bookings"): Promise<string[]> =>
      (await person.does(200, "GET", path)).data.map(({ id }: { id: string }) => id);
    expect(await idsSeenBy(owner)).toEqual([bookingId]);
    expect(await idsSeenBy(host)).toEqual([bookingId]);
    expect(await idsSeenBy(host, "/bookings/my-bookings")).toEqual([]);
    expect(await idsSeenBy(stranger)).toEqual([]);
    expect(await idsSeenBy(otherHost)).toEqual([]);
    expect(await idsSeenBy(await newcomer("admin"), "/bookings?limit=100")).toContain(bookingId);
  });

  test("notifications show to whom they tell", async () => {
    expect((await owner.does(200, "GET", "/notifications")).data).toHaveLength(1);
    expect((await stranger.does(200, "GET", "/notifications")).data).toEqual([]);
    expect(await stranger.does(200, "POST", "/notifications/mark-all-read")).toEqual({
      updated: 0,
    });
    expect(await owner.does(200, "GET", "/notifications/count")).toEqual({ count: 1 });
  });

  test("of a person strangers see the public view, and attendees are on nobody's list", async () => {
    const view = await stranger.does(200, "GET", `/users/${owner.who.id}`);
    expect(Object.keys(view).sort()).toEqual(["id", "name", "role", "username"]);
    const own = await owner.does(200, "GET", `/users/${owner.who.id}`);
    expect(own.email).toBe(owner.who.email);
    const listed = await stranger.does(200, "GET", "/users?limit=100");
    const roles = new Set(listed.data.map(({ role }: { role: string }) => role));
    expect([...roles]).toEqual(["host"]);
    expect((await stranger.does(200, "GET", "/users?role=attendee")).data).toEqual([]);
    const toAdmin = await (await newcomer("admin")).does(200, "GET", `/users/${owner.who.id}`);
    expect(toAdmin.email).toBe(owner.who.email);
  });
});
