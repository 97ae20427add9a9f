import type { Step } from "../lib/steps";

export const hostsOfBookings: Step = {
  name: "0010-hosts-of-bookings",
  up: [
    // No booking changes these two, so the index leaves the event's row to be updated in place.
    "ALTER TABLE events ADD CONSTRAINT events_with_host_unique UNIQUE (id, host_id)",
    // One check for each booking instead of two, and it says more: a booking's host is its event's.
    `ALTER TABLE bookings
       ADD CONSTRAINT bookings_event_with_host_fkey FOREIGN KEY (event_id, host_id) REFERENCES events (id, host_id),
       DROP CONSTRAINT bookings_event_id_fkey,
       DROP CONSTRAINT bookings_host_id_fkey`,
  ],
  down: [
    `ALTER TABLE bookings
       ADD CONSTRAINT bookings_event_id_fkey FOREIGN KEY (event_id) REFERENCES events,
       ADD CONSTRAINT bookings_host_id_fkey FOREIGN KEY (host_id) REFERENCES users,
       DROP CONSTRAINT bookings_event_with_host_fkey`,
    "ALTER TABLE events DROP CONSTRAINT events_with_host_unique",
  ],
};
