import type { Step } from "../lib/steps";

export const cancellations: Step = {
  name: "0008-cancellations",
  up: [
    // Whoever had seats or waited for them is told why, also when that is done later than the cancellation.
    "ALTER TABLE events ADD COLUMN cancelled_because text CHECK (char_length(cancelled_because) <= 500)",
    // Set with the cancellation, and empty again with the last booking or place on the waiting list that ends with it.
    // No booking changes it, so an index of it leaves the event's row to be updated in place.
    "ALTER TABLE events ADD COLUMN cancelling_since timestamptz(3)",
    "CREATE INDEX events_cancelling ON events (cancelling_since) WHERE cancelling_since IS NOT NULL",
    // Who still waits for what is over or removed is not told of that now.
    `DELETE FROM waitlist w USING events e
      WHERE e.id = w.event_id AND e.status = 'cancelled' AND (e.deleted_at IS NOT NULL OR e.end_date_time <= now())`,
    // What was broken off, or left waiting, before anybody took it up.
    `UPDATE events e SET cancelling_since = updated_at
      WHERE status = 'cancelled'
        AND (number_of_attendees > 0 OR EXISTS (SELECT 1 FROM waitlist w WHERE w.event_id = e.id))`,
  ],
  down: [
    "ALTER TABLE events DROP COLUMN cancelling_since",
    "ALTER TABLE events DROP COLUMN cancelled_because",
  ],
};
