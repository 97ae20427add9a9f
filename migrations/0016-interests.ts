import type { Step } from "../lib/steps";

export const interests: Step = {
  name: "0016-interests",
  up: [
    `CREATE TABLE interests (
       event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       created_at timestamptz(3) NOT NULL,
       PRIMARY KEY (event_id, user_id)
     )`,
    "CREATE INDEX interests_by_user ON interests (user_id)",
    // What of an event was told because its time had come, so that it is told once.
    `CREATE TABLE told_moments (
       event_id uuid NOT NULL REFERENCES events ON DELETE CASCADE,
       kind text NOT NULL CONSTRAINT told_moments_kind CHECK (kind IN ('saleStarted', 'reminderDue')),
       moment timestamptz(3) NOT NULL,
       told_at timestamptz(3) NOT NULL,
       PRIMARY KEY (event_id, kind, moment)
     )`,
    "CREATE INDEX events_by_sale_start ON events (sale_starts_at, id) WHERE sale_starts_at IS NOT NULL AND deleted_at IS NULL",
  ],
  down: ["DROP INDEX events_by_sale_start", "DROP TABLE told_moments", "DROP TABLE interests"],
};
