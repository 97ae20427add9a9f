import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { type Answer, Api, type Booking, type Event, inDays, type Person } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";
import { untilItBites, withoutLocks } from "../support/unguarded";

/**
 * Real races over HTTP on a real database, and for each guard a control that shows what happens without it.
 * A control is repeated until the race bites, and fails when it never does: then the race proves nothing.
 */

const bookAtOnce = (people: Person[], event: { id: string }): Promise<Answer[]> =>
  Promise.all(people.map((person) => person.triesToBook(event)));

/** How often each answer came: `201`, `409 EVENT_SOLD_OUT`, … */
function tally(answers: Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, body } of answers) {
    const outcome = body?.code ? `${status} ${body.code}` : String(status);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

interface Seats {
  capacity: number;
  /** What the event's row says. */
  counted: number;
  /** Seats of active bookings. */
  sold: number;
  /** Active bookings. */
  bookings: number;
  /** Valid tickets. */
  tickets: number;
}

async function seatsOf({ database }: TestSystem, event: { id: string }): Promise<Seats> {
  const [row] = await database.query(
    `SELECT e.capacity, e.number_of_attendees AS counted,
            coalesce(sum(b.quantity), 0)::int AS sold, count(b.id)::int AS bookings,
            (SELECT count(*)::int FROM tickets t JOIN bookings o ON o.id = t.booking_id
              WHERE o.event_id = e.id AND t.status = 'valid') AS tickets
       FROM events e LEFT JOIN bookings b ON b.event_id = e.id AND b.status IN ('pending', 'confirmed')
      WHERE e.id = $1 GROUP BY e.id`,
    [event.id],
  );
  return row;
}

/** What must hold after every race: the row says what is sold, and no seat was sold twice. */
async function expectSound(system: TestSystem, event: { id: string }): Promise<Seats> {
  const seats = await seatsOf(system, event);
  expect(seats.counted).toBe(seats.sold);
  expect(seats.tickets).toBe(seats.sold);
  expect(seats.counted).toBeGreaterThanOrEqual(0);
  expect(seats.counted).toBeLessThanOrEqual(seats.capacity);
  return seats;
}

const twentySold = { capacity: 20, counted: 20, sold: 20, bookings: 20, tickets: 20 };

describe("Races", () => {
  let system: TestSystem;
  let api: Api;
  let hanna: Person;
  let people: Person[];
  beforeAll(async () => {
    system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
    api = await Api.at(system.origin);
    hanna = await api.host("Hanna");
    people = await crowd(system, api, 200);
  });
  afterAll(() => system.stop());

  test("200 attendees for 20 seats: exactly 20 get one", async () => {
    const event = await hanna.createsEvent({ capacity: 20 });
    const answers = await bookAtOnce(people, event);
    expect(tally(answers)).toEqual({ 201: 20, "409 EVENT_SOLD_OUT": 180 });
    expect(await expectSound(system, event)).toEqual(twentySold);
    expect((await api.get(`/events/${event.id}`)).body).toMatchObject({
      numberOfAttendees: 20,
      availableTickets: 0,
      version: 1,
    });
  });

  test("the same through two processes on one database", async () => {
    const second = await startTestSystem({ database: system.database });
    try {
      const others = await crowd(second, await Api.at(second.origin), 100);
      const event = await hanna.createsEvent({ capacity: 20 });
      const mixed = people
        .slice(0, 100)
        .flatMap((person, i) => [person, ...others.slice(i, i + 1)]);
      const answers = await bookAtOnce(mixed, event);
      expect(tally(answers)).toEqual({ 201: 20, "409 EVENT_SOLD_OUT": 180 });
      expect(await expectSound(system, event)).toEqual(twentySold);
    } finally {
      await second.stop();
    }
  });

  test("mixed quantities never exceed the capacity, and nobody is refused who would still fit", async () => {
    const event = await hanna.createsEvent({ capacity: 57 });
    const wanted = people
      .slice(0, 60)
      .map((person, i) => ({ person, quantity: 1 + ((i * 7) % 10) }));
    const outcomes = await Promise.all(
      wanted.map(async ({ person, quantity }) => ({
        quantity,
        answer: await person.triesToBook(event, quantity),
      })),
    );
    const { counted } = await expectSound(system, event);
    const booked = outcomes.filter(({ answer }) => answer.status === 201);
    expect(booked.reduce((sum, { quantity }) => sum + quantity, 0)).toBe(counted);
    for (const { quantity, answer } of outcomes.filter((outcome) => !booked.includes(outcome))) {
      expect(["EVENT_SOLD_OUT", "NOT_ENOUGH_TICKETS"]).toContain(answer.body.code);
      expect(quantity).toBeGreaterThan(57 - counted);
    }
  });

  test("one person 20 times at once: one booking", async () => {
    const event = await hanna.createsEvent({ capacity: 100 });
    const alice = await api.attendee("Alice");
    const answers = await bookAtOnce(Array(20).fill(alice), event);
    expect(tally(answers)).toEqual({ 201: 1, "409 ALREADY_BOOKED": 19 });
    expect(await expectSound(system, event)).toMatchObject({ sold: 1, bookings: 1 });
  });

  test("one person 20 times at once for the last seat: one booking", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    const alice = await api.attendee("Alice");
    const answers = await bookAtOnce(Array(20).fill(alice), event);
    expect(tally(answers)).toEqual({ 201: 1, "409 ALREADY_BOOKED": 19 });
    expect(await expectSound(system, event)).toMatchObject({ sold: 1, bookings: 1 });
  });

  test("cancel against cancel: the seats are freed once", async () => {
    const admin = await administrator(api);
    const event = await hanna.createsEvent({ capacity: 10 });
    const [alice, ben] = await Promise.all([api.attendee("Alice"), api.attendee("Ben")]);
    const booking = await alice.books(event, 3);
    await ben.books(event, 4);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        (i % 2 ? alice : admin).tries("DELETE", `/bookings/${booking.id}`),
      ),
    );
    expect(tally(answers)).toEqual({ 204: 1, "409 BOOKING_NOT_ACTIVE": 9 });
    expect(await expectSound(system, event)).toMatchObject({ counted: 4, bookings: 1 });
  });

  test("cancel against book: a seat changes hands and is never in two", async () => {
    const event = await hanna.createsEvent({ capacity: 20 });
    const holders = people.slice(0, 20);
    const bookings: Booking[] = await Promise.all(holders.map((person) => person.books(event)));
    const [cancelled, booked] = await Promise.all([
      Promise.all(
        bookings.map((booking, i) => holders[i]?.tries("DELETE", `/bookings/${booking.id}`)),
      ),
      bookAtOnce(people.slice(20, 100), event),
    ]);
    expect(cancelled.map((answer) => answer?.status)).toEqual(Array(20).fill(204));
    const { bookings: left } = await expectSound(system, event);
    const counts = tally(booked);
    expect(counts["201"] ?? 0).toBe(left);
    expect(
      Object.keys(counts).filter((key) => key !== "201" && key !== "409 EVENT_SOLD_OUT"),
    ).toEqual([]);
    // All have cancelled, so whoever comes now finds what the race has left.
    const late = tally(await bookAtOnce(people.slice(100, 140), event));
    expect((late["201"] ?? 0) + left).toBe(20);
  });

  test("one person cancels and books again at once, over and over: one booking at most", async () => {
    const event = await hanna.createsEvent({ capacity: 5 });
    const alice = await api.attendee("Alice");
    for (let round = 0; round < 10; round++) {
      const { data } = await alice.does(
        200,
        "GET",
        `/bookings?eventId=${event.id}&status=confirmed`,
      );
      const attempts = [1, 2, 3].map((quantity) => alice.triesToBook(event, quantity));
      const cancels = data.map(({ id }: Booking) => alice.tries("DELETE", `/bookings/${id}`));
      const answers = await Promise.all([...attempts, ...cancels]);
      expect(answers.every(({ status }) => status < 500)).toBe(true);
      expect((await expectSound(system, event)).bookings).toBeLessThanOrEqual(1);
    }
  });

  test.each([9, 10, 11, 14, 20, 40])(
    "a smaller capacity against %i bookings: whoever is first counts",
    async (racers) => {
      const event = await hanna.createsEvent({ capacity: 30 });
      const [changes, answers] = await Promise.all([
        Promise.all(
          [10, 10, 10].map((capacity) => hanna.tries("PATCH", `/events/${event.id}`, { capacity })),
        ),
        bookAtOnce(people.slice(0, racers), event),
      ]);
      const { capacity, counted } = await expectSound(system, event);
      expect(tally(answers)["201"]).toBe(counted);
      const refusals = changes.filter(({ status }) => status !== 200);
      for (const { body } of refusals) expect(body.code).toBe("CAPACITY_BELOW_SOLD");
      expect(capacity).toBe(refusals.length === changes.length ? 30 : 10);
      expect(counted).toBe(Math.min(racers, capacity));
    },
  );

  test("a larger capacity against bookings: every new seat can be had", async () => {
    const event = await hanna.createsEvent({ capacity: 5 });
    await Promise.all([
      bookAtOnce(people.slice(0, 60), event),
      ...[10, 15, 20].map((capacity) => hanna.tries("PATCH", `/events/${event.id}`, { capacity })),
    ]);
    const { capacity } = await expectSound(system, event);
    await bookAtOnce(people.slice(60, 90), event);
    expect((await expectSound(system, event)).counted).toBe(capacity);
  });

  test.each<[string, (event: Event) => Promise<Answer>]>([
    ["removing", (event) => hanna.tries("DELETE", `/events/${event.id}`)],
    ["cancelling", (event) => hanna.tries("POST", `/events/${event.id}/cancel`)],
  ])("%s an event against bookings: no active booking is left on it", async (_, ends) => {
    for (let round = 0; round < 4; round++) {
      const event = await hanna.createsEvent({ capacity: 100 });
      const early = bookAtOnce(people.slice(0, round * 10), event);
      const [ended, ...answers] = await Promise.all([
        ends(event),
        early,
        bookAtOnce(people.slice(round * 10, 40), event),
      ]);
      expect(ended.status).toBeLessThan(300);
      const known = ["201", "404 EVENT_NOT_FOUND", "409 EVENT_NOT_BOOKABLE"];
      expect(known).toEqual(expect.arrayContaining(Object.keys(tally(answers.flat()))));
      const left = await system.database.query(
        `SELECT (SELECT count(*)::int FROM bookings WHERE event_id = $1 AND status <> 'cancelled') AS active,
                (SELECT coalesce(max(number_of_attendees), 0) FROM events WHERE id = $1) AS counted`,
        [event.id],
      );
      expect(left).toEqual([{ active: 0, counted: 0 }]);
    }
  });

  test("two people book two events in opposite order, many times at once: nobody waits for ever", async () => {
    for (let round = 0; round < 3; round++) {
      const [one, two] = await Promise.all([
        hanna.createsEvent({ capacity: 1000 }),
        hanna.createsEvent({ capacity: 1000 }),
      ]);
      const answers = await Promise.all(
        people
          .slice(0, 40)
          .flatMap((person, i) =>
            (i % 2 ? [one, two] : [two, one]).map((event) => person.triesToBook(event)),
          ),
      );
      expect(tally(answers)).toEqual({ 201: 80 });
      for (const event of [one, two]) expect((await expectSound(system, event)).sold).toBe(40);
    }
  });

  test("attendees leave while their events are removed and changed: nobody stands in another's way", async () => {
    const events = await Promise.all(
      Array.from({ length: 6 }, () => hanna.createsEvent({ capacity: 100 })),
    );
    const leaving = await crowd(system, api, 12);
    await Promise.all(events.flatMap((event) => bookAtOnce(leaving, event)));
    const [removed, left, changed] = await Promise.all([
      Promise.all(events.slice(0, 3).map(({ id }) => hanna.tries("DELETE", `/events/${id}`))),
      Promise.all(leaving.map((person) => person.tries("DELETE", `/users/${person.who.id}`))),
      Promise.all(
        events.slice(3).map(({ id }) => hanna.tries("PATCH", `/events/${id}`, { capacity: 50 })),
      ),
    ]);
    expect(tally(removed)).toEqual({ 204: 3 });
    expect(tally(left)).toEqual({ 204: 12 });
    expect(changed.every(({ status }) => status === 200 || status === 409)).toBe(true);
    for (const event of events.slice(3)) expect((await expectSound(system, event)).counted).toBe(0);
    const active = await system.database.query(
      "SELECT id FROM bookings WHERE user_id = ANY ($1) AND status <> 'cancelled'",
      [leaving.map(({ who }) => who.id)],
    );
    expect(active).toEqual([]);
  });

  /** Does something again and again through a process of its own while these people leave through ours. */
  const whileTheyLeave = async (
    people: Person[],
    again: (person: Person, elsewhere: Api, round: number) => Promise<Answer>,
  ): Promise<Answer[]> => {
    const second = await startTestSystem({ database: system.database });
    try {
      const elsewhere = await Api.at(second.origin);
      const answers = await Promise.all(
        people.map(async (person) => {
          const given = [await again(person, elsewhere, 0)];
          const leaving = person.does(204, "DELETE", `/users/${person.who.id}`);
          // The other process learns within a second that the session has ended.
          for (let round = 1; given.at(-1)?.status !== 401; round++) {
            given.push(await again(person, elsewhere, round));
          }
          await leaving;
          return given;
        }),
      );
      return answers.flat();
    } finally {
      await second.stop();
    }
  };

  test("attendees leave while booking elsewhere: no active booking is left", async () => {
    const events = await Promise.all(
      Array.from({ length: 40 }, () => hanna.createsEvent({ capacity: 100 })),
    );
    const leaving = await crowd(system, api, 8);
    const answers = await whileTheyLeave(leaving, (person, elsewhere, round) =>
      elsewhere.request("POST", "/bookings", {
        token: person.token,
        body: { eventId: events[round % events.length]?.id },
      }),
    );
    const known = ["201", "401 UNAUTHENTICATED", "409 ALREADY_BOOKED"];
    expect(known).toEqual(expect.arrayContaining(Object.keys(tally(answers))));
    for (const event of events) {
      expect(await expectSound(system, event)).toMatchObject({ counted: 0, bookings: 0 });
    }
  });

  test("hosts leave while creating events elsewhere: no event is left", async () => {
    const leaving = await crowd(system, api, 8, "host");
    const answers = await whileTheyLeave(leaving, (host, elsewhere) =>
      elsewhere.request("POST", "/events", {
        token: host.token,
        body: {
          title: "Last minute",
          startDateTime: inDays(1),
          endDateTime: inDays(2),
          capacity: 5,
        },
      }),
    );
    expect(Object.keys(tally(answers)).sort()).toEqual(["201", "401 UNAUTHENTICATED"]);
    const left = await system.database.query(
      "SELECT id FROM events WHERE host_id = ANY ($1) AND deleted_at IS NULL",
      [leaving.map(({ who }) => who.id)],
    );
    expect(left).toEqual([]);
  });

  test("a host leaves while removing events one by one: both succeed", async () => {
    const host = await api.host("Henry");
    const events = await Promise.all(Array.from({ length: 8 }, () => host.createsEvent()));
    const admin = await administrator(api);
    const [left, ...removed] = await Promise.all([
      host.tries("DELETE", `/users/${host.who.id}`),
      ...events.map(({ id }) => admin.tries("DELETE", `/events/${id}`)),
    ]);
    expect(left.status).toBe(204);
    expect(removed.every(({ status }) => status === 204 || status === 404)).toBe(true);
    const rows = await system.database.query(
      "SELECT id FROM events WHERE host_id = $1 AND deleted_at IS NULL",
      [host.who.id],
    );
    expect(rows).toEqual([]);
  });
});

