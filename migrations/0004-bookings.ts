import type { Step } from "../lib/steps";

export const bookings: Step = {
  name: "0004-bookings",
  up: [
    `CREATE TABLE bookings (
       id uuid PRIMARY KEY,
       event_id uuid NOT NULL REFERENCES events,
       user_id uuid NOT NULL REFERENCES users,
       -- The event's host, who never changes: a host's list would else walk everybody's bookings.
       host_id uuid NOT NULL REFERENCES users,
       quantity integer NOT NULL CHECK (quantity >= 1),
       status text NOT NULL CHECK (status IN ('pending', 'confirmed', 'cancelled', 'expired')),
       amount bigint NOT NULL CHECK (amount >= 0),
       currency text CHECK (currency ~ '^[A-Z]{3}$'),
       hold_expires_at timestamptz(3),
       cancel_reason text CHECK (cancel_reason IN ('attendee', 'admin', 'event_cancelled', 'event_deleted', 'user_deleted')),
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL,
       CONSTRAINT bookings_cancelled_for_a_reason CHECK ((status = 'cancelled') = (cancel_reason IS NOT NULL))
     )`,
    // The promise «one active booking per user and event», kept even if every check above it failed.
    `CREATE UNIQUE INDEX bookings_one_active ON bookings (user_id, event_id)
       WHERE status IN ('pending', 'confirmed')`,
    "CREATE INDEX bookings_by_user ON bookings (user_id, created_at, id)",
    "CREATE INDEX bookings_by_event ON bookings (event_id, created_at, id)",
    "CREATE INDEX bookings_by_host ON bookings (host_id, created_at, id)",
    "CREATE INDEX bookings_by_status ON bookings (status, created_at, id)",
    "CREATE INDEX bookings_by_event_and_user ON bookings (event_id, user_id)",
    "CREATE INDEX bookings_by_created_at ON bookings (created_at, id)",
    "CREATE INDEX bookings_active_by_event ON bookings (event_id, id) WHERE status IN ('pending', 'confirmed')",
    `CREATE TABLE tickets (
       id uuid PRIMARY KEY,
       booking_id uuid NOT NULL REFERENCES bookings ON DELETE CASCADE,
       code text NOT NULL,
       status text NOT NULL CHECK (status IN ('valid', 'cancelled')),
       created_at timestamptz(3) NOT NULL
     )`,
    "CREATE UNIQUE INDEX tickets_code_unique ON tickets (code)",
    "CREATE INDEX tickets_by_booking ON tickets (booking_id, id)",
  ],
  down: ["DROP TABLE tickets", "DROP TABLE bookings"],
};
