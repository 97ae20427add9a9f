import fc from "fast-check";
import { newId } from "../../lib/ids";
import { notifications } from "../../services/notifications/notifications.contract";
import {
  bookingCancelled,
  bookingConfirmed,
  eventCancelled,
  eventUpdated,
  type Notice,
} from "../../services/notifications/notifications.rules";
import { faultyFields } from "../support/guarded";

const event = {
  eventId: newId(),
  title: "An evening",
  startDateTime: "2030-06-15T22:30:00.000Z",
  timeZone: "Europe/Vienna",
};
const booking = {
  bookingId: newId(),
  eventId: event.eventId,
  eventTitle: event.title,
  quantity: 1,
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

  test("of a change: when it starts, on the event's own clock", () => {
    const notice = eventUpdated({ ...event, status: "published" });
    expect(notice).toMatchObject({ type: "event.updated", title: "Changed: An evening" });
    expect(notice.body).toContain("Sunday, 16 June 2030");
    expect(notice.body).toContain("00:30");
    expect(notice.body).toContain("Europe/Vienna");
  });

  test("of a postponement or cancellation: the reason, where one was given", () => {
    const postponed = { ...event, status: "postponed" };
    expect(eventUpdated({ ...postponed, reason: "Rain" })).toMatchObject({
      type: "event.updated",
      title: "Postponed: An evening",
      body: expect.stringContaining("Reason: Rain"),
      data: { reason: "Rain", bookingId: null },
    });
    expect(eventCancelled({ ...event, reason: "Flood" })).toMatchObject({
      type: "event.cancelled",
      body: expect.stringContaining("Reason: Flood"),
    });
    for (const notice of [eventUpdated(postponed), eventCancelled({ ...event, reason: null })]) {
      expect(notice.body).not.toContain("Reason");
      expect(notice.data.reason).toBeNull();
    }
  });

  test("fits into a notification, however long titles and reasons are", async () => {
    const long = (maxLength: number) =>
      fc
        .string({ unit: "grapheme", minLength: 1, maxLength })
        .map((words) => [...words].slice(0, maxLength).join("").trim() || "x");
    await fc.assert(
      fc.asyncProperty(long(200), long(500), async (name, reason) => {
        const told: Notice[] = [
          bookingConfirmed({ ...booking, eventTitle: name, quantity: 1000 }),
          eventUpdated({ ...event, title: name, status: "published" }),
          eventUpdated({ ...event, title: name, status: "postponed", reason }),
          eventCancelled({ ...event, title: name, reason }),
        ];
        for (const notice of told) {
          const fields = { title: notice.title, body: notice.body, data: notice.data };
          expect(await faultyFields({ title, body, data }, fields)).toEqual([]);
        }
      }),
    );
  });
});
