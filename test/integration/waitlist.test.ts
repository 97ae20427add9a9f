import { newId } from "../../lib/ids";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { confirmHold, toldOf, withoutSweeper } from "../support/holds";
import { MovableClock, shifted } from "../support/movable-clock";
import { Api, type Booking, type Event, inDays, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { PATIENT_MS, startTestSystem, type TestSystem } from "../support/system";
import { whileOpen } from "../support/transaction";
import { UnreliableDatabase } from "../support/unreliable-database";

const HOLD_SECONDS = 600;
const OFFER_SECONDS = 1200;

const clock = new MovableClock();
const database = new UnreliableDatabase();
let system: TestSystem;
let api: Api;
let hanna: Person;
let admin: Person;
let alice: Person;
let ben: Person;
let cleo: Person;
let dan: Person;
let eve: Person;

beforeAll(async () => {
  system = await startTestSystem({
    clock,
    lockTimeoutMs: PATIENT_MS,
    wrapDatabase: database.wrap,
    environment: {
      ...WITH_ADMINISTRATOR,
      BOOKING_HOLD_SECONDS: String(HOLD_SECONDS),
      WAITLIST_OFFER_SECONDS: String(OFFER_SECONDS),
    },
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  admin = await administrator(api);
  alice = await api.attendee("Alice");
  ben = await api.attendee("Ben");
  cleo = await api.attendee("Cleo");
  dan = await api.attendee("Dan");
  eve = await api.attendee("Eve");
});
afterAll(() => system.stop());
afterEach(() => clock.moveBack());

const PRICED = { price: 500, currency: "EUR" };

/** An event that begins in ten minutes and ends in twenty, all of whose seats Alice has. */
async function soldOut(
  capacity: number,
  fields: Record<string, unknown> = {},
): Promise<{ event: Event; booking: Booking }> {
  const event = await hanna.createsEvent({
    capacity,
    startDateTime: clock.inMinutes(10),
    endDateTime: clock.inMinutes(20),
    ...fields,
  });
  return { event, booking: await alice.books(event, capacity) };
}
const changes = (event: Event, fields: Record<string, unknown>): Promise<Event> =>
  hanna.does(200, "PATCH", `/events/${event.id}`, fields);
const seatsOf = async (event: { id: string }): Promise<number> =>
  (await api.get(`/events/${event.id}`)).body.numberOfAttendees;
const place = (event: { id: string }) => `/events/${event.id}/waitlist`;

/** What somebody has of an event: a booking's status, or a place on its waiting list, or nothing. */
async function standingOf(person: Person, event: Event): Promise<string | undefined> {
  const booking = await person.bookingOf(event);
  const position = await person.placeFor(event);
  if (position !== undefined && booking && ["pending", "confirmed"].includes(booking.status)) {
    throw new Error(`${person.who.name} waits and has seats`);
  }
  return position === undefined ? booking?.status : `waits as ${position}`;
}
const standings = (event: Event, ...people: Person[]) =>
  Promise.all(people.map((person) => standingOf(person, event)));

describe("Going on the waiting list", () => {
  test("gives the position, which can be looked at again", async () => {
    const { event } = await soldOut(3);
    const answer = await ben.triesToWait(event, 2);
    expect([answer.status, answer.body]).toEqual([201, { position: 1, quantity: 2 }]);
    expect(answer.headers.get("location")).toBe(`/api${place(event)}`);
    expect(await cleo.waitsFor(event)).toBe(2);
    expect(await dan.does(201, "POST", place(event))).toEqual({ position: 3, quantity: 1 });
    expect(await ben.does(200, "GET", place(event))).toEqual({ position: 1, quantity: 2 });
    expect(await cleo.does(200, "GET", place(event))).toEqual({ position: 2, quantity: 1 });
    expect(await seatsOf(event)).toBe(3);
  });

  test("is for each event on its own", async () => {
    const [one, other] = [await soldOut(1), await soldOut(1)];
    expect(await ben.waitsFor(one.event)).toBe(1);
    expect(await cleo.waitsFor(other.event)).toBe(1);
    expect(await ben.waitsFor(other.event)).toBe(2);
  });

  test("once: the place and the quantity stay", async () => {
    const { event } = await soldOut(3);
    await ben.waitsFor(event, 2);
    await cleo.waitsFor(event);
    for (const quantity of [1, 2, 3]) {
      expectRefusal(await ben.triesToWait(event, quantity), 409, "ALREADY_WAITING");
    }
    expect(await ben.does(200, "GET", place(event))).toEqual({ position: 1, quantity: 2 });
  });

  test("twenty times at once is once", async () => {
    const { event } = await soldOut(1);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ben.triesToWait(event)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)]);
    expect(await cleo.waitsFor(event)).toBe(2);
  });

  test("is not for who has seats, paid for or held", async () => {
    const { event } = await soldOut(2);
    expectRefusal(await alice.triesToWait(event), 409, "ALREADY_BOOKED");
    const priced = await soldOut(2, PRICED);
    expectRefusal(await alice.triesToWait(priced.event), 409, "ALREADY_BOOKED");
  });

  test("is refused exactly when these very seats could be booked now", async () => {
    const event = await hanna.createsEvent({ capacity: 4 });
    for (const [taken, person] of [
      [0, undefined],
      [1, alice],
      [3, ben],
      [4, cleo],
    ] as const) {
      if (person) await person.books(event, taken - (await seatsOf(event)));
      for (const quantity of [1, 2, 3, 4, 5]) {
        const answer = await dan.triesToWait(event, quantity);
        if (taken + quantity <= 4) {
          expectRefusal(answer, 409, "TICKETS_AVAILABLE");
          expect(answer.body.detail).toContain(String(4 - taken));
        } else if (quantity > 4) {
          expectRefusal(answer, 409, "NOT_ENOUGH_TICKETS");
        } else {
          expect([taken, quantity, answer.status]).toEqual([taken, quantity, 201]);
          await dan.does(204, "DELETE", place(event));
        }
      }
    }
    expect(await dan.placeFor(event)).toBeUndefined();
  });

  test("who waits for more than fits may have what does fit: then there is nothing to wait for", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event);
    await ben.waitsFor(event, 3);
    expectRefusal(await ben.triesToWait(event, 2), 409, "TICKETS_AVAILABLE");
    expectRefusal(await ben.triesToWait(event, 3), 409, "ALREADY_WAITING");
    expect(await ben.placeFor(event)).toBe(1);
  });

  test("is refused for more seats than the event has, whoever gives theirs back", async () => {
    const { event } = await soldOut(2);
    const answer = await ben.triesToWait(event, 3);
    expectRefusal(answer, 409, "NOT_ENOUGH_TICKETS");
    expect(answer.body.detail).toBe("This event has only 2 seats in all.");
    expect(await ben.placeFor(event)).toBeUndefined();
    expectRefusal(await alice.triesToWait(event, 3), 409, "ALREADY_BOOKED");
    const single = await soldOut(1);
    expect((await ben.triesToWait(single.event, 2)).body.detail).toBe(
      "This event has only 1 seat in all.",
    );
  });

  test("who waits already waits on when a smaller capacity leaves too few: it may grow again", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event);
    await ben.waitsFor(event, 3);
    await changes(event, { capacity: 2 });
    expect(await ben.placeFor(event)).toBe(1);
    expectRefusal(await cleo.triesToWait(event, 3), 409, "NOT_ENOUGH_TICKETS");
    await changes(event, { capacity: 4 });
    expect(await standings(event, ben)).toEqual(["confirmed"]);
  });

  test("counts seats of lapsed holds as free, though nobody sweeps", async () => {
    const { event, booking } = await soldOut(2, PRICED);
    await withoutSweeper(database, async () => {
      clock.moveTo(booking.holdExpiresAt ?? "");
      expectRefusal(await ben.triesToWait(event, 2), 409, "TICKETS_AVAILABLE");
      expectRefusal(await alice.triesToWait(event, 2), 409, "TICKETS_AVAILABLE");
    });
  });

  test.each(["0", "-1", "1.5", "11", '"2"', "null", "true", "[1]", "1e400", "9007199254740993"])(
    "not for a quantity of %s",
    async (quantity) => {
      const { event } = await soldOut(1);
      const answer = await ben.tries("POST", place(event), `{"quantity":${quantity}}`);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["quantity"]);
      expect(await ben.placeFor(event)).toBeUndefined();
    },
  );

  test("not with a position of one's own", async () => {
    const { event } = await soldOut(1);
    for (const field of ["position", "userId", "createdAt"]) {
      const answer = await ben.tries("POST", place(event), { [field]: 1 });
      expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    }
  });

  test("not for an event that nobody can book, for the reason that a booking would be told", async () => {
    const reasons: [string, (event: Event) => Promise<unknown>][] = [
      ["EVENT_NOT_BOOKABLE", (event) => hanna.does(200, "POST", `/events/${event.id}/cancel`)],
      ["EVENT_NOT_BOOKABLE", (event) => hanna.does(200, "POST", `/events/${event.id}/postpone`)],
      ["SALE_NOT_STARTED", (event) => changes(event, { saleStartsAt: clock.inMinutes(5) })],
      ["SALE_ENDED", (event) => changes(event, { saleEndsAt: clock.inMinutes(0) })],
      ["EVENT_ENDED", async (event) => clock.moveTo(event.endDateTime)],
    ];
    for (const [code, happens] of reasons) {
      const { event } = await soldOut(1);
      await happens(event);
      for (const person of [alice, ben]) {
        expectRefusal(await person.triesToWait(event), 409, code);
        expectRefusal(await person.triesToBook(event), 409, code);
      }
      expect(await ben.placeFor(event)).toBeUndefined();
    }
  });
});

