import { newId } from "../../lib/ids";
import { LIFECYCLE } from "../../services/bookings/bookings.rules";
import { CHUNK } from "../../services/bookings/bookings.seats";
import { type BookingStatus, STATUSES } from "../../services/bookings/bookings.validations";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { confirmHold, toldOf, withoutSweeper } from "../support/holds";
import { MovableClock, shifted } from "../support/movable-clock";
import { Api, type Booking, type Event, type Person } from "../support/people";
import { bookAtOnce, tally } from "../support/races";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";
import { UnreliableDatabase } from "../support/unreliable-database";

const HOLD_SECONDS = 600;
/** More than what one transaction changes. */
const MANY = CHUNK + 200;

const clock = new MovableClock();
const database = new UnreliableDatabase();
let system: TestSystem;
let api: Api;
let hanna: Person;
let alice: Person;
let ben: Person;
let admin: Person;

beforeAll(async () => {
  system = await startTestSystem({
    clock,
    wrapDatabase: database.wrap,
    environment: {
      ...WITH_ADMINISTRATOR,
      BOOKING_HOLD_SECONDS: String(HOLD_SECONDS),
      MAX_TICKETS_PER_BOOKING: String(MANY),
    },
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  alice = await api.attendee("Alice");
  ben = await api.attendee("Ben");
  admin = await administrator(api);
});
afterAll(() => system.stop());
afterEach(() => clock.moveBack());

const priced = (fields: Record<string, unknown> = {}) =>
  hanna.createsEvent({ price: 1250, currency: "EUR", ...fields });
const seatsOf = async (event: { id: string }): Promise<number> =>
  (await api.get(`/events/${event.id}`)).body.numberOfAttendees;
const read = (person: Person, booking: { id: string }): Promise<Booking> =>
  person.does(200, "GET", `/bookings/${booking.id}`);
const confirm = (booking: { id: string }) => confirmHold(system, booking);

/** Stands at the moment at which a hold lapses, or some milliseconds beside it. */
function moveToLapseOf({ holdExpiresAt }: Booking, ms = 0): void {
  if (holdExpiresAt === null) throw new Error("This booking holds nothing");
  clock.moveTo(shifted(holdExpiresAt, ms));
}

/** What is written, whatever it reads as. */
async function writtenStatus({ id }: { id: string }): Promise<BookingStatus> {
  const [row] = await system.database.query("SELECT status FROM bookings WHERE id = $1", [id]);
  return row.status;
}

describe("Seats that cost something", () => {
  test("are held until they are paid for, and there is no ticket before", async () => {
    clock.moveTo(new Date());
    const event = await priced({ capacity: 5 });
    const answer = await alice.triesToBook(event, 3);
    expect(answer.status).toBe(201);
    expect(answer.body).toEqual({
      id: expect.any(String),
      eventId: event.id,
      userId: alice.who.id,
      quantity: 3,
      status: "pending",
      amount: 3750,
      currency: "EUR",
      holdExpiresAt: clock.inMinutes(HOLD_SECONDS / 60),
      tickets: [],
      createdAt: clock.inMinutes(0),
      updatedAt: clock.inMinutes(0),
      event: expect.objectContaining({ id: event.id, title: event.title }),
    });
    expect(answer.headers.get("location")).toBe(`/api/bookings/${answer.body.id}`);
    expect(await read(alice, answer.body)).toEqual(answer.body);
    expect((await api.get(`/events/${event.id}`)).body).toMatchObject({
      numberOfAttendees: 3,
      availableTickets: 2,
      version: 1,
    });
  });

  test("are taken for everybody else, and for their holder, while they are held", async () => {
    const event = await priced({ capacity: 5 });
    const hold = await alice.books(event, 4);
    moveToLapseOf(hold, -1);
    expectRefusal(await alice.triesToBook(event), 409, "ALREADY_BOOKED");
    expectRefusal(await ben.triesToBook(event, 2), 409, "NOT_ENOUGH_TICKETS");
    await ben.books(event);
    const cleo = await api.attendee("Cleo");
    expectRefusal(await cleo.triesToBook(event), 409, "EVENT_SOLD_OUT");
    expect(await seatsOf(event)).toBe(5);
  });

  test("keep the price at which they were taken", async () => {
    const event = await priced();
    const hold = await alice.books(event, 2);
    await hanna.does(200, "PATCH", `/events/${event.id}`, { price: 9900, currency: "USD" });
    expect(await read(alice, hold)).toMatchObject({ amount: 2500, currency: "EUR" });
    expect(await ben.books(event, 2)).toMatchObject({ amount: 19_800, currency: "USD" });
    expect(await confirm(hold)).toMatchObject({ amount: 2500, currency: "EUR" });
  });

  test("are no news: whoever asked for them has the answer", async () => {
    const event = await priced();
    await alice.books(event);
    // What is told in order has told the first when it has told the second.
    const later = await hanna.createsEvent();
    await alice.books(later);
    await eventually(async () => expect(await toldOf(alice, later)).toEqual(["booking.confirmed"]));
    expect(await toldOf(alice, event)).toEqual([]);
  });
});

describe("A hold that has lapsed", () => {
  const statusesIn = async (person: Person, path: string): Promise<string[]> =>
    (await person.does(200, "GET", path)).data.map(({ status }: Booking) => status);

  test("reads expired from that very moment, everywhere, though nobody has written it", async () => {
    const event = await priced();
    const hold = await alice.books(event, 2);
    const lists: [Person, string][] = [
      [alice, `/bookings?eventId=${event.id}`],
      [alice, `/bookings/my-bookings?eventId=${event.id}`],
      [hanna, `/bookings?eventId=${event.id}`],
      [hanna, `/events/${event.id}/bookings?limit=5`],
    ];
    const expectEverywhere = async (status: "pending" | "expired") => {
      const other = status === "pending" ? "expired" : "pending";
      for (const person of [alice, hanna, admin]) {
        expect(await read(person, hold)).toEqual({ ...hold, status });
      }
      for (const [person, path] of lists) {
        expect([path, await statusesIn(person, path)]).toEqual([path, [status]]);
        expect(await statusesIn(person, `${path}&status=${status}`)).toEqual([status]);
        expect(await statusesIn(person, `${path}&status=${other}`)).toEqual([]);
      }
    };
    await withoutSweeper(database, async () => {
      moveToLapseOf(hold, -1);
      await expectEverywhere("pending");
      moveToLapseOf(hold);
      await expectEverywhere("expired");
      expect(await writtenStatus(hold)).toBe("pending");
      expect(await seatsOf(event)).toBe(2);
    });
  });

  test("shows its seats as free within moments, and its holder is told, once", async () => {
    const event = await priced({ capacity: 3 });
    const hold = await alice.books(event, 2);
    moveToLapseOf(await ben.books(event));
    await eventually(async () => expect(await seatsOf(event)).toBe(0));
    expect(await read(alice, hold)).toEqual({
      ...hold,
      status: "expired",
      updatedAt: clock.inMinutes(0),
    });
    for (const person of [alice, ben]) {
      await eventually(async () =>
        expect(await toldOf(person, event)).toEqual(["booking.expired"]),
      );
    }
    // Not simply the newest: one of an earlier test may have been told while the clock stood in the future.
    const notices = await alice.isTold("booking.expired");
    expect(notices.find(({ eventId }) => eventId === event.id)).toMatchObject({
      data: { eventId: event.id, bookingId: hold.id },
      body: expect.stringContaining("2 seats"),
    });
  });

  test("gives its seats to whoever books, at once and exactly, though nobody sweeps", async () => {
    const event = await priced({ capacity: 6 });
    const lapsing = await alice.books(event, 3);
    clock.moveTo(shifted(lapsing.createdAt, 60_000));
    const standing = await ben.books(event, 2);
    await withoutSweeper(database, async () => {
      moveToLapseOf(lapsing);
      const cleo = await api.attendee("Cleo");
      const refused = await cleo.triesToBook(event, 5);
      expectRefusal(refused, 409, "NOT_ENOUGH_TICKETS");
      expect(refused.body.detail).toContain("4 seats");
      await cleo.books(event, 4);
      expect(await seatsOf(event)).toBe(6);
      expect(await writtenStatus(lapsing)).toBe("expired");
      expect(await read(ben, standing)).toMatchObject({ status: "pending" });
    });
    await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.expired"]));
  });

  test("is no booking any more: the same person may book again, though nobody sweeps", async () => {
    const event = await priced({ capacity: 1 });
    const first = await alice.books(event);
    await withoutSweeper(database, async () => {
      moveToLapseOf(first);
      const second = await alice.books(event);
      expect(second).toMatchObject({ status: "pending", holdExpiresAt: clock.inMinutes(10) });
      expect(await read(alice, first)).toMatchObject({ status: "expired" });
      expectRefusal(await alice.triesToBook(event), 409, "ALREADY_BOOKED");
      expect(await seatsOf(event)).toBe(1);
    });
  });

  test("gives its seats back in a system that does nothing but book", async () => {
    const event = await priced({ capacity: 2 });
    const holds = [await alice.books(event), await ben.books(event)];
    await withoutSweeper(database, async () => {
      for (const hold of holds) moveToLapseOf(hold);
      const people = await crowd(system, api, 4);
      expect(tally(await bookAtOnce(people, event))).toEqual({ 201: 2, "409 EVENT_SOLD_OUT": 2 });
      expect(await seatsOf(event)).toBe(2);
    });
  });

  test("does not keep a host from a smaller capacity, though nobody sweeps", async () => {
    const event = await priced({ capacity: 6 });
    const hold = await alice.books(event, 3);
    clock.moveTo(shifted(hold.createdAt, 60_000));
    await ben.books(event, 2);
    const path = `/events/${event.id}`;
    await withoutSweeper(database, async () => {
      moveToLapseOf(hold, -1);
      const early = await hanna.tries("PATCH", path, { capacity: 2 });
      expectRefusal(early, 409, "CAPACITY_BELOW_SOLD");
      expect(early.body.detail).toContain("5 seats");
      moveToLapseOf(hold);
      const tooSmall = await hanna.tries("PATCH", path, { capacity: 1 });
      expectRefusal(tooSmall, 409, "CAPACITY_BELOW_SOLD");
      expect(tooSmall.body.detail).toContain("2 seats");
      expect(await hanna.does(200, "PATCH", path, { capacity: 2 })).toMatchObject({
        capacity: 2,
        numberOfAttendees: 2,
        version: 2,
      });
      expect(await writtenStatus(hold)).toBe("expired");
    });
    await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.expired"]));
  });

  test("gives its seats to who waits before a smaller capacity takes them away", async () => {
    const event = await priced({ capacity: 3 });
    const hold = await alice.books(event, 3);
    await ben.waitsFor(event, 2);
    await withoutSweeper(database, async () => {
      moveToLapseOf(hold);
      const answer = await hanna.tries("PATCH", `/events/${event.id}`, { capacity: 1 });
      expectRefusal(answer, 409, "CAPACITY_BELOW_SOLD");
      expect(answer.body.detail).toContain("2 seats");
      expect(await ben.bookingOf(event)).toMatchObject({ status: "pending", quantity: 2 });
      await hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 2 });
    });
  });

  test("is one of very many: all their seats are free again", async () => {
    const event = await priced({ capacity: MANY });
    const holders = await crowd(system, api, MANY);
    await system.database.query(
      `WITH held AS (
         INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, currency,
                               hold_expires_at, created_at, updated_at)
         SELECT gen_random_uuid(), $1, id, $2, 1, 'pending', 1250, 'EUR', now() + interval '1 minute', now(), now()
           FROM unnest($3::uuid[]) AS holder (id) RETURNING quantity)
       UPDATE events SET number_of_attendees = (SELECT count(*) FROM held) WHERE id = $1`,
      [event.id, hanna.who.id, holders.map(({ who }) => who.id)],
    );
    await withoutSweeper(database, async () => {
      clock.moveTo(clock.inMinutes(2));
      expectRefusal(await alice.triesToWait(event, MANY), 409, "TICKETS_AVAILABLE");
      await alice.books(event, MANY);
      expect(await seatsOf(event)).toBe(MANY);
    });
  });
});

