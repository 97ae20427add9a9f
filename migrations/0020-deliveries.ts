import type { Step } from "../lib/steps";

export const deliveries: Step = {
  name: "0020-deliveries",
  up: [
    // What somebody wants otherwise than it is by default.
    `CREATE TABLE notification_preferences (
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       type text NOT NULL,
       channel text NOT NULL CHECK (channel IN ('inApp', 'email', 'sms', 'push')),
       enabled boolean NOT NULL,
       PRIMARY KEY (user_id, type, channel)
     )`,
    // Of somebody who wants such notices in no list: kept for their mails and messages alone.
    "ALTER TABLE notifications ADD COLUMN hidden boolean NOT NULL DEFAULT false",
    "CREATE INDEX notifications_hidden ON notifications (created_at) WHERE hidden",
    // Notices that were stored together and are still to go out: a row for many of them, because a column of theirs
    // would have to be changed afterwards, with every index they have.
    `CREATE TABLE dispatches (
       urgency smallint NOT NULL,
       id uuid NOT NULL,
       notification_ids uuid[] NOT NULL,
       PRIMARY KEY (urgency, id)
     )`,
    `CREATE TABLE deliveries (
       id uuid PRIMARY KEY,
       notification_id uuid NOT NULL REFERENCES notifications ON DELETE CASCADE,
       user_id uuid NOT NULL,
       channel text NOT NULL CHECK (channel IN ('email', 'sms', 'push')),
       subscription_id uuid,
       urgency smallint NOT NULL,
       status text NOT NULL DEFAULT 'pending',
       attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
       error text,
       next_try_at timestamptz(3) NOT NULL,
       created_at timestamptz(3) NOT NULL,
       settled_at timestamptz(3),
       CONSTRAINT deliveries_status CHECK (status IN ('pending', 'sent', 'failed', 'refused', 'dropped')),
       CONSTRAINT deliveries_settled CHECK ((settled_at IS NULL) = (status = 'pending'))
     )`,
    // One message per notice and channel, of push for each browser, whatever is done again.
    `CREATE UNIQUE INDEX deliveries_once ON deliveries (notification_id, channel, subscription_id)
       NULLS NOT DISTINCT`,
    "CREATE INDEX deliveries_due ON deliveries (channel, urgency, next_try_at) WHERE status = 'pending'",
    "CREATE INDEX deliveries_by_user ON deliveries (user_id)",
    "CREATE INDEX deliveries_settled_at ON deliveries (settled_at) WHERE settled_at IS NOT NULL",
    // Where nothing more is sent to, because it was refused there for good.
    `CREATE TABLE refused_addresses (
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       channel text NOT NULL,
       address text NOT NULL,
       error text NOT NULL,
       refused_at timestamptz(3) NOT NULL,
       PRIMARY KEY (user_id, channel, address)
     )`,
  ],
  down: [
    "DROP TABLE refused_addresses",
    "DROP TABLE deliveries",
    "DROP TABLE dispatches",
    // Nobody was to see them.
    "DELETE FROM notifications WHERE hidden",
    "DROP INDEX notifications_hidden",
    "ALTER TABLE notifications DROP COLUMN hidden",
    "DROP TABLE notification_preferences",
  ],
};
