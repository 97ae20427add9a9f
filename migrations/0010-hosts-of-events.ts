import type { Step } from "../lib/steps";

export const hostsOfEvents: Step = {
  name: "0010-hosts-of-events",
  // For bookings to refer to both. No booking changes either, so the event's row is still updated in place.
  up: ["ALTER TABLE events ADD CONSTRAINT events_with_host_unique UNIQUE (id, host_id)"],
  down: ["ALTER TABLE events DROP CONSTRAINT events_with_host_unique"],
};