describe("Seats that are paid for", () => {
  test("are the attendee's, with a ticket each, for good", async () => {
    const event = await priced({ capacity: 4 });
    const hold = await alice.books(event, 3);
    const confirmed = await confirm(hold);
    const ticket = {
      id: expect.any(String),
      code: expect.stringMatching(/^[\w-]{43}$/),
      status: "valid",
    };
    expect(confirmed).toEqual({
      ...hold,
      status: "confirmed",
      holdExpiresAt: null,
      updatedAt: expect.any(String),
      tickets: [ticket, ticket, ticket],
    });
    expect(new Set(confirmed.tickets.map(({ code }) => code)).size).toBe(3);
    await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.confirmed"]));
    moveToLapseOf(hold);
    expect(await read(alice, hold)).toEqual(confirmed);
    expectRefusal(await ben.triesToBook(event, 2), 409, "NOT_ENOUGH_TICKETS");
    expect(await seatsOf(event)).toBe(3);
  });

  test("in the last moment are paid for in time", async () => {
    const event = await priced();
    const hold = await alice.books(event);
    moveToLapseOf(hold, -1);
    expect(await confirm(hold)).toMatchObject({ status: "confirmed" });
  });

  test("too late are not there any more, whoever has noticed", async () => {
    const event = await priced({ capacity: 1 });
    const hold = await alice.books(event);
    const late = { type: "BOOKING_NOT_ACTIVE", code: 409, data: { status: "expired" } };
    await withoutSweeper(database, async () => {
      moveToLapseOf(hold);
      await expect(confirm(hold)).rejects.toMatchObject(late);
      expect(await read(alice, hold)).toMatchObject({ status: "expired", tickets: [] });
    });
    await ben.books(event);
    await expect(confirm(hold)).rejects.toMatchObject(late);
    expect(await read(alice, hold)).toMatchObject({ status: "expired", tickets: [] });
    expect(await seatsOf(event)).toBe(1);
  });

  test("are paid for once", async () => {
    const hold = await alice.books(await priced());
    const { tickets } = await confirm(hold);
    await expect(confirm(hold)).rejects.toMatchObject({
      type: "BOOKING_NOT_ACTIVE",
      data: { status: "confirmed" },
    });
    expect((await read(alice, hold)).tickets).toEqual(tickets);
  });

  test("must have been held", async () => {
    await expect(confirm({ id: newId() })).rejects.toMatchObject({ type: "BOOKING_NOT_FOUND" });
  });
});

