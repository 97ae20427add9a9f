import type { NotificationType } from "./notifications.rules";

/** What happened longer ago than this is in the product for whoever looks: a channel that was away does not tell it. */
export const OLDEST_TOLD_DAYS = 7;
const DAY_MS = 86_400_000;

/** What a message tells of, as things are right before it goes. */
export interface Subject {
  type: NotificationType;
  createdAt: Date;
  /** Null where there is no such event any more, or none that it is about. */
  event: { status: string; startsAt: Date; endsAt: Date } | null;
  /** Whether the recipient has seats of the event that are theirs. */
  hasSeats: boolean;
}

/** Why a message would tell what is not so any more; undefined where it would not. */
export function whyOutdated(
  { type, createdAt, event, hasSeats }: Subject,
  now: Date,
): string | undefined {
  if (now.getTime() - createdAt.getTime() > OLDEST_TOLD_DAYS * DAY_MS) {
    return `It is older than ${OLDEST_TOLD_DAYS} days.`;
  }
  if (type === "event.reminder") {
    if (event?.status !== "published") return "The event does not take place then.";
    if (event.startsAt <= now) return "The event has begun.";
    return hasSeats ? undefined : "The booking is over.";
  }
  if (type === "sale.started") {
    if (!event || event.status === "cancelled") return "The event does not take place.";
    return event.endsAt > now ? undefined : "The event is over.";
  }
  return undefined;
}