describe("Who may see and leave a waiting list", () => {
  const each = ["POST", "GET", "DELETE"];

  test("attendees: 401, 403 by role before any other fault", async () => {
    const { event } = await soldOut(1);
    for (const method of each) {
      expectRefusal(await api.request(method, place(event)), 401, "UNAUTHENTICATED");
      for (const person of [hanna, admin]) {
        expectRefusal(await person.tries(method, place(event)), 403, "FORBIDDEN");
        expectRefusal(await person.tries(method, place({ id: newId() })), 403, "FORBIDDEN");
      }
    }
    const wrong = await hanna.tries("POST", place(event), { quantity: 0 });
    expectRefusal(wrong, 403, "FORBIDDEN");
  });

  test("of an event that is there: drafts and what is unknown are 404", async () => {
    const draft = await hanna.createsEvent({ status: "draft" });
    for (const id of [draft.id, newId(), "7", "%00"]) {
      for (const method of each) {
        expectRefusal(await ben.tries(method, place({ id })), 404, "EVENT_NOT_FOUND");
      }
    }
    const wrong = await ben.tries("POST", place({ id: newId() }), { quantity: 0 });
    expectRefusal(wrong, 422, "VALIDATION_FAILED", ["quantity"]);
  });

  test("nobody waits who has not asked to", async () => {
    const { event } = await soldOut(1);
    for (const person of [alice, ben]) {
      expectRefusal(await person.tries("GET", place(event)), 404, "WAITLIST_ENTRY_NOT_FOUND");
    }
  });

  test("leaving is done at any time, and done when it was done already", async () => {
    const { event } = await soldOut(2);
    for (const person of [ben, cleo, dan]) await person.waitsFor(event);
    for (const _time of ["first", "second"]) {
      const answer = await ben.tries("DELETE", place(event));
      expect([answer.status, answer.body]).toEqual([204, undefined]);
      expect(await standings(event, ben, cleo, dan)).toEqual([
        undefined,
        "waits as 1",
        "waits as 2",
      ]);
    }
    await eve.does(204, "DELETE", place(event));
    expect(await ben.waitsFor(event)).toBe(3);
  });

  test("a place can be looked at and left while the event is postponed or over", async () => {
    const ends: ((event: Event) => Promise<unknown>)[] = [
      (event) => hanna.does(200, "POST", `/events/${event.id}/postpone`),
      async (event) => clock.moveTo(event.endDateTime),
    ];
    for (const end of ends) {
      const { event } = await soldOut(1);
      await ben.waitsFor(event);
      await end(event);
      expect(await ben.placeFor(event)).toBe(1);
      await ben.does(204, "DELETE", place(event));
      expect(await ben.placeFor(event)).toBeUndefined();
    }
  });
});