describe("Giving a hold up", () => {
  test("frees its seats at once", async () => {
    const event = await priced({ capacity: 2 });
    const hold = await alice.books(event, 2);
    await alice.cancels(hold);
    expect(await read(alice, hold)).toEqual({
      ...hold,
      status: "cancelled",
      holdExpiresAt: null,
      updatedAt: expect.any(String),
    });
    expect(await seatsOf(event)).toBe(0);
    await ben.books(event, 2);
    await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.cancelled"]));
  });

  test("is too late once it has lapsed, though nobody sweeps, for whoever tries", async () => {
    const event = await priced();
    const hold = await alice.books(event);
    await withoutSweeper(database, async () => {
      moveToLapseOf(hold);
      for (const person of [alice, admin]) {
        const answer = await person.tries("DELETE", `/bookings/${hold.id}`);
        expectRefusal(answer, 409, "BOOKING_NOT_ACTIVE");
        expect(answer.body.detail).toContain("expired");
      }
      expect(await read(alice, hold)).toMatchObject({ status: "expired" });
    });
  });

  test("comes with the account", async () => {
    const event = await priced({ capacity: 2 });
    const gone = await api.attendee("Gone");
    const hold = await gone.books(event, 2);
    await gone.does(204, "DELETE", "/users/me");
    expect(await read(hanna, hold)).toMatchObject({ status: "cancelled" });
    expect(await seatsOf(event)).toBe(0);
  });

  test.each<[string, (event: Event) => Promise<unknown>]>([
    ["cancelled", (event) => hanna.does(200, "POST", `/events/${event.id}/cancel`)],
    ["removed", (event) => hanna.does(204, "DELETE", `/events/${event.id}`)],
  ])("comes with an event that is %s; what had lapsed before stays so", async (_how, end) => {
    const event = await priced({ capacity: 3 });
    const lapsed = await alice.books(event, 2);
    clock.moveTo(shifted(lapsed.createdAt, 60_000));
    const held = await ben.books(event);
    await withoutSweeper(database, async () => {
      moveToLapseOf(lapsed);
      await end(event);
      expect(await read(alice, lapsed)).toMatchObject({ status: "expired" });
      expect(await read(ben, held)).toMatchObject({ status: "cancelled" });
    });
    await eventually(async () => expect(await toldOf(ben, event)).toEqual(["event.cancelled"]));
    await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.expired"]));
  });
});

