import { newId } from "../../lib/ids";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { MovableClock, shifted } from "../support/movable-clock";
import { Api, type Booking, type Event, inDays, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
let hanna: Person;
let otherHost: Person;
let alice: Person;
let ben: Person;
let admin: Person;

beforeAll(async () => {
  system = await startTestSystem({ clock, environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  otherHost = await api.host("Otto");
  alice = await api.attendee("Alice");
  ben = await api.attendee("Ben");
  admin = await administrator(api);
});
afterAll(() => system.stop());
afterEach(() => clock.moveBack());

/** An event that begins in ten minutes and ends in twenty: its end can be stood at within a token's life. */
const soon = (fields: Record<string, unknown> = {}) =>
  hanna.createsEvent({
    startDateTime: clock.inMinutes(10),
    endDateTime: clock.inMinutes(20),
    ...fields,
  });
const seatsOf = async (event: { id: string }): Promise<number> =>
  (await api.get(`/events/${event.id}`)).body.numberOfAttendees;
const idsOf = (list: { data: { id: string }[] }) => list.data.map(({ id }) => id);

describe("Booking", () => {
  test("gives a confirmed booking with its tickets, and takes the seats", async () => {
    const event = await hanna.createsEvent({ title: "Recital", location: "Hall", capacity: 5 });
    const answer = await alice.tries("POST", "/bookings", { eventId: event.id, quantity: 3 });
    expect(answer.status).toBe(201);
    const ticket = {
      id: expect.any(String),
      code: expect.stringMatching(/^[\w-]{43}$/),
      status: "valid",
    };
    expect(answer.body).toEqual({
      id: expect.any(String),
      eventId: event.id,
      userId: alice.who.id,
      quantity: 3,
      status: "confirmed",
      amount: 0,
      currency: null,
      holdExpiresAt: null,
      tickets: [ticket, ticket, ticket],
      createdAt: expect.any(String),
      updatedAt: answer.body.createdAt,
      event: {
        id: event.id,
        title: "Recital",
        startDateTime: event.startDateTime,
        endDateTime: event.endDateTime,
        timeZone: "UTC",
        location: "Hall",
        status: "published",
        host: { id: hanna.who.id, name: "Hanna" },
      },
    });
    expect(answer.headers.get("location")).toBe(`/api/bookings/${answer.body.id}`);
    expect(await alice.does(200, "GET", `/bookings/${answer.body.id}`)).toEqual(answer.body);
    expect((await api.get(`/events/${event.id}`)).body).toMatchObject({
      numberOfAttendees: 3,
      availableTickets: 2,
      version: 1,
    });
  });

  test("one seat unless told, ten at most", async () => {
    const event = await hanna.createsEvent({ capacity: 20 });
    expect((await alice.books(event)).quantity).toBe(1);
    expect((await ben.books(event, 10)).tickets).toHaveLength(10);
    expect(await seatsOf(event)).toBe(11);
  });

  test("an id in capitals is the same event", async () => {
    const event = await hanna.createsEvent();
    expect((await alice.books({ id: event.id.toUpperCase() })).eventId).toBe(event.id);
  });

  test("no two tickets are alike", async () => {
    const event = await hanna.createsEvent({ capacity: 100 });
    const people = await crowd(system, api, 10);
    const bookings = await Promise.all(people.map((person) => person.books(event, 10)));
    const tickets = bookings.flatMap((booking) => booking.tickets);
    expect(new Set(tickets.map(({ code }) => code)).size).toBe(100);
    expect(new Set(tickets.map(({ id }) => id)).size).toBe(100);
  });

  test.each([
    "0",
    "-1",
    "11",
    "1.5",
    '"2"',
    '""',
    "null",
    "true",
    "[1]",
    "{}",
    "1e400",
    "-1e400",
    "1e308",
    "9007199254740993",
    "1e-400",
  ])("not for a quantity of %s", async (quantity) => {
    const event = await hanna.createsEvent();
    const body = `{"eventId":"${event.id}","quantity":${quantity}}`;
    expectRefusal(await alice.tries("POST", "/bookings", body), 422, "VALIDATION_FAILED", [
      "quantity",
    ]);
    expect(await seatsOf(event)).toBe(0);
  });

  test.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["a number", 7],
    ["an empty text", ""],
    ["a broken id", "01890a5d-ac96-774b-bcce-b302099a805"],
    ["SQL", "' OR 1=1 --"],
    ["a list", [newId()]],
  ])("not for %s as an event", async (_, eventId) => {
    expectRefusal(await alice.tries("POST", "/bookings", { eventId }), 422, "VALIDATION_FAILED", [
      "eventId",
    ]);
  });

  test.each<[string, unknown]>([
    ["id", newId()],
    ["userId", newId()],
    ["status", "confirmed"],
    ["amount", 0],
    ["currency", "EUR"],
    ["holdExpiresAt", inDays(1)],
    ["tickets", []],
    ["createdAt", inDays(-1)],
    ["price", 0],
  ])("never with a %s of one's own", async (field, value) => {
    const event = await hanna.createsEvent();
    const answer = await alice.tries("POST", "/bookings", { eventId: event.id, [field]: value });
    expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    expect(await seatsOf(event)).toBe(0);
  });

  test("is for attendees: 401, 403 by role, 422, 404, in this order", async () => {
    const event = await hanna.createsEvent();
    expectRefusal(await api.request("POST", "/bookings", { body: {} }), 401, "UNAUTHENTICATED");
    for (const person of [hanna, otherHost, admin]) {
      expectRefusal(await person.triesToBook(event), 403, "FORBIDDEN");
      expectRefusal(await person.tries("POST", "/bookings", { quantity: 0 }), 403, "FORBIDDEN");
    }
    const unknown = { id: newId() };
    expectRefusal(await alice.triesToBook(unknown, 11), 422, "VALIDATION_FAILED", ["quantity"]);
    expectRefusal(await alice.triesToBook(unknown), 404, "EVENT_NOT_FOUND");
    expect(await seatsOf(event)).toBe(0);
  });

  test("as many seats at once as the operator allows", async () => {
    const strict = await startTestSystem({
      database: system.database,
      environment: { MAX_TICKETS_PER_BOOKING: "2" },
    });
    try {
      const strictApi = await Api.at(strict.origin);
      const event = await hanna.createsEvent();
      const amy = await strictApi.attendee("Amy");
      expectRefusal(await amy.triesToBook(event, 3), 422, "VALIDATION_FAILED", ["quantity"]);
      expect((await amy.books(event, 2)).quantity).toBe(2);
    } finally {
      await strict.stop();
    }
  });
});

describe("Reasons against a booking, the first that applies", () => {
  const code = async (person: Person, event: { id: string }, quantity?: number) => {
    const { status, body } = await person.triesToBook(event, quantity);
    return status === 201 ? 201 : `${status} ${body.code}`;
  };

  test("a draft is unknown, whatever else it is", async () => {
    const draft = await soon({ status: "draft", price: 100, currency: "EUR" });
    expect(await code(alice, draft)).toBe("404 EVENT_NOT_FOUND");
    clock.moveTo(draft.endDateTime);
    expect(await code(alice, draft)).toBe("404 EVENT_NOT_FOUND");
  });

  test("not bookable: cancelled and postponed, also when they are over, booked already, or sold out", async () => {
    for (const step of ["cancel", "postpone"]) {
      const event = await soon({ capacity: 1 });
      await alice.books(event);
      await hanna.does(200, "POST", `/events/${event.id}/${step}`);
      expect(await code(alice, event, 2)).toBe("409 EVENT_NOT_BOOKABLE");
      expect(await code(ben, event, 2)).toBe("409 EVENT_NOT_BOOKABLE");
      clock.moveTo(event.endDateTime);
      expect(await code(ben, event)).toBe("409 EVENT_NOT_BOOKABLE");
      clock.moveBack();
    }
  });

  test("a price is none of them: what costs something is held, and for the price of that moment", async () => {
    const event = await hanna.createsEvent({ price: 250, currency: "USD" });
    expect(await alice.books(event, 2)).toMatchObject({
      status: "pending",
      amount: 500,
      currency: "USD",
      holdExpiresAt: expect.any(String),
      tickets: [],
    });
    await hanna.does(200, "PATCH", `/events/${event.id}`, { price: 0 });
    expect(await ben.books(event)).toMatchObject({
      status: "confirmed",
      amount: 0,
      currency: null,
      holdExpiresAt: null,
    });
    expect(await code(alice, event)).toBe("409 ALREADY_BOOKED");
    expect((await alice.bookingOf(event))?.amount).toBe(500);
    expect(await seatsOf(event)).toBe(3);
  });

  test("a postponed event can be booked again once it is published", async () => {
    const event = await hanna.createsEvent();
    await hanna.does(200, "POST", `/events/${event.id}/postpone`);
    expect(await code(alice, event)).toBe("409 EVENT_NOT_BOOKABLE");
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    expect(await code(alice, event)).toBe(201);
  });

  test("ended: from the very moment, before the sale, a booking of one's own, and seats", async () => {
    const event = await soon({ capacity: 1, saleEndsAt: clock.inMinutes(5) });
    await alice.books(event);
    clock.moveTo(event.endDateTime);
    expect(await code(alice, event, 2)).toBe("409 EVENT_ENDED");
    expect(await code(ben, event, 2)).toBe("409 EVENT_ENDED");
  });

  test("an event that has begun can be booked until it ends", async () => {
    const event = await soon();
    clock.moveTo(event.startDateTime);
    expect(await code(alice, event)).toBe(201);
    clock.moveTo(shifted(event.endDateTime, -1));
    expect(await code(ben, event)).toBe(201);
    clock.moveTo(event.endDateTime);
    expect(await code(await api.attendee("Cleo"), event)).toBe("409 EVENT_ENDED");
  });

  test("the sale: not before it starts, from then on, not when it has ended", async () => {
    const event = await soon({ saleStartsAt: clock.inMinutes(2), saleEndsAt: clock.inMinutes(4) });
    expect(await code(alice, event)).toBe("409 SALE_NOT_STARTED");
    clock.moveTo(shifted(event.saleStartsAt ?? "", -1));
    expect(await code(alice, event)).toBe("409 SALE_NOT_STARTED");
    clock.moveTo(event.saleStartsAt ?? "");
    expect(await code(alice, event)).toBe(201);
    clock.moveTo(shifted(event.saleEndsAt ?? "", -1));
    expect(await code(ben, event)).toBe(201);
    clock.moveTo(event.saleEndsAt ?? "");
    expect(await code(await api.attendee("Cleo"), event)).toBe("409 SALE_ENDED");
  });

  test("the sale goes before a booking of one's own and before seats", async () => {
    const event = await soon({ capacity: 1 });
    await alice.books(event);
    await hanna.does(200, "PATCH", `/events/${event.id}`, { saleStartsAt: clock.inMinutes(5) });
    expect(await code(alice, event)).toBe("409 SALE_NOT_STARTED");
    expect(await code(ben, event)).toBe("409 SALE_NOT_STARTED");
    await hanna.does(200, "PATCH", `/events/${event.id}`, {
      saleStartsAt: null,
      saleEndsAt: clock.inMinutes(5),
    });
    clock.moveTo(clock.inMinutes(6));
    expect(await code(alice, event)).toBe("409 SALE_ENDED");
    expect(await code(ben, event, 2)).toBe("409 SALE_ENDED");
  });

  test("a booking of one's own goes before seats; no seat for anybody before too few", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event, 2);
    expect(await code(alice, event, 10)).toBe("409 ALREADY_BOOKED");
    expect(await code(ben, event, 2)).toBe("409 NOT_ENOUGH_TICKETS");
    expect(await code(ben, event, 1)).toBe(201);
    expect(await code(alice, event)).toBe("409 ALREADY_BOOKED");
    const cleo = await api.attendee("Cleo");
    expect(await code(cleo, event)).toBe("409 EVENT_SOLD_OUT");
    expect(await code(cleo, event, 10)).toBe("409 EVENT_SOLD_OUT");
    expect(await seatsOf(event)).toBe(3);
  });

  test("a refusal leaves nothing behind", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event, 2);
    await ben.triesToBook(event, 2);
    const rows = await system.database.query("SELECT user_id FROM bookings WHERE event_id = $1", [
      event.id,
    ]);
    expect(rows).toEqual([{ user_id: alice.who.id }]);
  });
});