describe("A freed seat", () => {
  test("goes to who came first, who has it at once where the event is free", async () => {
    const { event, booking } = await soldOut(1);
    await ben.waitsFor(event);
    await cleo.waitsFor(event);
    await alice.cancels(booking);
    expect(await standings(event, ben, cleo)).toEqual(["confirmed", "waits as 1"]);
    expect(await ben.bookingOf(event)).toMatchObject({
      quantity: 1,
      amount: 0,
      holdExpiresAt: null,
      tickets: [{ status: "valid" }],
    });
    expect(await seatsOf(event)).toBe(1);
    expectRefusal(await dan.triesToBook(event), 409, "EVENT_SOLD_OUT");
    await eventually(async () => expect(await toldOf(ben, event)).toEqual(["waitlist.promoted"]));
    expect(await toldOf(cleo, event)).toEqual([]);
  });

  test("goes to who waits as soon as the host opens the sale again", async () => {
    const { event, booking } = await soldOut(1, { saleEndsAt: clock.inMinutes(5) });
    await ben.waitsFor(event);
    clock.moveTo(clock.inMinutes(6));
    await alice.cancels(booking);
    expect(await standings(event, ben)).toEqual(["waits as 1"]);
    const opened = await changes(event, { saleEndsAt: shifted(event.startDateTime, 0) });
    expect(opened.availableTickets).toBe(0);
    expect(await standings(event, ben)).toEqual(["confirmed"]);
  });

  test("stays with nobody's booking when whoever joins is refused: what is due is done all the same", async () => {
    const { event, booking } = await soldOut(1, PRICED);
    await ben.waitsFor(event);
    await withoutSweeper(database, async () => {
      clock.moveTo(shifted(String(booking.holdExpiresAt), 1));
      expectRefusal(await ben.triesToWait(event), 409, "ALREADY_BOOKED");
      expect(await standings(event, ben)).toEqual(["pending"]);
    });
  });

  test("goes to the first whom it fits; who wants more waits on, and keeps the place", async () => {
    const { event, booking } = await soldOut(5);
    await ben.waitsFor(event, 3);
    await cleo.waitsFor(event, 3);
    await dan.waitsFor(event, 2);
    await eve.waitsFor(event, 1);
    await alice.cancels(booking);
    expect(await standings(event, ben, cleo, dan, eve)).toEqual([
      "confirmed",
      "waits as 1",
      "confirmed",
      "waits as 2",
    ]);
    expect((await ben.bookingOf(event))?.tickets).toHaveLength(3);
    expect((await dan.bookingOf(event))?.tickets).toHaveLength(2);
    expect(await seatsOf(event)).toBe(5);
  });

  test("is open to all when it fits nobody who waits, and stays so", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    await alice.books(event, 2);
    const small = await eve.books(event);
    await ben.waitsFor(event, 2);
    await eve.cancels(small);
    expect(await standingOf(ben, event)).toBe("waits as 1");
    expect((await api.get(`/events/${event.id}`)).body.availableTickets).toBe(1);
    await dan.books(event);
    expect(await standings(event, ben, dan)).toEqual(["waits as 1", "confirmed"]);
  });

  test("of several that come free one after the other: each as soon as it fits", async () => {
    const event = await hanna.createsEvent({ capacity: 2 });
    const [first, second] = [await alice.books(event), await eve.books(event)];
    await ben.waitsFor(event, 2);
    await alice.cancels(first);
    expect(await standingOf(ben, event)).toBe("waits as 1");
    await eve.cancels(second);
    expect(await standingOf(ben, event)).toBe("confirmed");
  });

  test("is an administrator's to free as well, or comes with an account", async () => {
    const { event, booking } = await soldOut(1);
    const gone = await api.attendee("Gone");
    await gone.waitsFor(event);
    await ben.waitsFor(event);
    await admin.does(204, "DELETE", `/bookings/${booking.id}`);
    expect(await standings(event, gone, ben)).toEqual(["confirmed", "waits as 1"]);
    await gone.does(204, "DELETE", "/users/me");
    expect(await standingOf(ben, event)).toBe("confirmed");
    expect(await seatsOf(event)).toBe(1);
  });

  test("comes with a larger capacity, whose answer shows who has it", async () => {
    const { event } = await soldOut(2);
    await ben.waitsFor(event, 2);
    await cleo.waitsFor(event);
    expect(await changes(event, { capacity: 3 })).toMatchObject({ numberOfAttendees: 3 });
    expect(await standings(event, ben, cleo)).toEqual(["waits as 1", "confirmed"]);
    expect(await changes(event, { capacity: 6 })).toMatchObject({
      numberOfAttendees: 5,
      availableTickets: 1,
    });
    expect(await standingOf(ben, event)).toBe("confirmed");
  });

  test("goes to nobody while the event is postponed, and to who waits when it is on again", async () => {
    const { event, booking } = await soldOut(1);
    await ben.waitsFor(event);
    await hanna.does(200, "POST", `/events/${event.id}/postpone`);
    await alice.cancels(booking);
    expect(await standingOf(ben, event)).toBe("waits as 1");
    const published = await hanna.does(200, "POST", `/events/${event.id}/publish`);
    expect(published).toMatchObject({ status: "published", numberOfAttendees: 1 });
    expect(await standingOf(ben, event)).toBe("confirmed");
  });

  test.each<[string, (event: Event) => Promise<unknown>]>([
    ["is over", async (event) => clock.moveTo(event.endDateTime)],
    ["is not sold any more", (event) => changes(event, { saleEndsAt: clock.inMinutes(0) })],
    ["is not sold yet", (event) => changes(event, { saleStartsAt: clock.inMinutes(5) })],
  ])("goes to nobody when the event %s", async (_how, happens) => {
    const { event, booking } = await soldOut(1);
    await ben.waitsFor(event);
    await happens(event);
    await alice.tries("DELETE", `/bookings/${booking.id}`);
    expect(await standings(event, alice, ben)).toEqual(["cancelled", "waits as 1"]);
    expect(await seatsOf(event)).toBe(0);
  });

  test("is looked for without a flush to disk, as long as there is none", async () => {
    // So far away that nobody is reminded of it, for which its row would be locked as well.
    const far = { startDateTime: inDays(7), endDateTime: inDays(7.1) };
    const { event, booking } = await soldOut(1, far);
    await ben.waitsFor(event);
    /** How the transaction ended that has locked the event's row last. */
    const lastToLock = async (): Promise<string> =>
      (
        await system.database.query(
          "SELECT pg_xact_status(xmax::text::xid8) AS status FROM events WHERE id = $1",
          [event.id],
        )
      )[0].status;
    const tidyUp = () =>
      system.systems[0]?.broker.call<unknown, object>("bookings.$tidyUp", { eventId: event.id });
    expect(await tidyUp()).toEqual({ expired: 0, promoted: 0 });
    expect(await lastToLock()).toBe("aborted");
    expectRefusal(await ben.triesToWait(event), 409, "ALREADY_WAITING");
    await alice.cancels(booking);
    expect(await lastToLock()).toBe("committed");
  });

  test("that nobody could have goes to who waits before the public, once the sale is on again", async () => {
    const { event, booking } = await soldOut(1);
    await ben.waitsFor(event);
    const closed = await changes(event, { saleEndsAt: clock.inMinutes(0) });
    await alice.cancels(booking);
    await changes(closed, { saleEndsAt: null });
    expectRefusal(await cleo.triesToBook(event), 409, "EVENT_SOLD_OUT");
    expect(await standings(event, ben, cleo)).toEqual(["confirmed", undefined]);
  });

  test("goes to nobody who has left, and to nobody who is gone", async () => {
    const { event, booking } = await soldOut(1);
    const gone = await api.attendee("Gone");
    await gone.waitsFor(event);
    await ben.waitsFor(event);
    await cleo.waitsFor(event);
    await ben.does(204, "DELETE", place(event));
    await gone.does(204, "DELETE", "/users/me");
    expect(await standingOf(cleo, event)).toBe("waits as 1");
    await alice.cancels(booking);
    expect(await standings(event, ben, cleo)).toEqual([undefined, "confirmed"]);
    const { data } = await hanna.does(200, "GET", `/events/${event.id}/bookings`);
    expect(data).toHaveLength(2);
  });

  test("is booked by who waits, for fewer, and then they wait no more", async () => {
    const event = await hanna.createsEvent({ capacity: 3 });
    const taken = await alice.books(event, 2);
    await ben.waitsFor(event, 3);
    await ben.books(event, 1);
    expect(await standingOf(ben, event)).toBe("confirmed");
    await alice.cancels(taken);
    expect(await ben.bookingOf(event)).toMatchObject({ quantity: 1 });
    expect(await seatsOf(event)).toBe(1);
  });
});