describe("The lifecycle of a booking", () => {
  /** What leads to a status; whoever asks may be refused. */
  const ways: Record<Exclude<BookingStatus, "pending">, (hold: Booking) => Promise<unknown>> = {
    confirmed: confirm,
    cancelled: (hold) => alice.cancels(hold),
    expired: async (hold) => moveToLapseOf(hold),
  };
  // Its step from one status to the same is refused as well: nothing is done twice.
  const pairs = STATUSES.flatMap((from) =>
    Object.entries(ways).map(([to, way]) => [from, to, way] as const),
  );

  test.each(pairs)("%s → %s, if the table says so", async (from, to, way) => {
    const hold = await alice.books(await priced());
    if (from !== "pending") await ways[from](hold);
    const before = await read(alice, hold);
    expect(before.status).toBe(from);
    await way(hold).catch((error) =>
      expect(`${error.type} ${error.message}`).toContain("BOOKING_NOT_ACTIVE"),
    );
    const after = await read(alice, hold);
    if (LIFECYCLE.some((step) => step.from === from && step.to === to)) {
      expect(after.status).toBe(to);
    } else {
      expect({ ...after, updatedAt: null }).toEqual({ ...before, updatedAt: null });
    }
  });

  test("leads nowhere back", () => {
    expect(LIFECYCLE.filter(({ to }) => to === "pending")).toEqual([]);
  });
});
