import type { Step } from "../lib/steps";

export const pushSubscriptions: Step = {
  name: "0021-push-subscriptions",
  up: [
    `CREATE TABLE push_subscriptions (
       id uuid PRIMARY KEY,
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       endpoint text NOT NULL CONSTRAINT push_subscriptions_endpoint UNIQUE,
       p256dh text NOT NULL,
       auth text NOT NULL,
       expires_at timestamptz(3),
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL
     )`,
    "CREATE INDEX push_subscriptions_by_user ON push_subscriptions (user_id, updated_at)",
  ],
  down: ["DROP TABLE push_subscriptions"],
};