describe("The waiting list of an event that will not take place", () => {
  const ends: [string, (event: Event) => Promise<unknown>][] = [
    ["is cancelled", (event) => hanna.does(200, "POST", `/events/${event.id}/cancel`)],
    ["is removed", (event) => hanna.does(204, "DELETE", `/events/${event.id}`)],
  ];
  const stillWaiting = async (event: Event): Promise<number> =>
    (await system.database.query("SELECT id FROM waitlist WHERE event_id = $1", [event.id])).length;

  test.each(ends)("ends when it %s; whoever waited is told once", async (_how, end) => {
    const { event } = await soldOut(2);
    await ben.waitsFor(event, 2);
    await cleo.waitsFor(event);
    await dan.waitsFor(event);
    await dan.does(204, "DELETE", place(event));
    await end(event);
    expect(await stillWaiting(event)).toBe(0);
    for (const person of [alice, ben, cleo]) {
      await eventually(async () =>
        expect((await toldOf(person, event)).at(-1)).toBe("event.cancelled"),
      );
    }
    expect(await toldOf(ben, event)).toEqual(["event.cancelled"]);
    expect(await toldOf(cleo, event)).toEqual(["event.cancelled"]);
    expect(await toldOf(dan, event)).toEqual([]);
  });

  test("ends with its host's account, too", async () => {
    const ida = await api.host("Ida");
    const event = await ida.createsEvent({ capacity: 1 });
    await alice.books(event);
    await ben.waitsFor(event);
    await ida.does(204, "DELETE", "/users/me");
    expect(await stillWaiting(event)).toBe(0);
    await eventually(async () => expect(await toldOf(ben, event)).toEqual(["event.cancelled"]));
  });

  test("is told of with the host's reason, and that it was a place and no booking", async () => {
    const { event } = await soldOut(1, { title: "Recital" });
    await ben.waitsFor(event);
    await hanna.does(200, "POST", `/events/${event.id}/cancel`, { reason: "Rain; sorry" });
    await eventually(async () => expect(await toldOf(ben, event)).toEqual(["event.cancelled"]));
    const notices = await ben.isTold("event.cancelled");
    expect(notices.find(({ eventId }) => eventId === event.id)).toMatchObject({
      title: "Cancelled: Recital",
      body: "«Recital» is cancelled, and your place on its waiting list with it. Reason: Rain; sorry",
      data: { eventId: event.id, bookingId: null, reason: "Rain; sorry" },
    });
  });

  test("has nobody on it from the moment of the cancellation, also for who looks, leaves or joins", async () => {
    const { event } = await soldOut(1);
    await ben.waitsFor(event);
    const ending = database.holds(/DELETE FROM waitlist WHERE id/);
    const cancelling = hanna.does(200, "POST", `/events/${event.id}/cancel`);
    try {
      await ending.isReached;
      expectRefusal(await ben.tries("GET", place(event)), 404, "WAITLIST_ENTRY_NOT_FOUND");
    } finally {
      database.works();
      ending.letGo();
    }
    await cancelling;
    for (const person of [ben, cleo]) {
      expectRefusal(await person.tries("GET", place(event)), 404, "WAITLIST_ENTRY_NOT_FOUND");
      expectRefusal(await person.triesToWait(event), 409, "EVENT_NOT_BOOKABLE");
      await person.does(204, "DELETE", place(event));
    }
  });

  /** An event for which so many wait, who have come in this order. */
  async function manyWait(size: number) {
    const { event } = await soldOut(1);
    const people = await crowd(system, api, size);
    const entries = people.map(() => newId());
    await system.database.query(
      `INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
       SELECT id, $1, user_id, 1, now() FROM unnest($2::uuid[], $3::uuid[]) AS made (id, user_id)`,
      [event.id, entries, people.map(({ who }) => who.id)],
    );
    return { event, entries };
  }
  const tellsEachOnce = (event: Event, people: number) =>
    eventually(async () =>
      expect(
        await system.database.query(
          `SELECT count(*)::int AS told, count(DISTINCT user_id)::int AS people FROM notifications
            WHERE event_id = $1 AND type = 'event.cancelled'`,
          [event.id],
        ),
      ).toEqual([{ told: people, people }]),
    );

  test("ends in chunks when it is long: no transaction takes all of it", async () => {
    const { event } = await manyWait(1100);
    await system.database.query(
      `CREATE TABLE ended (by xid8);
       CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO ended VALUES (pg_current_xact_id()); RETURN NULL; END $$;
       CREATE TRIGGER note_end AFTER DELETE ON waitlist FOR EACH ROW EXECUTE FUNCTION note_end()`,
    );
    try {
      await hanna.does(200, "POST", `/events/${event.id}/cancel`);
      const chunks = await system.database.query(
        "SELECT count(*)::int AS size FROM ended GROUP BY by ORDER BY size",
      );
      expect(chunks.map(({ size }) => size)).toEqual([100, 500, 500]);
    } finally {
      await system.database.query("DROP TABLE ended; DROP FUNCTION note_end CASCADE");
    }
    await tellsEachOnce(event, 1101);
  });

  test("ends whole, though somebody leaves while it does", async () => {
    const { event, entries } = await manyWait(501);
    await whileOpen(
      system.database,
      "DELETE FROM waitlist WHERE id = $1",
      [entries[0]],
      async (leaving) => {
        const cancelling = hanna.does(200, "POST", `/events/${event.id}/cancel`);
        await leaving.isWaitedFor(1);
        await leaving.commits();
        await cancelling;
      },
    );
    expect(await stillWaiting(event)).toBe(0);
    await tellsEachOnce(event, 501);
  });
});

