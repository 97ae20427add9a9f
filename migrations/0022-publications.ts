import type { Step } from "../lib/steps";

const COLUMNS =
  "id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data";

export const publications: Step = {
  name: "0022-publications",
  up: [
    // What a message broker has, or is being given: moved here from the outbox, so that what is still to be published
    // is all that is in there, and what is booked pays nothing for it. It goes when every consumer has heard of it, and
    // back to the outbox when that takes too long.
    `CREATE TABLE publications (
       id uuid PRIMARY KEY,
       type text NOT NULL,
       action text NOT NULL,
       aggregate_id uuid NOT NULL,
       aggregate_version integer NOT NULL CHECK (aggregate_version >= 1),
       occurred_at timestamptz(3) NOT NULL,
       correlation_id text,
       data json NOT NULL,
       confirmed boolean NOT NULL,
       due_at timestamptz(3) NOT NULL
     )`,
    "CREATE INDEX publications_unconfirmed ON publications (due_at) WHERE NOT confirmed",
    // By name, so that what waits for a consumer that is down is not walked over to find what is lost of another's.
    "CREATE INDEX publications_late ON publications ((type || 's.' || action), due_at) WHERE confirmed",
  ],
  down: [
    `INSERT INTO outbox (${COLUMNS}) SELECT ${COLUMNS} FROM publications ON CONFLICT DO NOTHING`,
    "DROP TABLE publications",
  ],
};
