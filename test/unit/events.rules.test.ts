import type { Caller } from "../../lib/contract/define";
import { Forbidden, isError, PreconditionFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import {
  CapacityBelowSold,
  EventNotFound,
  InvalidTransition,
} from "../../services/events/events.contract";
import {
  cancellation,
  changedFields,
  changesNothing,
  checkCapacity,
  checkChangeable,
  checkChanges,
  checkManages,
  checkSchedule,
  checkTransition,
  checkVersion,
  type Event,
  type EventChanges,
  type EventWithin,
  isVisibleTo,
  LIFECYCLE,
  statusAt,
  type Transition,
  withTagsOnce,
} from "../../services/events/events.rules";
import { type EventStatus, STATUSES } from "../../services/events/events.validations";
import { faultsOf } from "../support/guarded";

const NOW = new Date("2030-06-15T12:00:00.000Z");
const HOUR_MS = 3_600_000;
const at = (hours: number) => new Date(NOW.getTime() + hours * HOUR_MS).toISOString();

const event = (fields: Partial<Event> = {}): Event => {
  const hostId = fields.hostId ?? newId();
  return {
    id: newId(),
    title: "An evening",
    description: null,
    location: null,
    coordinates: null,
    startDateTime: at(1),
    endDateTime: at(3),
    timeZone: "UTC",
    hostId,
    host: { id: hostId, name: "Hanna" },
    availableEventId: null,
    capacity: 10,
    numberOfAttendees: 0,
    availableTickets: 10,
    price: 0,
    currency: null,
    tags: [],
    status: "published",
    saleStartsAt: null,
    saleEndsAt: null,
    attachmentUrl: null,
    version: 1,
    createdAt: at(-24),
    updatedAt: at(-24),
    ...fields,
  };
};

/** The code of what is thrown, or undefined where nothing is. */
function refusal(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as { type?: unknown }).type;
  }
}
/** The fields at fault. */
function faults(work: () => void): string[] {
  try {
    work();
    return [];
  } catch (error) {
    return faultsOf(error).map(({ field }) => field);
  }
}