describe("An offer of seats that cost something", () => {
  /** Ben has been offered Alice's seat and Cleo waits; the clock stands at the offer. */
  async function offered() {
    clock.moveTo(new Date());
    const { event, booking } = await soldOut(1, {
      ...PRICED,
      startDateTime: inDays(1),
      endDateTime: inDays(2),
    });
    await ben.waitsFor(event);
    await cleo.waitsFor(event);
    await alice.cancels(booking);
    const offer = await ben.bookingOf(event);
    if (!offer?.holdExpiresAt) throw new Error("Nothing was offered");
    return { event, offer, endsAt: offer.holdExpiresAt };
  }

  test("is held for so long, until it is paid for", async () => {
    const { event, offer } = await offered();
    expect(offer).toMatchObject({
      status: "pending",
      amount: 500,
      currency: "EUR",
      holdExpiresAt: clock.inMinutes(OFFER_SECONDS / 60),
      tickets: [],
    });
    expect(await standings(event, ben, cleo)).toEqual(["pending", "waits as 1"]);
    await eventually(async () => expect(await toldOf(ben, event)).toEqual(["waitlist.promoted"]));
    // Not simply the newest: one of an earlier test may have been told while the clock stood in the future.
    const notices = await ben.isTold("waitlist.promoted");
    expect(notices.find(({ eventId }) => eventId === event.id)).toMatchObject({
      data: { eventId: event.id, bookingId: offer.id },
      body: expect.stringContaining("1 seat"),
    });
    clock.moveTo(shifted(offer.holdExpiresAt ?? "", -1));
    expect(await confirmHold(system, offer)).toMatchObject({
      status: "confirmed",
      tickets: [{ status: "valid" }],
    });
    await eventually(async () =>
      expect(await toldOf(ben, event)).toEqual(["waitlist.promoted", "booking.confirmed"]),
    );
    expect(await standingOf(cleo, event)).toBe("waits as 1");
  });

  test("that lapses goes to the next by itself, and not to the same again", async () => {
    const { event, endsAt } = await offered();
    clock.moveTo(endsAt);
    await eventually(async () => expect(await standingOf(cleo, event)).toBe("pending"));
    expect(await standingOf(ben, event)).toBe("expired");
    await eventually(async () =>
      expect(await toldOf(ben, event)).toEqual(["waitlist.promoted", "booking.expired"]),
    );
    const second = await cleo.bookingOf(event);
    expect(second?.holdExpiresAt).toBe(clock.inMinutes(OFFER_SECONDS / 60));
    clock.moveTo(second?.holdExpiresAt ?? "");
    await eventually(async () => expect(await seatsOf(event)).toBe(0));
    expect(await standings(event, ben, cleo)).toEqual(["expired", "expired"]);
  });

  test("that lapsed is no reason to be refused a place, or seats", async () => {
    const { event, endsAt } = await offered();
    await withoutSweeper(database, async () => {
      clock.moveTo(endsAt);
      expect(await ben.waitsFor(event)).toBe(1);
      expect(await standings(event, ben, cleo)).toEqual(["waits as 1", "pending"]);
    });
  });

  test("that lapses goes to who waits before anybody who books, though nobody sweeps", async () => {
    const { event, endsAt } = await offered();
    await withoutSweeper(database, async () => {
      clock.moveTo(endsAt);
      expectRefusal(await dan.triesToBook(event), 409, "EVENT_SOLD_OUT");
      expect(await standings(event, ben, cleo, dan)).toEqual(["expired", "pending", undefined]);
      expect(await seatsOf(event)).toBe(1);
    });
  });

  test("is theirs who try to book before it shows: they have it already", async () => {
    const { event, endsAt } = await offered();
    await withoutSweeper(database, async () => {
      clock.moveTo(endsAt);
      expectRefusal(await cleo.triesToBook(event), 409, "ALREADY_BOOKED");
      expect(await standings(event, ben, cleo)).toEqual(["expired", "pending"]);
    });
  });

  test("that is declined goes to the next at once", async () => {
    const { event, offer } = await offered();
    await ben.cancels(offer);
    expect(await standings(event, ben, cleo)).toEqual(["cancelled", "pending"]);
  });

  test("comes from a hold that lapses, too", async () => {
    const { event, booking } = await soldOut(2, { ...PRICED, endDateTime: inDays(1) });
    await ben.waitsFor(event, 2);
    clock.moveTo(booking.holdExpiresAt ?? "");
    await eventually(async () => expect(await standingOf(ben, event)).toBe("pending"));
    expect(await ben.bookingOf(event)).toMatchObject({ quantity: 2, amount: 1000 });
    expect(await standingOf(alice, event)).toBe("expired");
  });

  test("is at the price of the moment at which it is made", async () => {
    const { event, booking } = await soldOut(2);
    await ben.waitsFor(event, 2);
    await changes(event, PRICED);
    await alice.cancels(booking);
    expect(await ben.bookingOf(event)).toMatchObject({ status: "pending", amount: 1000 });
  });
});
