import fc from "fast-check";
import { newId } from "../../lib/ids";
import { notifications } from "../../services/notifications/notifications.contract";
import {
  bookingCancelled,
  bookingConfirmed,
  bookingExpired,
  eventCancelled,
  eventUpdated,
  type Notice,
  promoted,
  waitingEnded,
} from "../../services/notifications/notifications.rules";
import { faultyFields } from "../support/guarded";

const event = {
  eventId: newId(),
  title: "An evening",
  titleBefore: "An evening",
  startDateTime: "2030-06-15T22:30:00.000Z",
  endDateTime: "2030-06-16T01:00:00.000Z",
  timeZone: "Europe/Vienna",
  location: "Town hall",
  status: "published",
  changed: [],
};
const booking = {
  bookingId: newId(),
  eventId: event.eventId,
  eventTitle: event.title,
  quantity: 1,
  eventTimeZone: event.timeZone,
  holdExpiresAt: null,
};
const { title, body, data } = notifications.actions.find.result.props;

describe("What people are told", () => {
  test("of a booking: which event and how many seats", () => {
    expect(bookingConfirmed(booking)).toMatchObject({
      type: "booking.confirmed",
      body: expect.stringMatching(/1 seat .*An evening/),
      data: { eventId: event.eventId, bookingId: booking.bookingId, reason: null },
      eventId: event.eventId,
    });
    expect(bookingCancelled({ ...booking, quantity: 3 })).toMatchObject({
      type: "booking.cancelled",
      body: expect.stringMatching(/3 seats .*An evening.*cancelled/),
    });
  });

  test.each<[number, string | null, string]>([
    [1, null, "You waited for 1 seat for «An evening», and now you have it."],
    [3, null, "You waited for 3 seats for «An evening», and now you have them."],
    [
      1,
      "2030-06-15T22:30:00.000Z",
      "1 seat for «An evening» is held for you until Sunday, 16 June 2030 at 00:30 (Europe/Vienna).",
    ],
    [
      2,
      "2030-06-15T22:30:00.000Z",
      "2 seats for «An evening» are held for you until Sunday, 16 June 2030 at 00:30 (Europe/Vienna).",
    ],
  ])(
    "of a place on the waiting list that became %d seats, held until %s",
    (quantity, until, body) => {
      expect(promoted({ ...booking, quantity, holdExpiresAt: until })).toEqual({
        type: "waitlist.promoted",
        title: "Your turn: An evening",
        body,
        data: { eventId: event.eventId, bookingId: booking.bookingId, reason: null },
        eventId: event.eventId,
      });
    },
  );

  test("of a hold that has lapsed: which event, how many seats, and that they are gone", () => {
    expect(bookingExpired({ ...booking, quantity: 2 })).toEqual({
      type: "booking.expired",
      title: "Expired: An evening",
      body: "Your hold of 2 seats for «An evening» has expired; the seats are no longer held for you.",
      data: { eventId: event.eventId, bookingId: booking.bookingId, reason: null },
      eventId: event.eventId,
    });
  });

  describe("of a change", () => {
    const bodyOf = (changes: Partial<Parameters<typeof eventUpdated>[0]>) =>
      eventUpdated({ ...event, ...changes }).body;

    test.each<[string[], string]>([
      [["startDateTime"], "New start: Sunday, 16 June 2030 at 00:30 (Europe/Vienna)."],
      [["endDateTime"], "New end: Sunday, 16 June 2030 at 03:00 (Europe/Vienna)."],
      [["timeZone"], "New time zone: Europe/Vienna."],
      [["location"], "New place: «Town hall»."],
      [["location", "coordinates", "price"], "New place: «Town hall»."],
      [["description"], "See its details."],
      [["capacity", "tags"], "See its details."],
    ])("%j: %s", (changed, sentence) => {
      expect(eventUpdated({ ...event, changed })).toMatchObject({
        type: "event.updated",
        title: "Changed: An evening",
        body: `«An evening» has changed. ${sentence}`,
      });
    });

    test("everything at once, a sentence each", () => {
      const changed = ["location", "title", "endDateTime", "startDateTime", "timeZone"];
      expect(bodyOf({ changed }).match(/New [a-z ]+:/g)).toEqual([
        "New title:",
        "New start:",
        "New end:",
        "New time zone:",
        "New place:",
      ]);
    });

    test("of its title: under the one by which it is known, with the new one", () => {
      expect(eventUpdated({ ...event, title: "A night", changed: ["title"] })).toMatchObject({
        title: "Changed: An evening",
        body: "«An evening» has changed. New title: «A night».",
      });
    });

    test.each([null, ""])("of its place to none: %j", (location) => {
      expect(bodyOf({ location, changed: ["location"] })).toBe(
        "«An evening» has changed. New place: to be announced.",
      );
    });

    test("while it is postponed: that it still is", () => {
      const notice = eventUpdated({ ...event, status: "postponed", changed: ["startDateTime"] });
      expect(notice.title).toBe("Changed: An evening");
      expect(notice.body).toMatch(
        /^«An evening» has changed\. New start: .* It is still postponed\.$/,
      );
    });

    test("of its end to one that has passed: that end, and no more", () => {
      expect(bodyOf({ status: "completed", changed: ["status", "endDateTime"] })).toBe(
        "«An evening» has changed. New end: Sunday, 16 June 2030 at 03:00 (Europe/Vienna).",
      );
    });
  });

  test("of a postponement: the new times, or that there are none yet", () => {
    const postponed = { ...event, status: "postponed" };
    expect(eventUpdated({ ...postponed, changed: ["status"] })).toMatchObject({
      title: "Postponed: An evening",
      body: "«An evening» is postponed. Its new times will be announced.",
    });
    expect(eventUpdated({ ...postponed, changed: ["status", "startDateTime"] })).toMatchObject({
      title: "Postponed: An evening",
      body: "«An evening» is postponed. New start: Sunday, 16 June 2030 at 00:30 (Europe/Vienna).",
    });
  });

  test("of the end of a postponement: that it is on again, and when", () => {
    expect(eventUpdated({ ...event, changed: ["status"] })).toMatchObject({
      type: "event.updated",
      title: "On again: An evening",
      body: "«An evening» is on again. It starts on Sunday, 16 June 2030 at 00:30 (Europe/Vienna).",
    });
  });

  test("of a postponement or cancellation: the reason, where one was given", () => {
    const postponed = { ...event, status: "postponed", changed: ["status"] };
    expect(eventUpdated({ ...postponed, reason: "Rain" })).toMatchObject({
      body: expect.stringContaining("Reason: Rain"),
      data: { reason: "Rain", bookingId: null },
    });
    const ended = { eventId: event.eventId, eventTitle: event.title };
    expect(eventCancelled({ ...ended, explanation: "Flood" })).toMatchObject({
      type: "event.cancelled",
      body: expect.stringContaining("Reason: Flood"),
    });
    expect(waitingEnded({ ...ended, explanation: "Flood" })).toMatchObject({
      type: "event.cancelled",
      body: "«An evening» is cancelled, and your place on its waiting list with it. Reason: Flood",
      data: { reason: "Flood", bookingId: null },
    });
    for (const notice of [
      eventUpdated(postponed),
      eventCancelled({ ...ended, explanation: null }),
      waitingEnded({ ...ended, explanation: null }),
    ]) {
      expect(notice.body).not.toContain("Reason");
      expect(notice.data.reason).toBeNull();
    }
  });

  test("fits into a notification, however long titles and reasons are", async () => {
    // One line, as an event's title has to be; graphemes come with line separators, too.
    const long = (maxLength: number) =>
      fc
        .string({ unit: "grapheme", minLength: 1, maxLength })
        .map((words) => words.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " "))
        .map((words) => [...words].slice(0, maxLength).join("").trim() || "x");
    await fc.assert(
      fc.asyncProperty(long(200), long(500), async (name, reason) => {
        const many = { ...booking, eventTitle: name, quantity: 1000 };
        const told: Notice[] = [
          bookingConfirmed(many),
          bookingCancelled(many),
          bookingExpired(many),
          promoted(many),
          promoted({ ...many, holdExpiresAt: event.endDateTime }),
          ...["published", "postponed"].flatMap((status) =>
            [
              ["title", "location", "startDateTime"],
              ["status", "title", "location"],
            ].map((changed) =>
              eventUpdated({
                ...event,
                title: name,
                titleBefore: name,
                location: name,
                status,
                changed,
                reason,
              }),
            ),
          ),
          eventCancelled({ eventId: event.eventId, eventTitle: name, explanation: reason }),
          waitingEnded({ eventId: event.eventId, eventTitle: name, explanation: reason }),
        ];
        for (const notice of told) {
          const fields = { title: notice.title, body: notice.body, data: notice.data };
          expect(await faultyFields({ title, body, data }, fields)).toEqual([]);
        }
      }),
    );
  });
});