describe("Cancelling", () => {
  test("frees the seats at once and takes the tickets back; the same person may book again", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    const first = await alice.books(event, 3);
    expectRefusal(await ben.triesToBook(event), 409, "EVENT_SOLD_OUT");
    const answer = await alice.tries("DELETE", `/bookings/${first.id}`);
    expect([answer.status, answer.body]).toEqual([204, undefined]);
    expect(await seatsOf(event)).toBe(0);
    const seen: Booking = await alice.does(200, "GET", `/bookings/${first.id}`);
    expect(seen).toEqual({
      ...first,
      status: "cancelled",
      updatedAt: expect.any(String),
      tickets: first.tickets.map((ticket) => ({ ...ticket, status: "cancelled" })),
    });
    await ben.books(event, 1);
    const second = await alice.books(event, 2);
    expect(second.id).not.toBe(first.id);
    expect(second.tickets.some(({ code }) => first.tickets.some((old) => old.code === code))).toBe(
      false,
    );
    expect(await seatsOf(event)).toBe(3);
  });

  test("twice is once", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 2);
    await ben.books(event, 1);
    await alice.cancels(booking);
    for (const person of [alice, admin]) {
      expectRefusal(
        await person.tries("DELETE", `/bookings/${booking.id}`),
        409,
        "BOOKING_NOT_ACTIVE",
      );
    }
    expect(await seatsOf(event)).toBe(1);
  });

  test("is for the owner and administrators; for others there is no such booking", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event);
    const path = `/bookings/${booking.id}`;
    expectRefusal(await api.request("DELETE", path), 401, "UNAUTHENTICATED");
    for (const person of [ben, hanna, otherHost]) {
      expectRefusal(await person.tries("DELETE", path), 404, "BOOKING_NOT_FOUND");
    }
    expect(await seatsOf(event)).toBe(1);
    await admin.does(204, "DELETE", path);
    expect(await seatsOf(event)).toBe(0);
    // Also of one that is over, strangers learn nothing.
    expectRefusal(await ben.tries("DELETE", path), 404, "BOOKING_NOT_FOUND");
  });

  test.each([newId(), "7", "my-booking", "%00"])("what is not there: %s", async (id) => {
    expectRefusal(await alice.tries("DELETE", `/bookings/${id}`), 404, "BOOKING_NOT_FOUND");
    expectRefusal(await alice.tries("GET", `/bookings/${id}`), 404, "BOOKING_NOT_FOUND");
    expectRefusal(await api.get(`/bookings/${id}`), 401, "UNAUTHENTICATED");
  });
});

