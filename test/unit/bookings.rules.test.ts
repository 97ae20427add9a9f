import fc from "fast-check";
import type { Caller } from "../../lib/contract/define";
import { type AppError, Forbidden } from "../../lib/errors";
import { newId } from "../../lib/ids";
import {
  AlreadyBooked,
  BookingNotActive,
  BookingNotFound,
  EventEnded,
  EventNotBookable,
  EventSoldOut,
  NotEnoughTickets,
  SaleEnded,
  SaleNotStarted,
} from "../../services/bookings/bookings.contract";
import {
  type BookableEvent,
  type Booking,
  checkBookable,
  checkHosts,
  checkMayCancel,
  checkMayRead,
  checkQuantity,
  checkTransition,
  LIFECYCLE,
  withoutAttendee,
} from "../../services/bookings/bookings.rules";
import { type BookingStatus, STATUSES } from "../../services/bookings/bookings.validations";
import { EventNotFound } from "../../services/events/events.contract";
import { STATUSES as EVENT_STATUSES } from "../../services/events/events.validations";
import { faultsOf } from "../support/guarded";

const NOW = new Date("2030-06-15T12:00:00.000Z");
const at = (hours: number) => new Date(NOW.getTime() + hours * 3_600_000);

/** What is thrown, or undefined where nothing is. */
function refusal(work: () => void): AppError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as AppError;
  }
}
const codeOf = (work: () => void) => refusal(work)?.type;

interface Situation {
  event: BookableEvent;
  request: { quantity: number; bookedAlready: boolean; now: Date };
}
const bookable = (): Situation => ({
  event: {
    id: newId(),
    hostId: newId(),
    status: "published",
    endDateTime: at(3),
    saleStartsAt: at(-1),
    saleEndsAt: at(1),
    price: 0,
    capacity: 10,
    numberOfAttendees: 9,
  },
  request: { quantity: 1, bookedAlready: false, now: NOW },
});

interface Reason {
  code: string;
  event?: Partial<BookableEvent>;
  request?: Partial<Situation["request"]>;
}
/** Reasons against a booking, in the order in which they are told; each as what is different then. */
const REASONS: readonly Reason[] = [
  { code: EventNotFound.code, event: { status: "draft" } },
  { code: EventNotBookable.code, event: { price: 1 } },
  { code: EventEnded.code, event: { endDateTime: NOW } },
  { code: SaleNotStarted.code, event: { saleStartsAt: at(0.5) } },
  { code: SaleEnded.code, event: { saleEndsAt: NOW } },
  { code: AlreadyBooked.code, request: { bookedAlready: true } },
  { code: EventSoldOut.code, event: { numberOfAttendees: 10 } },
  { code: NotEnoughTickets.code, request: { quantity: 2 } },
];

/** A situation in which all these reasons stand against a booking. */
const against = (...reasons: Omit<Reason, "code">[]): Situation =>
  reasons.reduce<Situation>(
    (situation, reason) => ({
      event: { ...situation.event, ...reason.event },
      request: { ...situation.request, ...reason.request },
    }),
    bookable(),
  );

describe("Whether an event can be booked", () => {
  const decide = ({ event, request }: Situation) => refusal(() => checkBookable(event, request));

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
        },
      ),
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
      const outcome = refusal(() => checkTransition(from, to));
      if (allowed) expect(outcome).toBeUndefined();
      else expect(outcome).toMatchObject({ type: BookingNotActive.code, data: { status: from } });
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

  test("an attendee's address is the host's to know alone", () => {
    const { attendee, ...rest } = booking;
    expect(attendee.email).toBeTruthy();
    expect(withoutAttendee(booking)).toEqual(rest);
  });
});
