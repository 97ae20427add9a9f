import { defineContract } from "../../lib/contract/define";
import { happening } from "../../lib/contract/outbox-event";
import {
  boolean,
  described,
  id,
  instant,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  queryBoolean,
  text,
  withDefault,
} from "../../lib/contract/rules";
import { defineError } from "../../lib/errors";
import { listParams, pageOf } from "../../lib/list";
import { pushActions } from "./notifications.push-actions";
import { AUDIENCES, TYPES } from "./notifications.rules";
import { preferenceChanges, preferencesShape } from "./notifications.validations";
import { DELIVERY_STATUSES, OUTWARD } from "./preferences.rules";

export const NotificationNotFound = defineError(
  "NOTIFICATION_NOT_FOUND",
  404,
  "Notification not found",
  () => "There is no such notification.",
);

export const UnsubscribeLinkInvalid = defineError(
  "UNSUBSCRIBE_LINK_INVALID",
  404,
  "Unsubscribe link invalid",
  () => "This link is none of ours, or not the whole of it.",
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

const notification = { id: id(), ...notice, isRead: boolean(), createdAt: instant() };
const notificationShape = object(notification, "Notification");

/** What gateways are nudged with when somebody was told something: whom, for those who are connected there. */
export const NEWS = "notifications.news";

/** People who can be asked for at once, and notifications that are given at once. */
export const MOST_USERS_AT_ONCE = 1_000;
export const MOST_NEW_AT_ONCE = 200;

/** What is told, in the events by which telling goes on. */
const stillToBeTold = {
  ...happening,
  /** Of what they are told: who hears of it twice is told once. */
  occurrenceId: id(),
  notice: object(notice),
};

/** A message on its way out of the system. */
const deliveryShape = object({
  id: id(),
  notificationId: id(),
  userId: id(),
  channel: oneOf(OUTWARD),
  type: oneOf(TYPES),
  status: oneOf(DELIVERY_STATUSES),
  attempts: integer({ min: 0 }),
  error: nullable(text({ maxLength: 1000, multiline: true })),
  nextTryAt: nullable(instant()),
  createdAt: instant(),
  settledAt: nullable(instant()),
});

/** A page that a link in a mail leads to; the token says whose mails are meant. */
const ofLink = {
  params: { token: text({ minLength: 1, maxLength: 200 }) },
  result: text({ maxLength: 100_000, multiline: true }),
  access: "public",
  errors: [UnsubscribeLinkInvalid],
} as const;
const linkPage = {
  path: "/notifications/unsubscribe",
  contentType: "text/html; charset=utf-8",
  secret: true,
} as const;

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
    $listDeliveries: {
      summary: "Messages on their way out of the system, the newest first",
      params: {
        status: optional(oneOf(DELIVERY_STATUSES)),
        userId: optional(id()),
        channel: optional(oneOf(OUTWARD)),
        limit: optional(integer({ min: 1, max: 1000 })),
      },
      result: list(deliveryShape),
    },
    $retryDelivery: {
      summary: "Send a message again that has come to nothing: one, or all that have failed",
      params: { id: optional(id()) },
      result: object({ retried: integer({ min: 0 }) }),
    },
    $listNew: {
      summary: `What some people were told since a moment, oldest first, ${MOST_NEW_AT_ONCE} at the most`,
      params: {
        userIds: list(id(), { max: MOST_USERS_AT_ONCE }),
        since: instant(),
        after: described(
          withDefault(id(), "00000000-0000-0000-0000-000000000000"),
          "The last one of the page before, if that was of the same moment.",
        ),
      },
      result: object({ data: list(object({ userId: id(), ...notification })) }),
    },
    $listAfter: {
      summary: `What a user was told after one of their notifications, oldest first, ${MOST_NEW_AT_ONCE} at the most`,
      params: { userId: id(), id: id() },
      result: object({ data: list(notificationShape) }),
      errors: [NotificationNotFound],
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
    findPreferences: {
      summary: "Which notices one gets on which channels",
      params: {},
      result: preferencesShape,
      access: "signedIn",
      rest: { method: "GET", path: "/notifications/preferences" },
    },
    changePreferences: {
      summary: "Choose which notices one gets on which channels; what is not named stays",
      params: preferenceChanges,
      needsChange: true,
      result: preferencesShape,
      access: "signedIn",
      rest: { method: "PUT", path: "/notifications/preferences" },
    },
    askToUnsubscribe: {
      summary: "The page that a mail's link leads to: it asks, and changes nothing",
      description: "A link that is forged or cut off is a 404.",
      ...ofLink,
      rest: { method: "GET", ...linkPage },
    },
    unsubscribe: {
      summary: "End mails: what that page's button does, and a mail reader's one click (RFC 8058)",
      description:
        "Of the type that the link names, or all. Also when they have ended already. A link that is forged or cut off is a 404.",
      ...ofLink,
      rest: { method: "POST", ...linkPage, query: ["token"], ignoresBody: true },
    },
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
