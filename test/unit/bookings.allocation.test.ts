import fc from "fast-check";
import { Unauthenticated } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { type Applicant, allocation } from "../../services/bookings/bookings.allocation";
import {
  AlreadyBooked,
  EventNotBookable,
  EventSoldOut,
  NotEnoughTickets,
} from "../../services/bookings/bookings.contract";
import type { BookableEvent } from "../../services/bookings/bookings.rules";

const NOW = new Date("2030-06-15T12:00:00.000Z");

const anEvent = (fields: Partial<BookableEvent> = {}): BookableEvent => ({
  id: newId(),
  status: "published",
  endDateTime: new Date(NOW.getTime() + 3_600_000),
  saleStartsAt: null,
  saleEndsAt: null,
  price: 0,
  currency: null,
  capacity: 10,
  numberOfAttendees: 0,
  ...fields,
});

const asks = (
  event: BookableEvent,
  quantity: number,
  more: Partial<Omit<Applicant, "event" | "quantity">> = {},
): Applicant => ({
  event,
  quantity,
  userId: newId(),
  userExists: true,
  bookedAlready: false,
  ...more,
});

/** What becomes of those who ask together, in order: the code of a refusal, or how many seats they get. */
function outcomesOf(applicants: readonly Applicant[]): (string | number)[] {
  const decide = allocation(NOW);
  return applicants.map((applicant) => decide(applicant)?.type ?? applicant.quantity);
}

describe("Who of those that ask together gets seats", () => {
  test("all, as long as there are seats, and they are counted", () => {
    const event = anEvent({ capacity: 10, numberOfAttendees: 4 });
    expect(outcomesOf([asks(event, 1), asks(event, 3), asks(event, 2)])).toEqual([1, 3, 2]);
    expect(event.numberOfAttendees).toBe(10);
  });

  test("the first to come, when there are too few for all", () => {
    const event = anEvent({ capacity: 2 });
    const outcomes = outcomesOf([asks(event, 1), asks(event, 1), asks(event, 1), asks(event, 1)]);
    expect(outcomes).toEqual([1, 1, EventSoldOut.code, EventSoldOut.code]);
  });

  test("a small request after one that was too large for what is left", () => {
    const event = anEvent({ capacity: 3 });
    const outcomes = outcomesOf([asks(event, 2), asks(event, 4), asks(event, 2), asks(event, 1)]);
    expect(outcomes).toEqual([2, NotEnoughTickets.code, NotEnoughTickets.code, 1]);
    expect(event.numberOfAttendees).toBe(3);
  });

  test("somebody who asks twice: once, and the second time is told of the first", () => {
    const event = anEvent();
    const userId = newId();
    const twice = [asks(event, 1, { userId }), asks(event, 2, { userId })];
    expect(outcomesOf(twice)).toEqual([1, AlreadyBooked.code]);
    expect(event.numberOfAttendees).toBe(1);
  });

  test("somebody who asks again for fewer after they were refused", () => {
    const event = anEvent({ capacity: 2 });
    const userId = newId();
    const again = [asks(event, 3, { userId }), asks(event, 2, { userId })];
    expect(outcomesOf(again)).toEqual([NotEnoughTickets.code, 2]);
  });

  test("nobody who had a booking before, and nobody who is gone", () => {
    const event = anEvent();
    expect(outcomesOf([asks(event, 1, { bookedAlready: true })])).toEqual([AlreadyBooked.code]);
    const gone = asks(event, 1, { userExists: false });
    expect(outcomesOf([gone, { ...gone, userExists: true }])).toEqual([Unauthenticated.code, 1]);
    expect(event.numberOfAttendees).toBe(1);
  });

  test("each event on its own: a person may book several, and one that is full or closed harms no other", () => {
    const [open, full, closed] = [
      anEvent(),
      anEvent({ capacity: 1, numberOfAttendees: 1 }),
      anEvent({ status: "cancelled" }),
    ];
    const userId = newId();
    const outcomes = outcomesOf([full, closed, open].map((event) => asks(event, 1, { userId })));
    expect(outcomes).toEqual([EventSoldOut.code, EventNotBookable.code, 1]);
  });

  test("nobody of a batch counts in the next one but by what it has written", () => {
    const event = anEvent();
    const applicant = asks(event, 1);
    expect(outcomesOf([applicant])).toEqual([1]);
    // The first was rolled back: its seats are as they were and nobody has booked.
    event.numberOfAttendees = 0;
    expect(outcomesOf([applicant])).toEqual([1]);
  });
});

