import { defineContract, LONG_WORK_MS } from "../../lib/contract/define";
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
  text,
  withDefault,
} from "../../lib/contract/rules";
import { defineError, PreconditionFailed } from "../../lib/errors";
import { pageOf } from "../../lib/list";
import {
  CHANGEABLE,
  capacity,
  coordinates,
  currency,
  description,
  type EventStatus,
  eventChanges,
  listOptions,
  location,
  newEvent,
  price,
  reason,
  STATUSES,
  searchOptions,
  tags,
  timeZone,
  title,
} from "./events.validations";

export const EventNotFound = defineError(
  "EVENT_NOT_FOUND",
  404,
  "Event not found",
  () => "There is no such event.",
);
export const CapacityBelowSold = defineError<{ capacity: number; sold: number }>(
  "CAPACITY_BELOW_SOLD",
  409,
  "Capacity below seats sold",
  ({ capacity, sold }) =>
    `${sold} seats are taken already; a capacity of ${capacity} is too small.`,
);
/** `over`: the step is refused because the event's end has passed. */
export const InvalidTransition = defineError<{ from: EventStatus; to: string; over: boolean }>(
  "INVALID_TRANSITION",
  409,
  "Invalid transition",
  ({ from, to, over }) => {
    if (!over) return `An event that is ${from} cannot be ${to}.`;
    return from === "completed"
      ? `This event is over and cannot be ${to} any more.`
      : "The times of this event have passed; give it new ones first.";
  },
);

const hostShape = object({ id: id(), name: text({ maxLength: 100 }) }, "Host");

export const eventShape = object(
  {
    id: id(),
    title,
    description: nullable(description),
    location: nullable(location),
    coordinates: nullable(coordinates),
    startDateTime: instant(),
    endDateTime: instant(),
    timeZone,
    hostId: id(),
    host: hostShape,
    availableEventId: nullable(id()),
    capacity,
    numberOfAttendees: described(integer({ min: 0 }), "Confirmed and held seats."),
    availableTickets: integer({ min: 0 }),
    price,
    currency: nullable(currency),
    tags,
    status: oneOf(STATUSES),
    saleStartsAt: nullable(instant()),
    saleEndsAt: nullable(instant()),
    attachmentUrl: nullable(text({ maxLength: 2000 })),
    version: described(integer({ min: 1 }), "Counts the host's changes, not bookings."),
    createdAt: instant(),
    updatedAt: instant(),
  },
  "Event",
);

/** What every announcement of an event carries. */
const occurrence = {
  ...happening,
  eventId: id(),
  hostId: id(),
  title,
  startDateTime: instant(),
  endDateTime: instant(),
  timeZone,
  location: nullable(location),
};

const ifMatch = described(
  optional(text({ maxLength: 1000, verbatim: true })),
  "ETag of the event as it was read; only its version counts.",
);
const versionHeader = { ifMatch: "if-match" };
const pathEvent = { id: id() };
const missing = { id: EventNotFound };
/** Who is asking; drafts show to their host and to administrators. */
const viewer = { viewerId: optional(id()), viewerIsAdmin: withDefault(boolean(), false) };

/** What of an event changes while somebody watches it. */
const liveState = object({
  id: id(),
  hostId: id(),
  status: oneOf(STATUSES),
  version: integer({ min: 1 }),
  capacity,
  numberOfAttendees: integer({ min: 0 }),
});
/** Events, and hosts, that can be asked for at once. */
export const MOST_LIVE_AT_ONCE = 1_000;

const interest = {
  params: pathEvent,
  result: null,
  access: "signedIn",
  errors: [EventNotFound],
} as const;