describe("Reading", () => {
  test("is for the owner, the event's host and administrators; for others there is no such booking", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event);
    for (const person of [alice, hanna, admin]) {
      expect(await person.does(200, "GET", `/bookings/${booking.id}`)).toEqual(booking);
    }
    for (const person of [ben, otherHost]) {
      expectRefusal(await person.tries("GET", `/bookings/${booking.id}`), 404, "BOOKING_NOT_FOUND");
    }
  });

  test("shows the event as it is now, by the same clock", async () => {
    const event = await soon({ title: "Before" });
    const booking = await alice.books(event);
    await hanna.does(200, "PATCH", `/events/${event.id}`, {
      title: "After",
      location: "Elsewhere",
    });
    const read = () => alice.does(200, "GET", `/bookings/${booking.id}`);
    expect((await read()).event).toMatchObject({
      title: "After",
      location: "Elsewhere",
      status: "published",
    });
    clock.moveTo(event.endDateTime);
    expect(await read()).toMatchObject({ status: "confirmed", event: { status: "completed" } });
    const { data } = await alice.does(200, "GET", `/bookings?eventId=${event.id}`);
    expect(data[0].event.status).toBe("completed");
  });
});

describe("Lists of bookings", () => {
  let host: Person;
  let anna: Person;
  let bert: Person;
  let concert: Event;
  let ball: Event;
  let elsewhere: Event;
  let annasConcert: Booking;
  let bertsConcert: Booking;
  let annasBall: Booking;
  let annasElsewhere: Booking;
  beforeAll(async () => {
    host = await api.host("Hilde");
    anna = await api.attendee("Anna");
    bert = await api.attendee("Bert");
    concert = await host.createsEvent({ title: "Concert" });
    ball = await host.createsEvent({ title: "Ball" });
    elsewhere = await otherHost.createsEvent({ title: "Elsewhere" });
    annasConcert = await anna.books(concert, 2);
    bertsConcert = await bert.books(concert);
    annasBall = await anna.books(ball);
    await anna.cancels(annasBall);
    annasElsewhere = await anna.books(elsewhere);
  });
  const list = async (person: Person, query = "") => person.does(200, "GET", `/bookings?${query}`);

  test("an attendee's: their own, newest first, each with its event", async () => {
    const found = await list(anna);
    expect(idsOf(found)).toEqual([annasElsewhere.id, annasBall.id, annasConcert.id]);
    expect(found.data[2]).toEqual(annasConcert);
    expect(found.data.map(({ event }: Booking) => event.title)).toEqual([
      "Elsewhere",
      "Ball",
      "Concert",
    ]);
    expect(idsOf(await list(bert))).toEqual([bertsConcert.id]);
  });

  test("a host's: those for own events, and no word of who the attendees are", async () => {
    const found = await list(host);
    expect(idsOf(found)).toEqual([annasBall.id, bertsConcert.id, annasConcert.id]);
    expect(JSON.stringify(found)).not.toContain(anna.who.email);
    expect(idsOf(await list(host, `eventId=${elsewhere.id}`))).toEqual([]);
  });

  test("an administrator's: all", async () => {
    const found = idsOf(await list(admin, "limit=100"));
    expect(found).toEqual(
      expect.arrayContaining([annasElsewhere.id, annasBall.id, bertsConcert.id]),
    );
  });

  test("my-bookings: one's own whatever the role", async () => {
    const mine = (person: Person, query = "") =>
      person.does(200, "GET", `/bookings/my-bookings?${query}`);
    expect(await mine(anna)).toEqual(await list(anna));
    expect(idsOf(await mine(anna, "status=cancelled"))).toEqual([annasBall.id]);
    for (const person of [host, admin]) {
      expect(await mine(person)).toMatchObject({ data: [], pagination: { total: 0 } });
    }
  });

  test("by event and status", async () => {
    expect(idsOf(await list(anna, `eventId=${concert.id}`))).toEqual([annasConcert.id]);
    expect(idsOf(await list(host, `eventId=${concert.id}`))).toEqual([
      bertsConcert.id,
      annasConcert.id,
    ]);
    expect(idsOf(await list(host, "status=cancelled"))).toEqual([annasBall.id]);
    expect(idsOf(await list(host, `status=confirmed&eventId=${ball.id}`))).toEqual([]);
    expect(idsOf(await list(anna, "status=pending"))).toEqual([]);
    expect(idsOf(await list(anna, `eventId=${newId()}`))).toEqual([]);
  });

  test.each<[string, string]>([
    ["eventId=7", "eventId"],
    ["status=open", "status"],
    ["status=", "status"],
    ["limit=0", "limit"],
    ["limit=101", "limit"],
    ["offset=-1", "offset"],
    ["sort=userId", "sort"],
    ["order=up", "order"],
    ["cursor=x", "cursor"],
  ])("a bad value is 422: %s", async (query, field) => {
    for (const path of ["/bookings", "/bookings/my-bookings"]) {
      expectRefusal(await anna.tries("GET", `${path}?${query}`), 422, "VALIDATION_FAILED", [field]);
    }
    const ofEvent = await host.tries("GET", `/events/${concert.id}/bookings?${query}`);
    if (field === "eventId") expect(ofEvent.status).toBe(200);
    else expectRefusal(ofEvent, 422, "VALIDATION_FAILED", [field]);
  });

  test("are for who is signed in", async () => {
    for (const path of ["/bookings", "/bookings/my-bookings", `/events/${concert.id}/bookings`]) {
      expectRefusal(await api.get(path), 401, "UNAUTHENTICATED");
    }
  });

  test("nobody widens their own by naming somebody else", async () => {
    for (const query of [`userId=${bert.who.id}`, `hostId=${host.who.id}`]) {
      expect(idsOf(await list(anna, query))).not.toContain(bertsConcert.id);
    }
  });

  test("of an event, with their attendees, for its host and administrators", async () => {
    const path = `/events/${concert.id}/bookings?order=asc`;
    for (const person of [host, admin]) {
      const { data, pagination } = await person.does(200, "GET", path);
      expect(data).toEqual([
        { ...annasConcert, attendee: { id: anna.who.id, name: "Anna", email: anna.who.email } },
        { ...bertsConcert, attendee: { id: bert.who.id, name: "Bert", email: bert.who.email } },
      ]);
      expect(pagination.total).toBe(2);
    }
    expect(
      idsOf(await host.does(200, "GET", `/events/${ball.id}/bookings?status=confirmed`)),
    ).toEqual([]);
    expectRefusal(await otherHost.tries("GET", path), 403, "FORBIDDEN");
    expectRefusal(await anna.tries("GET", path), 403, "FORBIDDEN");
    expectRefusal(await host.tries("GET", `/events/${newId()}/bookings`), 404, "EVENT_NOT_FOUND");
    expectRefusal(await host.tries("GET", "/events/7/bookings"), 404, "EVENT_NOT_FOUND");
  });

  test("an attendee who is gone leaves a booking without a face", async () => {
    const event = await host.createsEvent();
    const gone = await api.attendee("Gone");
    const booking = await gone.books(event, 2);
    await gone.does(204, "DELETE", `/users/${gone.who.id}`);
    expect(await seatsOf(event)).toBe(0);
    const seen = await host.does(200, "GET", `/events/${event.id}/bookings`);
    expect(idsOf(seen)).toEqual([booking.id]);
    expect(seen.data[0]).toMatchObject({ status: "cancelled", attendee: { email: null } });
    expect(JSON.stringify(seen)).not.toContain("Gone");
  });

  test.each<[string, string]>([
    ["createdAt", "asc"],
    ["createdAt", "desc"],
    ["date", "desc"],
  ])("by %s %s: no duplicate and no gap while bookings come in", async (sort, order) => {
    const event = await host.createsEvent({ capacity: 100 });
    const people = await crowd(system, api, 24);
    const before = await Promise.all(people.slice(0, 12).map((person) => person.books(event)));
    const late = people.slice(12);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const at: string = cursor ? `&cursor=${cursor}` : "";
      const found = await host.does(
        200,
        "GET",
        `/events/${event.id}/bookings?limit=5&sort=${sort}&order=${order}${at}`,
      );
      seen.push(...idsOf(found));
      cursor = found.pagination.nextCursor;
      await Promise.all(late.splice(0, 3).map((person) => person.books(event)));
    } while (cursor);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(before.map(({ id }) => id)));
  });
});
