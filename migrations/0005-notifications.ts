import type { Step } from "../lib/steps";

export const notifications: Step = {
  name: "0005-notifications",
  up: [
    `CREATE TABLE notifications (
       id uuid PRIMARY KEY,
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       occurrence_id uuid NOT NULL,
       type text NOT NULL,
       title text NOT NULL,
       body text NOT NULL,
       data jsonb NOT NULL,
       event_id uuid,
       is_read boolean NOT NULL DEFAULT false,
       created_at timestamptz(3) NOT NULL
     )`,
    // One notice per person and occurrence, however often the occurrence is told.
    "CREATE UNIQUE INDEX notifications_once ON notifications (user_id, occurrence_id)",
    "CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id)",
    "CREATE INDEX notifications_unread_by_user ON notifications (user_id, created_at, id) WHERE NOT is_read",
    "CREATE INDEX notifications_by_type ON notifications (user_id, type, created_at, id)",
  ],
  down: ["DROP TABLE notifications"],
};
