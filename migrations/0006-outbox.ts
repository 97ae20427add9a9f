import type { Step } from "../lib/steps";

export const outbox: Step = {
  name: "0006-outbox",
  up: [
    // What happened, written in the transaction in which it happened. Ids are UUIDs of version 7: their order
    // is that of writing. No foreign keys: what it tells of may be gone when it is told.
    `CREATE TABLE outbox (
       id uuid PRIMARY KEY,
       type text NOT NULL,
       action text NOT NULL,
       aggregate_id uuid NOT NULL,
       aggregate_version integer NOT NULL CHECK (aggregate_version >= 1),
       occurred_at timestamptz(3) NOT NULL,
       correlation_id text,
       data jsonb NOT NULL
     )`,
  ],
  down: ["DROP TABLE outbox"],
};
