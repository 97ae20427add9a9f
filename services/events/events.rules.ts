import { isDeepStrictEqual } from "node:util";
import type { Caller } from "../../lib/contract/define";
import type { ObjectOf, ValueOf } from "../../lib/contract/rules";
import { type FieldError, Forbidden, PreconditionFailed, ValidationFailed } from "../../lib/errors";
import { checkedLifecycle, type Step } from "../../lib/lifecycle";
import {
  CapacityBelowSold,
  EventNotFound,
  type eventShape,
  InvalidTransition,
} from "./events.contract";
import { CHANGEABLE, type EventStatus, type eventChanges, STATUSES } from "./events.validations";

export type Event = ValueOf<typeof eventShape>;
export type EventChanges = ObjectOf<typeof eventChanges>;

/** What times, sale and price of an event say together; a change is checked with what it leaves alone. */
type Schedule = Pick<
  Event,
  "startDateTime" | "endDateTime" | "saleStartsAt" | "saleEndsAt" | "price" | "currency"
>;

type Guard = (event: EventWithin, now: Date) => boolean;
const notOver: Guard = (event, now) => new Date(event.endDateTime) > now;
/** Who does not wait until a cancellation that broke off is taken up again by itself can do so. */
const unfinished: Guard = (event) => isUnfinished(event);
const always: Guard = () => true;

export type Transition = "published" | "postponed" | "cancelled";

interface GuardedStep extends Step<EventStatus, Transition> {
  readonly guard: Guard;
}

/**
 * The lifecycle of an event. `completed` comes by itself: see {@link statusAt}. A draft that its host gives
 * up is deleted: cancelling would show it to everybody.
 */
export const LIFECYCLE = checkedLifecycle<GuardedStep>("event", STATUSES, [
  { from: "draft", to: "published", guard: notOver },
  { from: "published", to: "postponed", guard: always },
  { from: "published", to: "cancelled", guard: always },
  { from: "postponed", to: "published", guard: notOver },
  { from: "postponed", to: "cancelled", guard: always },
  { from: "cancelled", to: "cancelled", guard: unfinished },
]);

/** @throws InvalidTransition when the lifecycle has no such step now */
export function checkTransition(event: EventWithin, to: Transition, now: Date): void {
  const step = LIFECYCLE.find(
    (candidate) => candidate.from === event.status && candidate.to === to,
  );
  if (step?.guard(event, now)) return;
  const over = event.status === "completed" || step?.guard === notOver;
  throw new InvalidTransition({ from: event.status, to, over });
}

/** What is set with a step of the lifecycle. */
export interface StatusChange {
  status?: EventStatus;
  /** In the host's words; kept for those who are told later. */
  cancelledBecause?: string | null;
  /** Until nobody has a booking or waits: what breaks off is taken up again by it. */
  cancellingSince?: Date | null;
}

/** An event with what only its own service knows of it. */
export type EventWithin = Event & Omit<StatusChange, "status">;

/** What a cancellation sets; null where it has begun already and there is no reason to add for those not yet told. */
export function cancellation(
  event: EventWithin,
  now: Date,
  reason: string | null,
): StatusChange | null {
  if (event.status !== "cancelled") {
    return { status: "cancelled", cancelledBecause: reason, cancellingSince: now };
  }
  const adds = reason !== null && !event.cancelledBecause && isUnfinished(event);
  return adds ? { cancelledBecause: reason } : null;
}

/** Whether a cancellation has begun and not come to its end: somebody may have a booking or wait. */
export const isUnfinished = ({ status, cancellingSince }: EventWithin): boolean =>
  status === "cancelled" && Boolean(cancellingSince);

/** The status that an event has at a moment: a published one is completed once it is over. */
export function statusAt(stored: EventStatus, endDateTime: Date, now: Date): EventStatus {
  return stored === "published" && endDateTime <= now ? "completed" : stored;
}

/**
 * Checks what belongs together in times, sale window and price. An end in the past is possible for what has
 * begun: its host ends it early, or says when it did end.
 *
 * @param before the event as it is, when it is a change: a start that stays may lie in the past
 * @throws ValidationFailed with every field at fault
 */
