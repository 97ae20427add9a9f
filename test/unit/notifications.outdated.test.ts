import { type Subject, whyOutdated } from "../../services/notifications/outdated.rules";

const now = new Date("2030-06-15T20:00:00Z");
const inMinutes = (minutes: number) => new Date(now.getTime() + minutes * 60_000);
const event = { status: "published", startsAt: inMinutes(1), endsAt: inMinutes(60) };
const begun = { ...event, startsAt: now };
const over = { ...begun, endsAt: now };
const reminder: Subject = { type: "event.reminder", createdAt: now, event, hasSeats: true };
const sale: Subject = { ...reminder, type: "sale.started", hasSeats: false };

test.each<[string, Subject]>([
  ["a reminder before the event begins", reminder],
  ["a sale while the event goes on", { ...sale, event: begun }],
  ["a sale of an event that is postponed", { ...sale, event: { ...event, status: "postponed" } }],
  ["what happened seven days ago", { ...reminder, createdAt: inMinutes(-7 * 24 * 60) }],
  ["what ends with its event", { ...reminder, type: "event.cancelled", event: null }],
])("There is a message of %s", (_, subject) => {
  expect(whyOutdated(subject, now)).toBeUndefined();
});

test.each<[string, Subject, string]>([
  ["begun", { ...reminder, event: begun }, "The event has begun."],
  [
    "cancelled",
    { ...reminder, event: { ...event, status: "cancelled" } },
    "The event does not take place then.",
  ],
  [
    "postponed",
    { ...reminder, event: { ...event, status: "postponed" } },
    "The event does not take place then.",
  ],
  ["gone", { ...reminder, event: null }, "The event does not take place then."],
  ["without the recipient", { ...reminder, hasSeats: false }, "The booking is over."],
])("There is no reminder of an event that is %s", (_, subject, why) => {
  expect(whyOutdated(subject, now)).toBe(why);
});

test.each<[string, Subject, string]>([
  ["over", { ...sale, event: over }, "The event is over."],
  [
    "cancelled",
    { ...sale, event: { ...event, status: "cancelled" } },
    "The event does not take place.",
  ],
  ["gone", { ...sale, event: null }, "The event does not take place."],
])("There is nothing of the sale of an event that is %s", (_, subject, why) => {
  expect(whyOutdated(subject, now)).toBe(why);
});

test("There is nothing of what happened longer ago", () => {
  const old: Subject = {
    ...{ type: "booking.cancelled", event: null, hasSeats: false },
    createdAt: inMinutes(-7 * 24 * 60 - 1),
  };
  expect(whyOutdated(old, now)).toBe("It is older than 7 days.");
});