export const events = defineContract({
  name: "events",
  description: "Events: what hosts publish and people find.",
  actions: {
    $create: {
      summary: "Create an event for a host",
      params: {
        hostId: id(),
        status: withDefault(oneOf(["draft", "published"]), "published"),
        ...newEvent,
      },
      result: eventShape,
    },
    $update: {
      summary: "Change an event",
      params: { ...pathEvent, ifMatch, ...eventChanges },
      result: eventShape,
      errors: [EventNotFound, PreconditionFailed, InvalidTransition, CapacityBelowSold],
    },
    $delete: {
      summary: "Cancel an event's bookings and remove it",
      timeoutMs: LONG_WORK_MS,
      params: { ...pathEvent, ifMatch },
      result: null,
      errors: [EventNotFound, PreconditionFailed],
    },
    $deleteOfHost: {
      summary: "Cancel and remove all events of a host",
      timeoutMs: LONG_WORK_MS,
      params: { hostId: id() },
      result: null,
    },
    $find: {
      summary: "Find an event, drafts included",
      params: pathEvent,
      result: eventShape,
      errors: [EventNotFound],
    },
    $list: {
      summary: "List events that a viewer may see",
      params: { ...listOptions, ...viewer },
      result: pageOf(eventShape),
    },
    $liveStates: {
      summary: "How some events stand, and those of some hosts that are known and not over",
      description:
        "An event that is not there any more is missing; a host's drafts are not among theirs.",
      params: {
        ids: list(id(), { max: MOST_LIVE_AT_ONCE }),
        hostIds: list(id(), { max: MOST_LIVE_AT_ONCE }),
      },
      result: object({ states: list(liveState) }),
    },
    create: {
      summary: "Create an event",
      params: { ...newEvent, status: withDefault(oneOf(["draft", "published"]), "published") },
      result: eventShape,
      access: { roles: ["host"] },
      rest: {
        method: "POST",
        path: "/events",
        status: 201,
        location: "/events/:id",
        idempotent: true,
      },
    },
    list: {
      summary: "List events, by default those not yet over",
      params: listOptions,
      result: pageOf(eventShape),
      access: "public",
      rest: { method: "GET", path: "/events" },
    },
    search: {
      summary: "Search events, best match first",
      params: searchOptions,
      result: pageOf(eventShape),
      access: "public",
      rest: { method: "GET", path: "/events/search" },
    },
    find: {
      summary: "One event",
      params: pathEvent,
      result: eventShape,
      access: "public",
      rest: { method: "GET", path: "/events/:id", missing },
      errors: [EventNotFound],
    },
    update: {
      summary: "Change an event; its attendees are told",
      params: { ...pathEvent, ifMatch, ...eventChanges },
      needsChange: true,
      result: eventShape,
      access: { roles: ["host", "admin"] },
      rest: {
        method: "PATCH",
        alsoMethod: "PUT",
        path: "/events/:id",
        missing,
        headers: versionHeader,
      },
      errors: [EventNotFound, PreconditionFailed, InvalidTransition, CapacityBelowSold],
    },
    delete: {
      summary:
        "Remove an event; its bookings are cancelled, its waiting list ends, and everybody on either is told",
      timeoutMs: LONG_WORK_MS,
      params: { ...pathEvent, ifMatch },
      result: null,
      access: { roles: ["host", "admin"] },
      rest: { method: "DELETE", path: "/events/:id", missing, headers: versionHeader },
      errors: [EventNotFound, PreconditionFailed],
    },
    publish: {
      summary: "Publish a draft or end a postponement",
      params: pathEvent,
      result: eventShape,
      access: { roles: ["host", "admin"] },
      rest: { method: "POST", path: "/events/:id/publish", missing },
      errors: [EventNotFound, InvalidTransition],
    },
    postpone: {
      summary: "Postpone an event, to new times or until further notice",
      params: {
        ...pathEvent,
        startDateTime: optional(instant()),
        endDateTime: optional(instant()),
        reason: optional(nullable(reason)),
      },
      result: eventShape,
      access: { roles: ["host", "admin"] },
      rest: { method: "POST", path: "/events/:id/postpone", missing },
      errors: [EventNotFound, InvalidTransition],
    },
    cancel: {
      summary:
        "Cancel an event and its bookings; its waiting list ends, and everybody on either is told",
      timeoutMs: LONG_WORK_MS,
      params: { ...pathEvent, reason: optional(nullable(reason)) },
      result: eventShape,
      access: { roles: ["host", "admin"] },
      rest: { method: "POST", path: "/events/:id/cancel", missing },
      errors: [EventNotFound, InvalidTransition],
    },
    $forgetInterest: {
      summary: "Forget everything that a user was interested in",
      params: { userId: id() },
      result: null,
    },
    expressInterest: {
      summary: "Be told when the event's sale starts",
      ...interest,
      rest: { method: "POST", path: "/events/:id/interest", missing },
    },
    withdrawInterest: {
      summary: "Not be told of its sale after all, also when not interested",
      ...interest,
      rest: { method: "DELETE", path: "/events/:id/interest", missing },
    },
    calendar: {
      summary: "The event as an iCalendar file",
      params: pathEvent,
      result: text({ maxLength: 1_000_000 }),
      access: "public",
      rest: {
        method: "GET",
        path: "/events/:id/calendar.ics",
        missing,
        contentType: "text/calendar; charset=utf-8",
      },
      errors: [EventNotFound],
    },
  },
  events: {
    "events.created": { summary: "An event was published", payload: object(occurrence) },
    "events.updated": {
      summary: "An event was changed, postponed or published again",
      payload: object({
        ...occurrence,
        status: oneOf(STATUSES),
        /** Under which its attendees know it so far. */
        titleBefore: title,
        changed: list(oneOf(CHANGEABLE)),
        reason: nullable(reason),
      }),
    },
    "events.cancelled": {
      summary: "An event was cancelled; its bookings and its waiting list end with that",
      payload: object({ ...occurrence, reason: nullable(reason) }),
    },
    "events.saleStarted": { summary: "An event's sale has started", payload: object(occurrence) },
    "events.reminderDue": { summary: "An event is near", payload: object(occurrence) },
    "events.deleted": {
      summary: "An event was removed and its bookings cancelled",
      payload: object(occurrence),
    },
  },
});