describe("The lifecycle", () => {
  const TARGETS: readonly Transition[] = ["published", "postponed", "cancelled"];
  const ahead = { startDateTime: at(1), endDateTime: at(3) };
  const over = { startDateTime: at(-3), endDateTime: at(-1) };
  const goes = (stored: EventStatus, to: Transition, fields: Partial<EventWithin>) => {
    const { cancellingSince = null, ...times } = fields;
    const { endDateTime } = event(times);
    const status = statusAt(stored, new Date(endDateTime), NOW);
    const within = { ...event({ ...times, status }), cancellingSince };
    return refusal(() => checkTransition(within, to, NOW)) === undefined;
  };

  /** Every pair there is: may an event of this stored status go there while it lies ahead, and once it is over? */
  const TABLE: readonly [EventStatus, Transition, { ahead: boolean; over: boolean }][] = [
    ["draft", "published", { ahead: true, over: false }],
    ["draft", "postponed", { ahead: false, over: false }],
    ["draft", "cancelled", { ahead: false, over: false }],
    ["published", "published", { ahead: false, over: false }],
    ["published", "postponed", { ahead: true, over: false }],
    ["published", "cancelled", { ahead: true, over: false }],
    ["postponed", "published", { ahead: true, over: false }],
    ["postponed", "postponed", { ahead: false, over: false }],
    ["postponed", "cancelled", { ahead: true, over: true }],
    ["cancelled", "published", { ahead: false, over: false }],
    ["cancelled", "postponed", { ahead: false, over: false }],
    ["cancelled", "cancelled", { ahead: false, over: false }],
    ["completed", "published", { ahead: false, over: false }],
    ["completed", "postponed", { ahead: false, over: false }],
    ["completed", "cancelled", { ahead: false, over: false }],
  ];

  test("is asked about every pair of statuses", () => {
    const pairs = STATUSES.flatMap((from) => TARGETS.map((to) => `${from} ${to}`));
    expect(TABLE.map(([from, to]) => `${from} ${to}`).sort()).toEqual(pairs.sort());
  });

  test.each(TABLE)("%s → %s: %o", (from, to, expected) => {
    expect({ ahead: goes(from, to, ahead), over: goes(from, to, over) }).toEqual(expected);
  });

  test("what is not a step of it is an InvalidTransition that names both ends", () => {
    for (const from of STATUSES) {
      for (const to of TARGETS) {
        const steps = LIFECYCLE.filter((step) => step.from === from && step.to === to);
        expect(steps.length).toBeLessThanOrEqual(1);
        if (steps.length === 1) continue;
        try {
          checkTransition(event({ status: from }), to, NOW);
          throw new Error(`${from} went to ${to}`);
        } catch (error) {
          expect(isError(error, InvalidTransition)).toBe(true);
          expect(error).toMatchObject({ data: { from, to } });
        }
      }
    }
  });

  test("an end is an end: nothing leads out of cancelled or completed, and nothing into draft or completed", () => {
    for (const { from, to } of LIFECYCLE) {
      expect(from).not.toBe("completed");
      expect(["published", "postponed", "cancelled"]).toContain(to);
      if (from === "cancelled") expect(to).toBe("cancelled");
    }
  });

  test("a cancellation that broke off half-way can be taken up until it has come to its end", () => {
    expect(goes("cancelled", "cancelled", { cancellingSince: NOW })).toBe(true);
    expect(goes("cancelled", "cancelled", { numberOfAttendees: 0 })).toBe(false);
    expect(goes("cancelled", "published", { cancellingSince: NOW })).toBe(false);
  });

  test("a cancellation is begun once; a reason that was not given yet may follow until its end", () => {
    const cancelled = event({ status: "cancelled" });
    const unfinished = { ...cancelled, cancellingSince: NOW, cancelledBecause: null };
    expect(cancellation(event({ status: "published" }), NOW, "Rain")).toEqual({
      status: "cancelled",
      cancelledBecause: "Rain",
      cancellingSince: NOW,
    });
    expect(cancellation(unfinished, NOW, "Rain")).toEqual({ cancelledBecause: "Rain" });
    expect(cancellation(unfinished, NOW, null)).toBeNull();
    expect(cancellation({ ...unfinished, cancelledBecause: "Snow" }, NOW, "Rain")).toBeNull();
    expect(cancellation({ ...unfinished, cancellingSince: null }, NOW, "Rain")).toBeNull();
  });

  /** The words of a refused step. */
  const words = (from: EventStatus, to: Transition, times: Partial<Event>) => {
    try {
      checkTransition(event({ status: from, ...times }), to, NOW);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const PASSED = "The times of this event have passed; give it new ones first.";
  test.each<[EventStatus, Transition, Partial<Event>, string]>([
    ["draft", "published", over, PASSED],
    ["postponed", "published", over, PASSED],
    ["completed", "published", over, "This event is over and cannot be published any more."],
    ["completed", "cancelled", over, "This event is over and cannot be cancelled any more."],
    // Its times are not what is in the way.
    ["draft", "postponed", over, "An event that is draft cannot be postponed."],
    ["cancelled", "published", over, "An event that is cancelled cannot be published."],
    ["cancelled", "cancelled", over, "An event that is cancelled cannot be cancelled."],
    ["published", "published", ahead, "An event that is published cannot be published."],
  ])("%s → %s is refused with the reason", (from, to, times, sentence) => {
    expect(words(from, to, times)).toBe(sentence);
  });

  test("the end itself is over", () => {
    expect(goes("draft", "published", { endDateTime: NOW.toISOString() })).toBe(false);
    expect(goes("draft", "published", { endDateTime: at(0.001) })).toBe(true);
  });
});

describe("The status at a moment", () => {
  const end = new Date(at(0));
  const [before, same, after] = [new Date(at(-1)), end, new Date(at(1))];

  test("is completed for a published event from its end on", () => {
    expect(statusAt("published", end, before)).toBe("published");
    expect(statusAt("published", end, same)).toBe("completed");
    expect(statusAt("published", end, after)).toBe("completed");
  });

  test.each(STATUSES.filter((status) => status !== "published"))("stays %s", (status) => {
    for (const now of [before, same, after]) expect(statusAt(status, end, now)).toBe(status);
  });
});

describe("The schedule", () => {
  test.each<[string, Partial<Event>, string[]]>([
    ["in order", {}, []],
    ["that starts this moment", { startDateTime: at(0) }, []],
    ["that starts in the past", { startDateTime: at(-1) }, ["startDateTime"]],
    ["that ends before it starts", { endDateTime: at(0.5) }, ["endDateTime"]],
    ["that ends as it starts", { endDateTime: at(1) }, ["endDateTime"]],
    ["with a sale until the end", { saleStartsAt: at(-5), saleEndsAt: at(3) }, []],
    ["with a sale that never starts before the end", { saleStartsAt: at(3) }, ["saleStartsAt"]],
    [
      "with a sale that ends as it starts",
      { saleStartsAt: at(1), saleEndsAt: at(1) },
      ["saleEndsAt"],
    ],
    ["with a sale that only has an end", { saleEndsAt: at(-5) }, []],
    ["with a price and a currency", { price: 1, currency: "EUR" }, []],
    ["with a price alone", { price: 1 }, ["currency"]],
    ["with a currency alone", { currency: "EUR" }, []],
    [
      "wrong in every part",
      {
        startDateTime: at(-1),
        endDateTime: at(-2),
        saleStartsAt: at(0),
        saleEndsAt: at(-1),
        price: 5,
      },
      ["startDateTime", "endDateTime", "saleStartsAt", "saleEndsAt", "currency"],
    ],
  ])("%s", (_what, fields, expected) => {
    expect(faults(() => checkSchedule(event(fields), NOW))).toEqual(expected);
  });

  describe("changed", () => {
    const running = event({ startDateTime: at(-1), endDateTime: at(1) });
    const change = (changes: Partial<Event>) =>
      faults(() => checkSchedule({ ...running, ...changes }, NOW, running));

    test("may keep a start that has come", () => {
      expect(change({ endDateTime: at(5) })).toEqual([]);
      expect(change({ startDateTime: at(-1), endDateTime: at(5) })).toEqual([]);
    });
    test("may have ended already, since it has begun", () => {
      expect(change({ endDateTime: at(-0.5) })).toEqual([]);
    });
    test("may not move its start within the past, but out of it", () => {
      expect(change({ startDateTime: at(-0.5) })).toEqual(["startDateTime"]);
      expect(change({ startDateTime: at(0.5) })).toEqual([]);
    });
    test("is checked with what the change leaves alone", () => {
      expect(change({ startDateTime: at(2) })).toEqual(["endDateTime"]);
      expect(change({ endDateTime: at(-2) })).toEqual(["endDateTime"]);
      expect(change({ price: 100 })).toEqual(["currency"]);
      expect(change({ saleStartsAt: at(2) })).toEqual(["saleStartsAt"]);
    });
  });

  test("of a change alone is refused only where it contradicts itself", () => {
    const both = (start: number, end: number) =>
      faults(() => checkChanges({ startDateTime: at(start), endDateTime: at(end) }));
    expect(both(1, 2)).toEqual([]);
    expect(both(2, 1)).toEqual(["endDateTime"]);
    expect(both(1, 1)).toEqual(["endDateTime"]);
    expect(faults(() => checkChanges({ startDateTime: at(9) }))).toEqual([]);
    expect(faults(() => checkChanges({ endDateTime: at(-9) }))).toEqual([]);
    expect(faults(() => checkChanges({}))).toEqual([]);
  });
});

describe("If-Match", () => {
  const passes = (ifMatch: string | undefined, version = 3) =>
    refusal(() => checkVersion(ifMatch, version)) === undefined;

  test.each([
    '"3"',
    undefined,
    "*",
    " * ",
    '"3-abc"',
    'W/"3-abc"',
    '  W/"3-abc"  ',
    '"1-a", W/"3-b"',
    '"2-a","3-b","4-c"',
    'nonsense, "3-a"',
    '"3-"',
  ])("%j is of version 3", (ifMatch) => {
    expect(passes(ifMatch)).toBe(true);
  });

  test.each([
    "",
    " ",
    ",",
    '"2-abc"',
    '"33-abc"',
    '"-3-abc"',
    '"3.0-abc"',
    '"03-a"',
    "3",
    "3-abc",
    '"3-abc',
    '3-abc"',
    "'3-abc'",
    'w/"3-abc"',
    'X"3-abc"',
    '"3-a"b"',
    '"a-3"',
    '"0x3-a"',
    '"3e0-a"',
    '"３-a"',
    '"NaN-a"',
    '"null-a"',
    '"*"',
    '"3 -a"',
    "'; DROP TABLE events; --",
    '"-".*',
    "\u0000",
  ])("%j is not", (ifMatch) => {
    expect(passes(ifMatch)).toBe(false);
  });

  test("that is very long is read to its end", () => {
    expect(passes(`${'"1-a",'.repeat(5000)}"2-b"`)).toBe(false);
    expect(passes(`${'"1-a",'.repeat(5000)}"3-b"`)).toBe(true);
    expect(passes(`"${"3".repeat(400)}-a"`)).toBe(false);
  });

  test("that is stale is told the version of now", () => {
    expect(() => checkVersion('"2-abc"', 3)).toThrow(
      expect.objectContaining({ type: PreconditionFailed.code, data: { version: 3 } }),
    );
  });
});

test("What is cancelled or completed does not change any more", () => {
  const changeable = STATUSES.filter(
    (status) => refusal(() => checkChangeable(event({ status }))) === undefined,
  );
  expect(changeable).toEqual(["draft", "published", "postponed"]);
  expect(refusal(() => checkChangeable(event({ status: "cancelled" })))).toBe(
    InvalidTransition.code,
  );
  expect(() => checkChangeable(event({ status: "completed" }))).toThrow(
    "This event is over and cannot be changed any more.",
  );
  expect(() => checkChangeable(event({ status: "cancelled" }))).toThrow(
    "An event that is cancelled cannot be changed.",
  );
});

describe("What has changed", () => {
  const before = event({ tags: ["a"], coordinates: { lat: 1, lng: 2 } });

  test("is named, and nothing else", () => {
    const after = {
      ...before,
      title: "Other",
      coordinates: { lat: 1, lng: 3 },
      status: "postponed",
      version: 2,
      updatedAt: at(0),
      numberOfAttendees: 5,
    } as const;
    expect(changedFields(before, after).sort()).toEqual(["coordinates", "status", "title"]);
    expect(changedFields(before, { ...before })).toEqual([]);
  });

  test("is nothing where every field says what was there", () => {
    expect(changesNothing(before, { tags: ["a"], coordinates: { lat: 1, lng: 2 } })).toBe(true);
    expect(changesNothing(before, {})).toBe(true);
    expect(changesNothing(before, { tags: ["A"] })).toBe(false);
    expect(changesNothing(before, { coordinates: null })).toBe(false);
  });
});

test.each<[string[], string[]]>([
  [[], []],
  [["Jazz"], ["Jazz"]],
  [
    ["Jazz", "rock", "JAZZ", "jazz", "Rock"],
    ["Jazz", "rock"],
  ],
  [
    ["Ö", "ö", "ü"],
    ["Ö", "ü"],
  ],
  [
    ["open air", "open-air"],
    ["open air", "open-air"],
  ],
])("Tags %j are kept once each, in the first spelling: %j", (given, kept) => {
  expect(withTagsOnce({ title: "x", tags: given })).toEqual({ title: "x", tags: kept });
});

test("A change that says nothing of tags still says nothing of them", () => {
  const change: EventChanges = { title: "x" };
  expect(Object.keys(withTagsOnce(change))).toEqual(["title"]);
});

test("The capacity is never below the seats taken", () => {
  expect(refusal(() => checkCapacity(5, 5))).toBeUndefined();
  expect(refusal(() => checkCapacity(6, 5))).toBeUndefined();
  expect(refusal(() => checkCapacity(4, 5))).toBe(CapacityBelowSold.code);
});

describe("Who sees and manages an event", () => {
  const hostId = newId();
  const caller = (role: Caller["role"], id = newId()): Caller => ({
    id,
    role,
    sessionId: newId(),
  });
  const WHO: readonly [string, Caller | null][] = [
    ["its host", caller("host", hostId)],
    ["an administrator", caller("admin")],
    ["another host", caller("host")],
    ["an attendee", caller("attendee")],
    ["nobody", null],
  ];

  test.each(STATUSES)("when it is %s", (status) => {
    const seenBy = WHO.filter(([, who]) => isVisibleTo(event({ status, hostId }), who));
    expect(seenBy.map(([name]) => name)).toEqual(
      status === "draft" ? ["its host", "an administrator"] : WHO.map(([name]) => name),
    );
  });

  test("a stranger is told that it is forbidden, or of a draft that there is none", () => {
    const managing = (status: EventStatus) =>
      WHO.flatMap(([name, who]) =>
        who ? [[name, refusal(() => checkManages(event({ status, hostId }), who))]] : [],
      );
    const strangers = (code: string) => [
      ["its host", undefined],
      ["an administrator", undefined],
      ["another host", code],
      ["an attendee", code],
    ];
    expect(managing("draft")).toEqual(strangers(EventNotFound.code));
    for (const status of STATUSES.filter((other) => other !== "draft")) {
      expect(managing(status)).toEqual(strangers(Forbidden.code));
    }
  });
});
