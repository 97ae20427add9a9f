import fc from "fast-check";
import type { Caller } from "../../lib/contract/define";
import { type AppError, Forbidden } from "../../lib/errors";
import { newId } from "../../lib/ids";
import {
  AlreadyBooked,
  BookingNotFound,
  EventEnded,
  EventNotBookable,
  EventSoldOut,
  NotEnoughTickets,
  SaleEnded,
  SaleNotStarted,
  TicketNotFound,
} from "../../services/bookings/bookings.contract";
import {
  type BookableEvent,
  type Booking,
  checkHosts,
  checkMayCancel,
  checkMayRead,
  checkQuantity,
  checkShown,
  LIFECYCLE,
  notOnSale,
  ownTicket,
  refusal,
  seatsLeft,
  statusAt,
  statusesBefore,
  terms,
  withoutAttendee,
} from "../../services/bookings/bookings.rules";
import { type BookingStatus, STATUSES } from "../../services/bookings/bookings.validations";
import { EventNotFound } from "../../services/events/events.contract";
import { STATUSES as EVENT_STATUSES } from "../../services/events/events.validations";
import { faultsOf } from "../support/guarded";

const NOW = new Date("2030-06-15T12:00:00.000Z");
const at = (hours: number) => new Date(NOW.getTime() + hours * 3_600_000);

/** The code of what is thrown, or undefined where nothing is. */
function codeOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    // The rules throw nothing else.
    return (error as AppError).type;
  }
}

interface Situation {
  event: BookableEvent;
  request: { quantity: number; bookedAlready: boolean; now: Date };
}
const bookable = (): Situation => ({
  event: {
    id: newId(),
    status: "published",
    endDateTime: at(3),
    saleStartsAt: at(-1),
    saleEndsAt: at(1),
    price: 2500,
    currency: "EUR",
    capacity: 10,
    numberOfAttendees: 9,
  },
  request: { quantity: 1, bookedAlready: false, now: NOW },
});

interface Reason {
  code: string;
  /** Whether it stands against everybody, whatever seats are left. */
  closes?: true;
  event?: Partial<BookableEvent>;
  request?: Partial<Situation["request"]>;
}
/** Reasons against a booking, in the order in which they are told; each as what is different then. */
const REASONS: readonly Reason[] = [
  { code: EventNotFound.code, closes: true, event: { status: "draft" } },
  { code: EventNotBookable.code, closes: true, event: { status: "postponed" } },
  { code: EventEnded.code, closes: true, event: { endDateTime: NOW } },
  { code: SaleNotStarted.code, closes: true, event: { saleStartsAt: at(0.5) } },
  { code: SaleEnded.code, closes: true, event: { saleEndsAt: NOW } },
  { code: AlreadyBooked.code, request: { bookedAlready: true } },
  { code: EventSoldOut.code, event: { numberOfAttendees: 10 } },
  { code: NotEnoughTickets.code, request: { quantity: 2 } },
];

/** A situation in which all these reasons stand against a booking; an event has one status, the first one's. */
const against = (...reasons: Omit<Reason, "code">[]): Situation =>
  reasons.reduceRight<Situation>(
    (situation, reason) => ({
      event: { ...situation.event, ...reason.event },
      request: { ...situation.request, ...reason.request },
    }),
    bookable(),
  );

describe("Whether an event can be booked", () => {
  const decide = ({ event, request }: Situation) => refusal(event, request);

  test("nothing stands against it", () => {
    expect(decide(against())).toBeUndefined();
  });

  test.each(REASONS)("$code alone", (reason) => {
    const situation = against(reason);
    expect(decide(situation)).toMatchObject({
      type: reason.code,
      data: { eventId: situation.event.id },
    });
  });

  test("of several reasons the first of the order counts, in every combination", () => {
    for (let combination = 1; combination < 2 ** REASONS.length; combination++) {
      const reasons = REASONS.filter((_, i) => combination & (1 << i));
      const codes = reasons.map(({ code }) => code);
      const told = decide(against(...reasons))?.type;
      expect({ codes, told }).toEqual({ codes, told: codes[0] });
    }
  });

  test("what closes it to everybody is told before anybody is known, and nothing else is", () => {
    for (let combination = 0; combination < 2 ** REASONS.length; combination++) {
      const reasons = REASONS.filter((_, i) => combination & (1 << i));
      const { event } = against(...reasons);
      const first = reasons.find(({ closes }) => closes)?.code;
      expect(notOnSale(event, NOW)?.type).toBe(first);
    }
  });

  test.each([0, 1, 100_000_000])("a price of %d is no reason against it", (price) => {
    expect(decide(against({ event: { price } }))).toBeUndefined();
  });

  test.each(EVENT_STATUSES.filter((status) => !["draft", "published"].includes(status)))(
    "not while it is %s",
    (status) => {
      expect(decide(against({ event: { status } }))?.type).toBe(EventNotBookable.code);
    },
  );

  test.each<[string, Partial<BookableEvent>, string | undefined]>([
    ["the sale starts this moment", { saleStartsAt: NOW }, undefined],
    ["the sale ends in a moment", { saleEndsAt: at(0.001) }, undefined],
    ["the event ends in a moment", { endDateTime: at(0.001) }, undefined],
    ["there is no sale window", { saleStartsAt: null, saleEndsAt: null }, undefined],
    ["the last seat", { capacity: 1, numberOfAttendees: 0 }, undefined],
    ["the sale starts in a moment", { saleStartsAt: at(0.001) }, SaleNotStarted.code],
  ])("at the edge: %s", (_what, event, code) => {
    expect(decide(against({ event }))?.type).toBe(code);
  });

  test("a refusal says what helps: when the sale starts, how many are left", () => {
    const early = against({ event: { saleStartsAt: at(2) } });
    expect(decide(early)).toMatchObject({
      data: { saleStartsAt: at(2).toISOString() },
      message: expect.stringContaining(at(2).toISOString()),
    });
    const many = against({ event: { numberOfAttendees: 7 }, request: { quantity: 4 } });
    expect(decide(many)).toMatchObject({ data: { available: 3 } });
  });

  test("never lets more people in than there are seats", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 60 }),
        (capacity, taken, quantity) => {
          const situation = against({
            event: { capacity, numberOfAttendees: taken },
            request: { quantity },
          });
          expect(decide(situation) === undefined).toBe(taken + quantity <= capacity);
          expect(seatsLeft(situation.event)).toBe(capacity - taken);
        },
      ),
    );
  });
});

