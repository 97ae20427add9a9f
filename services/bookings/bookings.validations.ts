import { described, id, integer, oneOf, optional, withDefault } from "../../lib/contract/rules";
import { listParams } from "../../lib/list";

export const STATUSES = ["pending", "confirmed", "cancelled", "expired"] as const;
export type BookingStatus = (typeof STATUSES)[number];

export const CANCEL_REASONS = [
  "attendee",
  "admin",
  "event_cancelled",
  "event_deleted",
  "user_deleted",
] as const;
export type CancelReason = (typeof CANCEL_REASONS)[number];

/** More than any operator may allow (`MAX_TICKETS_PER_BOOKING`); the configured limit is a rule. */
const MOST_TICKETS_EVER = 1000;

/** Bounded by `MAX_TICKETS_PER_BOOKING` in the rules, because a contract is the same in every installation. */
export const quantity = integer({ min: 1, max: MOST_TICKETS_EVER });

export const newBooking = {
  eventId: id(),
  quantity: withDefault(
    described(
      quantity,
      "At most MAX_TICKETS_PER_BOOKING: 10, unless the operator has set another.",
    ),
    1,
  ),
};

export const bookingList = {
  ...listParams(["createdAt", "date"]),
  status: optional(oneOf(STATUSES)),
};
