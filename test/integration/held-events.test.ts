import { eventually } from "../support/eventually";
import { confirmHold } from "../support/holds";
import { type Answer, Api, type Event, type Person } from "../support/people";
import { tally } from "../support/races";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";
import { whileHeld, whileOpen } from "../support/transaction";

/** What somebody holds for long keeps nobody waiting who wants something else. */
let system: TestSystem;
let api: Api;
let hanna: Person;
let people: Person[];
/** What is done right before an event's seats are tidied up; once. */
let beforeTidyingUp: (() => Promise<unknown>) | undefined;
/** What is done right after that; once. */
let afterTidyingUp: (() => Promise<unknown>) | undefined;

beforeAll(async () => {
  system = await startTestSystem({
    // Longer than any of these tests: whoever stood behind a held event would not come through before it ends.
    lockTimeoutMs: 60_000,
    environment: { BOOKING_HOLD_SECONDS: "2" },
    wrapDatabase: (database) => ({
      ...database,
      async prepared(work, options) {
        if (options?.lane !== undefined) {
          const first = beforeTidyingUp;
          beforeTidyingUp = undefined;
          await first?.();
        }
        const result = await database.prepared(work, options);
        if (options?.lane !== undefined) {
          const then = afterTidyingUp;
          afterTidyingUp = undefined;
          await then?.();
        }
        return result;
      },
    }),
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  people = await Promise.all(Array.from({ length: 18 }, (_, i) => api.attendee(`Guest ${i}`)));
});
afterAll(() => system.stop());

const change = (event: Event, fields: object) =>
  hanna.does(200, "PATCH", `/events/${event.id}`, fields);
const free = async ({ id }: Event): Promise<number> =>
  (await hanna.does(200, "GET", `/events/${id}`)).availableTickets;

test("While an event is held and eighteen people wait to leave it, everything else goes on", async () => {
  const [held, other, lapsing] = [
    await hanna.createsEvent({ capacity: 18 }),
    await hanna.createsEvent(),
    await hanna.createsEvent({ capacity: 1, price: 100, currency: "EUR" }),
  ];
  const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
  const bookings = await Promise.all(people.map((person) => person.books(held)));
  const booking = await alice.books(other);
  // What is heard of it is heard while it is held, and must not keep back what is to be told next.
  await change(held, { capacity: 19 });
  let interested: Promise<Answer>[] = [];
  const leaving = await whileHeld(system.database, [held], async (holder) => {
    await ben.books(lapsing);
    interested = people.map((person) => person.tries("POST", `/events/${held.id}/interest`));
    const cancelling = people.map((person, i) =>
      person.tries("DELETE", `/bookings/${bookings[i]?.id}`),
    );
    await holder.isWaitedFor(1);
    // Each of these is a change like the ones that wait.
    await alice.cancels(booking);
    await change(other, { capacity: 20 });
    const dora = await api.attendee("Dora");
    await (await api.host("Otto")).createsEvent();
    await dora.books(other);
    await dora.isTold("booking.confirmed");
    // The sweeper comes through as well.
    await eventually(async () => expect(await free(lapsing)).toBe(1));
    // One of those who leave, and one of those who are interested.
    expect(await holder.waiting()).toBeLessThanOrEqual(2);
    await holder.commits();
    return Promise.all(cancelling);
  });
  expect(tally(leaving)).toEqual({ 204: 18 });
  expect(tally(await Promise.all(interested))).toEqual({ 204: 18 });
  expect(await free(held)).toBe(19);
});

test("More who are interested in a held event than may wait for it are not in the way of those who leave it", async () => {
  const event = await hanna.createsEvent();
  const alice = await api.attendee("Alice");
  const booking = await alice.books(event);
  const [leaving, answers] = await whileHeld(system.database, [event], async (holder) => {
    const asked = Promise.all(
      Array.from({ length: 510 }, () => hanna.tries("POST", `/events/${event.id}/interest`)),
    );
    await holder.isInTheWay();
    const cancelling = alice.tries("DELETE", `/bookings/${booking.id}`);
    // At least nine have been refused by then, so their lane is full.
    await eventually(async () => expect(await holder.waiting()).toBe(2));
    await holder.commits();
    return Promise.all([cancelling, asked]);
  });
  expect(leaving.status).toBe(204);
  expect(tally(answers)["503 SERVICE_UNAVAILABLE"]).toBeGreaterThanOrEqual(9);
});

test("While two events are held that people book, a third one is booked and left as always", async () => {
  const held = [
    await hanna.createsEvent({ capacity: 5 }),
    await hanna.createsEvent({ capacity: 5 }),
  ];
  const busy = await hanna.createsEvent({ capacity: 4 });
  const waiting = await whileHeld(system.database, held, async (holder) => {
    const booking = held.map((event, i) => people[i]?.triesToBook(event));
    await holder.isWaitedFor(1);
    // Whoever books while it is held for a moment has to wait, with the other two.
    const booked = await whileHeld(system.database, [busy], async (briefly) => {
      const booking = people.slice(4, 8).map((person) => person.books(busy));
      await briefly.isInTheWay();
      await briefly.commits();
      return Promise.all(booking);
    });
    await Promise.all(booked.map((booking, i) => people[4 + i]?.cancels(booking)));
    await holder.commits();
    return Promise.all(booking);
  });
  expect(waiting.map((answer) => answer?.status)).toEqual([201, 201]);
});

test("Somebody who waits and is just being erased is passed over and keeps nobody waiting", async () => {
  const event = await hanna.createsEvent({ capacity: 1 });
  const [alice, ben, cleo] = [
    ...[await api.attendee("Alice"), await api.attendee("Ben")],
    await api.attendee("Cleo"),
  ] as [Person, Person, Person];
  const booking = await alice.books(event);
  await ben.waitsFor(event);
  await cleo.waitsFor(event);
  await whileOpen(
    system.database,
    "SELECT FROM users WHERE id = $1 FOR UPDATE",
    [ben.who.id],
    async () => {
      await alice.cancels(booking);
      expect(await cleo.bookingOf(event)).toMatchObject({ status: "confirmed" });
    },
  );
  // Who was not erased after all waits as before.
  expect(await ben.placeFor(event)).toBe(1);
});

test("Who came first waits first, whatever the clocks of nodes say", async () => {
  const event = await hanna.createsEvent({ capacity: 1 });
  const [first, second, third] = people as [Person, Person, Person];
  const booking = await first.books(event);
  await second.waitsFor(event);
  await third.waitsFor(event);
  // As a node makes them whose clock is behind.
  await system.database.query(
    "UPDATE waitlist SET id = '01000000-0000-7000-8000-000000000000' WHERE event_id = $1 AND user_id = $2",
    [event.id, third.who.id],
  );
  expect([await second.placeFor(event), await third.placeFor(event)]).toEqual([1, 2]);
  await first.cancels(booking);
  expect(await second.bookingOf(event)).toMatchObject({ status: "confirmed" });
});

describe("A larger capacity", () => {
  test("is answered with the seats that are left when those who wait have theirs", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    const [first, second, third] = people as [Person, Person, Person];
    await first.books(event);
    for (const person of [second, third]) await person.waitsFor(event);
    expect(await change(event, { capacity: 4 })).toMatchObject({
      numberOfAttendees: 3,
      availableTickets: 1,
    });
  });

  test("is theirs soon where the process that made it could not give it to them", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    const [first, second] = people as [Person, Person];
    await first.books(event);
    await second.waitsFor(event);
    // Rolled back by then: nobody has been given anything.
    beforeTidyingUp = () => Promise.reject(new Error("killed"));
    await change(event, { capacity: 2 });
    await eventually(async () =>
      expect(await second.bookingOf(event)).toMatchObject({ status: "confirmed" }),
    );
  });

  test("that comes while somebody joins goes to those who wait, and the newcomer is not told of free seats", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    const [first, second, third] = people as [Person, Person, Person];
    await first.books(event);
    await second.waitsFor(event);
    afterTidyingUp = () =>
      system.database.query("UPDATE events SET capacity = 2 WHERE id = $1", [event.id]);
    expect(await third.waitsFor(event)).toBe(1);
    expect(await second.bookingOf(event)).toMatchObject({ status: "confirmed" });
  });
});

test("A hold of an event that is cancelled is not made a booking any more", async () => {
  const event = await hanna.createsEvent({ price: 100, currency: "EUR" });
  const [alice] = people as [Person];
  const booking = await alice.books(event);
  // As the first step of a cancellation leaves it.
  await system.database.query("UPDATE events SET status = 'cancelled' WHERE id = $1", [event.id]);
  await expect(confirmHold(system, booking)).rejects.toMatchObject({ type: "EVENT_NOT_BOOKABLE" });
  expectRefusal(await alice.triesToBook(event), 409, "EVENT_NOT_BOOKABLE");
});
