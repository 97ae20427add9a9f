import type { Step } from "../lib/steps";

export const bookings: Step = {
  name: "0004-bookings",
  up: [
    // Signs the codes of an event's tickets; a gate that checks them offline is given this one event's key.
    `ALTER TABLE events ADD COLUMN ticket_key bytea NOT NULL
       DEFAULT sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea)`,
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
       version integer NOT NULL DEFAULT 1,
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL,
       CONSTRAINT bookings_cancelled_for_a_reason CHECK ((status = 'cancelled') = (cancel_reason IS NOT NULL)),
       CONSTRAINT bookings_hold_has_an_end CHECK (
         CASE status WHEN 'pending' THEN hold_expires_at IS NOT NULL
                     WHEN 'expired' THEN true
                     ELSE hold_expires_at IS NULL END)
     )`,
    // The promise «one active booking per user and event», kept even if every check above it failed.
    `CREATE UNIQUE INDEX bookings_one_active ON bookings (event_id, user_id)
       WHERE status IN ('pending', 'confirmed')`,
    "CREATE INDEX bookings_by_user ON bookings (user_id, created_at, id)",
    "CREATE INDEX bookings_by_event ON bookings (event_id, created_at, id)",
    "CREATE INDEX bookings_by_host ON bookings (host_id, created_at, id)",
    "CREATE INDEX bookings_by_created_at ON bookings (created_at, id)",
    // Nearly all are confirmed: who wants those walks by time, and no new booking pays for an index of them.
    "CREATE INDEX bookings_by_status ON bookings (status, created_at, id) WHERE status <> 'confirmed'",
    "CREATE INDEX bookings_lost_by_event ON bookings (event_id, user_id) WHERE cancel_reason IN ('event_cancelled', 'event_deleted')",
    "CREATE INDEX bookings_holds ON bookings (hold_expires_at) WHERE status = 'pending'",
    "CREATE INDEX bookings_holds_by_event ON bookings (event_id, hold_expires_at) WHERE status = 'pending'",
    `CREATE TABLE tickets (
       id uuid PRIMARY KEY,
       booking_id uuid NOT NULL REFERENCES bookings ON DELETE CASCADE,
       status text NOT NULL CHECK (status IN ('valid', 'checked_in', 'cancelled')),
       checked_in_at timestamptz(3),
       created_at timestamptz(3) NOT NULL,
       CONSTRAINT tickets_checked_in_at_a_time CHECK ((status = 'checked_in') <= (checked_in_at IS NOT NULL))
     )`,
    "CREATE INDEX tickets_by_booking ON tickets (booking_id, id)",
    `CREATE TABLE waitlist (
       id uuid PRIMARY KEY,
       event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
       user_id uuid NOT NULL REFERENCES users,
       quantity integer NOT NULL CHECK (quantity >= 1),
       created_at timestamptz(3) NOT NULL
     )`,
    "CREATE UNIQUE INDEX waitlist_once ON waitlist (event_id, user_id)",
    // Ids are made under the event's row lock, so their order is that of arrival.
    "CREATE INDEX waitlist_in_order ON waitlist (event_id, id)",
    "CREATE INDEX waitlist_by_user ON waitlist (user_id)",
  ],
  down: [
    "DROP TABLE waitlist",
    "DROP TABLE tickets",
    "DROP TABLE bookings",
    "ALTER TABLE events DROP COLUMN ticket_key",
  ],
};