describe("Whoever asks for whatever", () => {
  interface Rush {
    capacities: number[];
    taken: number[];
    requests: { event: number; user: number; quantity: number; known: boolean }[];
  }
  const rush: fc.Arbitrary<Rush> = fc.record({
    capacities: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 3, maxLength: 3 }),
    taken: fc.array(fc.nat(20), { minLength: 3, maxLength: 3 }),
    requests: fc.array(
      fc.record({
        event: fc.nat(2),
        user: fc.nat(9),
        quantity: fc.integer({ min: 1, max: 10 }),
        known: fc.boolean(),
      }),
      { maxLength: 60 },
    ),
  });

  /** The rush in the words of the rules, and what became of it. */
  function run({ capacities, taken, requests }: Rush) {
    const events = capacities.map((capacity, i) =>
      anEvent({ capacity, numberOfAttendees: Math.min(taken[i] ?? 0, capacity) }),
    );
    const before = events.map(({ numberOfAttendees }) => numberOfAttendees);
    const users = Array.from({ length: 10 }, newId);
    // Who had a booking for an event had it for all of their requests in the batch.
    const hadBooked = new Set(
      requests.filter(({ known }) => known).map(({ event, user }) => `${event} ${user}`),
    );
    const applicants = requests.map(({ event, user, quantity }) => ({
      ...asks(events[event] as BookableEvent, quantity, { userId: users[user] as string }),
      bookedAlready: hadBooked.has(`${event} ${user}`),
    }));
    return { events, before, applicants, outcomes: outcomesOf(applicants) };
  }

  test("there are never more seats taken than there are, and the counter says how many", () => {
    fc.assert(
      fc.property(rush, (asked) => {
        const { events, before, applicants, outcomes } = run(asked);
        events.forEach((event, i) => {
          const given = outcomes.reduce<number>(
            (sum, outcome, n) =>
              applicants[n]?.event === event && typeof outcome === "number" ? sum + outcome : sum,
            0,
          );
          expect(event.numberOfAttendees).toBe((before[i] ?? 0) + given);
          expect(event.numberOfAttendees).toBeLessThanOrEqual(event.capacity);
        });
      }),
    );
  });

  test("nobody gets two bookings of one event, and nobody gets one who had one", () => {
    fc.assert(
      fc.property(rush, (asked) => {
        const { applicants, outcomes } = run(asked);
        const got = applicants.filter((_, n) => typeof outcomes[n] === "number");
        const bookings = got.map(({ event, userId }) => `${event.id} ${userId}`);
        expect(new Set(bookings).size).toBe(bookings.length);
        expect(got.filter(({ bookedAlready }) => bookedAlready)).toEqual([]);
      }),
    );
  });

  test("a refusal is true at its turn: what was asked for was not there, or booked already", () => {
    fc.assert(
      fc.property(rush, (asked) => {
        const { events, before, applicants, outcomes } = run(asked);
        const left = new Map(events.map((event, i) => [event, event.capacity - (before[i] ?? 0)]));
        const booked = new Set<string>();
        applicants.forEach(({ event, userId, quantity, bookedAlready }, n) => {
          const free = left.get(event) ?? 0;
          const own = `${event.id} ${userId}`;
          const expected =
            bookedAlready || booked.has(own)
              ? AlreadyBooked.code
              : free === 0
                ? EventSoldOut.code
                : free < quantity
                  ? NotEnoughTickets.code
                  : quantity;
          expect(outcomes[n]).toBe(expected);
          if (typeof expected === "string") return;
          booked.add(own);
          left.set(event, free - quantity);
        });
      }),
    );
  });

  test("who comes later changes nothing for who came before", () => {
    fc.assert(
      fc.property(rush, fc.nat(60), (asked, first) => {
        // Whether somebody had booked is a fact of before the batch, so it is told of all alike.
        const requests = asked.requests.map((request) => ({ ...request, known: false }));
        const all = run({ ...asked, requests }).outcomes;
        const some = run({ ...asked, requests: requests.slice(0, first) }).outcomes;
        expect(all.slice(0, first)).toEqual(some);
      }),
    );
  });
});