describe("What seats become when they are taken", () => {
  test("of a free event: the attendee's own at once", () => {
    expect(terms({ price: 0, currency: null }, 3, NOW, 900)).toEqual({
      status: "confirmed",
      amount: 0,
      currency: null,
      holdExpiresAt: null,
    });
    // Who gave an event a currency and then made it free asks for nothing all the same.
    expect(terms({ price: 0, currency: "EUR" }, 3, NOW, 900).currency).toBeNull();
  });

  test("of a priced one: held for the time that the operator has set", () => {
    expect(terms({ price: 2500, currency: "EUR" }, 3, NOW, 900)).toEqual({
      status: "pending",
      amount: 7500,
      currency: "EUR",
      holdExpiresAt: at(0.25),
    });
  });

  test("the dearest booking is told to the unit", () => {
    const { amount } = terms({ price: 100_000_000, currency: "JPY" }, 1000, NOW, 1);
    expect(amount).toBe(100_000_000_000);
    expect(Number.isSafeInteger(amount)).toBe(true);
  });

  test("held and with an end, or the attendee's and without one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 604_800 }),
        (price, quantity, seconds) => {
          const agreed = terms({ price, currency: "EUR" }, quantity, NOW, seconds);
          expect(agreed.status).toBe(price > 0 ? "pending" : "confirmed");
          expect(agreed.holdExpiresAt === null).toBe(price === 0);
          expect(agreed.amount).toBe(price * quantity);
          if (agreed.holdExpiresAt) {
            expect(agreed.holdExpiresAt.getTime() - NOW.getTime()).toBe(seconds * 1000);
            expect(statusAt(agreed, NOW)).toBe("pending");
          }
        },
      ),
    );
  });
});

describe("What a booking's status is at a moment", () => {
  test.each<[string, BookingStatus, Date | null, BookingStatus]>([
    ["a hold that lasts", "pending", at(0.001), "pending"],
    ["a hold that ends this moment", "pending", NOW, "expired"],
    ["a hold that has lapsed, though nobody has written it", "pending", at(-1), "expired"],
    ["one that was written as expired", "expired", at(-1), "expired"],
    ["a confirmed one", "confirmed", null, "confirmed"],
    ["a cancelled one", "cancelled", null, "cancelled"],
  ])("%s", (_what, status, holdExpiresAt, seen) => {
    expect(statusAt({ status, holdExpiresAt }, NOW)).toBe(seen);
  });

  test("goes one way alone as time goes by", () => {
    fc.assert(
      fc.property(fc.integer({ min: -5, max: 5 }), fc.nat(5), (now, later) => {
        const hold = { status: "pending", holdExpiresAt: NOW } as const;
        const lapsed = statusAt(hold, at(now)) === "expired";
        if (lapsed) expect(statusAt(hold, at(now + later))).toBe("expired");
        expect(lapsed).toBe(now >= 0);
      }),
    );
  });
});

const goes = (from: BookingStatus, to: BookingStatus): boolean =>
  LIFECYCLE.some((step) => step.from === from && step.to === to);

describe("The lifecycle of a booking", () => {
  test.each(STATUSES.flatMap((from) => STATUSES.map((to) => [from, to] as const)))(
    "%s → %s",
    (from, to) => {
      const allowed = [
        "pending confirmed",
        "pending expired",
        "pending cancelled",
        "confirmed cancelled",
      ].includes(`${from} ${to}`);
      expect(goes(from, to)).toBe(allowed);
      // What the statements that change a booking ask for.
      expect(statusesBefore(to).includes(from)).toBe(allowed);
    },
  );

  test("an end is an end, and every booking can come to one", () => {
    expect(STATUSES.filter((to) => goes("cancelled", to) || goes("expired", to))).toEqual([]);
    expect(STATUSES.filter((from) => goes(from, "pending"))).toEqual([]);
    expect(STATUSES.filter((from) => goes(from, "cancelled"))).toEqual(["pending", "confirmed"]);
  });
});