export function checkSchedule(after: Schedule, now: Date, before?: Schedule): void {
  const errors: FieldError[] = [];
  const add = (field: string, message: string) => errors.push({ field, message });
  if (after.startDateTime !== before?.startDateTime && new Date(after.startDateTime) < now) {
    add("startDateTime", "lies in the past");
  }
  if (after.endDateTime <= after.startDateTime) add("endDateTime", "must come after startDateTime");
  if (after.saleStartsAt && after.saleStartsAt >= after.endDateTime) {
    add("saleStartsAt", "must come before endDateTime");
  }
  if (after.saleStartsAt && after.saleEndsAt && after.saleEndsAt <= after.saleStartsAt) {
    add("saleEndsAt", "must come after saleStartsAt");
  }
  if (after.price > 0 && after.currency === null)
    add("currency", "is required with a price above 0");
  if (errors.length) throw new ValidationFailed({ errors });
}

/** The fields in which an event differs from what it was. */
export const changedFields = (before: Event, after: Event) =>
  CHANGEABLE.filter((field) => !isDeepStrictEqual(before[field], after[field]));

/** Whether a change would leave the event as it is: nobody is told of it, and no version counts it. */
export const changesNothing = (event: Event, changes: EventChanges): boolean =>
  changedFields(event, { ...event, ...changes }).length === 0;

/** The same with each tag once, in its first spelling: tags are compared without case. */
export function withTagsOnce<C extends { tags?: string[] }>(changes: C): C {
  if (changes.tags === undefined) return changes;
  const keys = changes.tags.map((tag) => tag.toLowerCase());
  return { ...changes, tags: changes.tags.filter((_, i) => keys.indexOf(keys[i] ?? "") === i) };
}

/** @throws ValidationFailed for a change that contradicts itself, whatever the event is */
export function checkChanges(changes: EventChanges): void {
  const { startDateTime, endDateTime } = changes;
  if (startDateTime !== undefined && endDateTime !== undefined && endDateTime <= startDateTime) {
    throw new ValidationFailed({
      errors: [{ field: "endDateTime", message: "must come after startDateTime" }],
    });
  }
}

/** An entity tag of an event begins with its version: `"3-…"`, weak or strong; the version alone will do. */
const TAG_VERSION = /^(?:W\/)?"([1-9]\d{0,8})(?:-[^"]*)?"$/;

/**
 * Compares the version of an `If-Match` header alone, so that bookings never lock a host out.
 *
 * @throws PreconditionFailed when none of its tags is of this version
 */
export function checkVersion(ifMatch: string | undefined, version: number): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  const matches = ifMatch
    .split(",")
    .some((tag) => Number(TAG_VERSION.exec(tag.trim())?.[1]) === version);
  if (!matches) throw new PreconditionFailed({ version });
}

/** @throws InvalidTransition for an event whose time is over: it is history */
export function checkChangeable({ status }: Event): void {
  if (status === "cancelled" || status === "completed") {
    throw new InvalidTransition({ from: status, to: "changed", over: status === "completed" });
  }
}

/** @throws CapacityBelowSold */
export function checkCapacity(capacity: number, sold: number): void {
  if (capacity < sold) throw new CapacityBelowSold({ capacity, sold });
}

/** Whether this person may see the event: drafts are for their host and administrators. */
export const isVisibleTo = (event: Event, viewer: Caller | null): boolean =>
  event.status !== "draft" || viewer?.id === event.hostId || viewer?.role === "admin";

/** @throws EventNotFound for a draft of somebody else, Forbidden for another host's event */
export function checkManages(event: Event, caller: Caller): void {
  if (!isVisibleTo(event, caller)) throw new EventNotFound({});
  if (caller.role !== "admin" && event.hostId !== caller.id) throw new Forbidden({});
}

/** Whether a change may have brought seats to those who wait: more of them, or a time at which they are on sale. */
export const mayBeFree = (before: Event, after: Event): boolean =>
  after.capacity > before.capacity ||
  (["saleStartsAt", "saleEndsAt", "endDateTime"] as const).some(
    (field) => after[field] !== before[field],
  );

/** What a change does to the start of a sale, for those who are to be told of it. */
export type SaleMove = "none" | "toCome" | "begun" | "neverAgain";

/** @param before the event as it was; null for a new one */
export function saleMove(before: Event | null, after: Event, now: Date): SaleMove {
  const { saleStartsAt, status } = after;
  if (status === "cancelled") return "neverAgain";
  // Of a draft nobody knows, so nobody waits for its sale until it is published.
  if (status === "draft") return "none";
  const wasKnown = before !== null && before.status !== "draft";
  if (wasKnown && before.saleStartsAt === saleStartsAt) return "none";
  if (saleStartsAt !== null && new Date(saleStartsAt) > now) return "toCome";
  return wasKnown ? "begun" : "none";
}