describe("Controls: the same races with the locks taken away", () => {
  const unguarded = async (
    droppedConstraints: string[],
    work: (system: TestSystem, api: Api, hanna: Person) => Promise<void>,
  ) => {
    const system = await startTestSystem({ wrapDatabase: withoutLocks });
    try {
      for (const statement of droppedConstraints) await system.database.query(statement);
      const api = await Api.at(system.origin);
      await work(system, api, await api.host("Hanna"));
    } finally {
      await system.stop();
    }
  };
  const NO_CHECK = "ALTER TABLE events DROP CONSTRAINT events_seats_within_capacity";
  const NO_INDEX = "DROP INDEX bookings_one_active";

  test("no lock and no constraint: 200 attendees get more than the 20 seats", () =>
    unguarded([NO_CHECK], async (system, api, hanna) => {
      const people = await crowd(system, api, 200);
      const oversold = await untilItBites(async () => {
        const event = await hanna.createsEvent({ capacity: 20 });
        const booked = tally(await bookAtOnce(people, event))["201"] ?? 0;
        const { counted } = await seatsOf(system, event);
        return booked > 20 && counted > 20;
      });
      expect(oversold).toBe(true);
    }));

  test("no lock and no unique index: one person gets several bookings", () =>
    unguarded([NO_INDEX], async (system, api, hanna) => {
      const alice = await api.attendee("Alice");
      const several = await untilItBites(async () => {
        const event = await hanna.createsEvent({ capacity: 100 });
        await bookAtOnce(Array(20).fill(alice), event);
        return (await seatsOf(system, event)).bookings > 1;
      });
      expect(several).toBe(true);
    }));

  test("no lock: the database itself refuses what the lock would have prevented", () =>
    unguarded([], async (system, api, hanna) => {
      const people = await crowd(system, api, 200);
      const alice = await api.attendee("Alice");
      const refusedByTheDatabase = async (racers: Person[], capacity: number, most: number) => {
        const event = await hanna.createsEvent({ capacity });
        const counts = tally(await bookAtOnce(racers, event));
        const { sold, bookings } = await expectSound(system, event);
        expect(sold).toBeLessThanOrEqual(most);
        expect(bookings).toBe(counts["201"]);
        const others = Object.keys(counts).filter(
          (outcome) => !/^(201|409 .*|5\d\d .*)$/.test(outcome),
        );
        expect(others).toEqual([]);
        return Object.keys(counts).some((outcome) => outcome.startsWith("5"));
      };
      expect(await untilItBites(() => refusedByTheDatabase(people, 20, 20))).toBe(true);
      expect(await untilItBites(() => refusedByTheDatabase(Array(20).fill(alice), 100, 1))).toBe(
        true,
      );
    }));
});