test("More seats than the operator allows in one booking are a fault of the quantity", () => {
  expect(() => checkQuantity(10, 10)).not.toThrow();
  try {
    checkQuantity(11, 10);
    throw new Error("eleven of ten were let through");
  } catch (error) {
    expect(faultsOf(error)).toEqual([{ field: "quantity", message: "must be 10 at most" }]);
  }
});

describe("Who may do what with a booking", () => {
  const caller = (role: Caller["role"]): Caller => ({ id: newId(), role, sessionId: newId() });
  const [owner, host] = [caller("attendee"), caller("host")];
  const WHO: readonly [string, Caller][] = [
    ["its owner", owner],
    ["the event's host", host],
    ["an administrator", caller("admin")],
    ["another attendee", caller("attendee")],
    ["another host", caller("host")],
  ];
  const eventId = newId();
  const booking: Booking = {
    id: newId(),
    eventId,
    userId: owner.id,
    quantity: 1,
    status: "confirmed",
    amount: 0,
    currency: null,
    holdExpiresAt: null,
    tickets: [],
    createdAt: NOW.toISOString(),
    updatedAt: NOW.toISOString(),
    event: {
      id: eventId,
      title: "An evening",
      startDateTime: at(1).toISOString(),
      endDateTime: at(3).toISOString(),
      timeZone: "UTC",
      location: null,
      status: "published",
      host: { id: host.id, name: "Hanna" },
    },
    attendee: { id: owner.id, name: "Alice", email: "alice@example.org" },
  };
  const allowed = (check: (who: Caller) => void) =>
    WHO.flatMap(([name, who]) => (codeOf(() => check(who)) === undefined ? [name] : []));

  test("reading: its owner, the event's host, administrators; for others there is none", () => {
    expect(allowed((who) => checkMayRead(booking, who))).toEqual([
      "its owner",
      "the event's host",
      "an administrator",
    ]);
    expect(codeOf(() => checkMayRead(booking, caller("attendee")))).toBe(BookingNotFound.code);
  });

  test("cancelling: its owner and administrators; for others there is none", () => {
    expect(allowed((who) => checkMayCancel(booking, who))).toEqual([
      "its owner",
      "an administrator",
    ]);
    expect(codeOf(() => checkMayCancel(booking, host))).toBe(BookingNotFound.code);
  });

  test("the bookings of an event: its host and administrators; a draft is nobody else's business", () => {
    const published = { hostId: host.id, status: "published" };
    const draft = { hostId: host.id, status: "draft" };
    for (const event of [published, draft]) {
      expect(allowed((who) => checkHosts(event, who))).toEqual([
        "the event's host",
        "an administrator",
      ]);
    }
    expect(codeOf(() => checkHosts(published, caller("host")))).toBe(Forbidden.code);
    expect(codeOf(() => checkHosts(draft, caller("host")))).toBe(EventNotFound.code);
  });

  test("an event: everybody, but for a draft, of which nobody knows", () => {
    for (const status of EVENT_STATUSES) {
      expect([status, codeOf(() => checkShown({ status }))]).toEqual([
        status,
        status === "draft" ? EventNotFound.code : undefined,
      ]);
    }
  });

  describe("showing a ticket at the door", () => {
    const [mine, cancelled, elsewhere] = [newId(), newId(), newId()];
    const withTickets: Booking = {
      ...booking,
      tickets: [
        { id: mine, code: "mine", status: "valid" },
        { id: cancelled, code: "cancelled", status: "cancelled" },
      ],
    };

    test("its owner alone; for others, whoever they are, there is no such booking", () => {
      expect(allowed((who) => ownTicket(withTickets, mine, who))).toEqual(["its owner"]);
      for (const [, who] of WHO.slice(1)) {
        for (const id of [mine, cancelled, elsewhere]) {
          expect(codeOf(() => ownTicket(withTickets, id, who))).toBe(BookingNotFound.code);
        }
      }
      expect(ownTicket(withTickets, mine, owner).code).toBe("mine");
    });

    test("one of that booking that was not cancelled; also one that was shown already", () => {
      for (const id of [cancelled, elsewhere, ""]) {
        expect(codeOf(() => ownTicket(withTickets, id, owner))).toBe(TicketNotFound.code);
      }
      const shown = { id: mine, code: "mine", status: "checked_in" } as const;
      expect(ownTicket({ ...withTickets, tickets: [shown] }, mine, owner)).toEqual(shown);
    });

    test("a hold has none", () => {
      const hold: Booking = { ...booking, status: "pending", tickets: [] };
      expect(codeOf(() => ownTicket(hold, mine, owner))).toBe(TicketNotFound.code);
    });
  });

  test("an attendee's address is the host's to know alone", () => {
    const { attendee, ...rest } = booking;
    expect(attendee.email).toBeTruthy();
    expect(withoutAttendee(booking)).toEqual(rest);
  });
});
