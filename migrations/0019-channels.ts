import type { Step } from "../lib/steps";

export const channels: Step = {
  name: "0019-channels",
  up: [
    // Which consumer has heard of which event, written in the transaction of what it did about it. No foreign keys:
    // the event leaves the outbox before this goes.
    `CREATE TABLE inbox (
       consumer text NOT NULL,
       event_id uuid NOT NULL,
       PRIMARY KEY (consumer, event_id)
     )`,
    // Events that a consumer could not handle: to be tried again, or dead until somebody replays them.
    `CREATE TABLE undelivered (
       consumer text NOT NULL,
       event_id uuid NOT NULL,
       name text NOT NULL,
       payload json NOT NULL,
       attempts integer NOT NULL CHECK (attempts >= 0),
       error text NOT NULL,
       next_try_at timestamptz(3) NOT NULL,
       dead_at timestamptz(3),
       PRIMARY KEY (consumer, event_id)
     )`,
    "CREATE INDEX undelivered_due ON undelivered (consumer, next_try_at) WHERE dead_at IS NULL",
  ],
  down: ["DROP TABLE undelivered", "DROP TABLE inbox"],
};
