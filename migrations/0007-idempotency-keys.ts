import type { Step } from "../lib/steps";

export const idempotencyKeys: Step = {
  name: "0007-idempotency-keys",
  up: [
    // A key is written in the transaction of what it stands for, so there is never one without the other.
    `CREATE TABLE idempotency_keys (
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
       -- SHA-256 of what was asked for.
       fingerprint bytea NOT NULL,
       answer json NOT NULL,
       created_at timestamptz(3) NOT NULL,
       PRIMARY KEY (user_id, key)
     )`,
    "CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at)",
  ],
  down: ["DROP TABLE idempotency_keys"],
};
