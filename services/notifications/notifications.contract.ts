import { defineContract } from "../../lib/contract/define";
import { happening } from "../../lib/contract/outbox-event";
import {
  boolean,
  described,
  id,
  instant,
  integer,
  nullable,
  object,
  oneOf,
  optional,
  queryBoolean,
  text,
} from "../../lib/contract/rules";
import { defineError } from "../../lib/errors";
import { listParams, pageOf } from "../../lib/list";
import { pushActions } from "./notifications.push-actions";
import { AUDIENCES, TYPES } from "./notifications.rules";

export const NotificationNotFound = defineError(
  "NOTIFICATION_NOT_FOUND",
  404,
  "Notification not found",
  () => "There is no such notification.",
);

const notice = {
  type: oneOf(TYPES),
  title: text({ maxLength: 500 }),
  body: text({ maxLength: 5000, multiline: true }),
  data: described(
    object({
      eventId: nullable(id()),
      bookingId: nullable(id()),
      reason: nullable(text({ maxLength: 500, multiline: true })),
    }),
    "What it is about, for a program.",
  ),
  eventId: nullable(id()),
};

const notificationShape = object(
  { id: id(), ...notice, isRead: boolean(), createdAt: instant() },
  "Notification",
);

/** What is told, in the events by which telling goes on. */
const stillToBeTold = {
  ...happening,
  /** Of what they are told: who hears of it twice is told once. */
  occurrenceId: id(),
  notice: object(notice),
};

const missing = { id: NotificationNotFound };

export const notifications = defineContract({
  name: "notifications",
  description: "What people are told about.",
  actions: {
    $deleteOfUser: {
      summary: "Forget everything that a user was told",
      params: { userId: id() },
      result: null,
    },
    list: {
      summary: "Own notifications, newest first",
      params: {
        ...listParams(["createdAt", "date"]),
        unread: described(
          optional(queryBoolean()),
          "true: unread ones only; false: read ones only.",
        ),
        type: optional(oneOf(TYPES)),
      },
      result: pageOf(notificationShape),
      access: "signedIn",
      rest: { method: "GET", path: "/notifications" },
    },
    count: {
      summary: "How many are unread",
      params: {},
      result: object({ count: integer({ min: 0 }) }),
      access: "signedIn",
      rest: { method: "GET", path: "/notifications/count" },
    },
    find: {
      summary: "One notification",
      params: { id: id() },
      result: notificationShape,
      access: "signedIn",
      rest: { method: "GET", path: "/notifications/:id", missing },
      errors: [NotificationNotFound],
    },
    markRead: {
      summary: "Mark one as read",
      params: { id: id() },
      result: notificationShape,
      access: "signedIn",
      rest: { method: "POST", path: "/notifications/mark-read/:id", missing },
      errors: [NotificationNotFound],
    },
    markAllRead: {
      summary: "Mark all as read",
      params: {},
      result: object({ updated: integer({ min: 0 }) }),
      access: "signedIn",
      rest: { method: "POST", path: "/notifications/mark-all-read" },
    },
    ...pushActions,
  },
  consumes: [
    "bookings.confirmed",
    "bookings.held",
    "bookings.expired",
    "bookings.cancelled",
    "bookings.waitingEnded",
    "events.created",
    "events.updated",
    "events.saleStarted",
    "events.reminderDue",
    "notifications.heldBack",
    "notifications.audienceLeft",
  ],
  events: {
    "notifications.heldBack": {
      summary:
        "Somebody is still to be told, whose row somebody else held, as who erases them does",
      payload: object({ ...stillToBeTold, userId: id() }),
    },
    "notifications.audienceLeft": {
      summary:
        "Some of an audience have been told; those behind them, by their ids, are still to be",
      payload: object({
        ...stillToBeTold,
        audience: oneOf(AUDIENCES),
        /** The host or the event whose audience it is. */
        ofId: id(),
        /** The last one of those who have been told. */
        after: id(),
      }),
    },
  },
});
