import type { Step } from "../lib/steps";

/** A step of its own: whoever reads bookings locks them before the events, and would meet a step that locks both. */
export const lostBookings: Step = {
  name: "0009-lost-bookings",
  // Whoever loses a booking with its event is told of that booking; nobody asks for all of them any more.
  up: ["DROP INDEX bookings_lost_by_event"],
  down: [
    "CREATE INDEX bookings_lost_by_event ON bookings (event_id, user_id) WHERE cancel_reason IN ('event_cancelled', 'event_deleted')",
  ],
};
