import type { Step } from "../lib/steps";

export const follows: Step = {
  name: "0015-follows",
  up: [
    `CREATE TABLE follows (
       id uuid PRIMARY KEY,
       follower_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       host_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       created_at timestamptz(3) NOT NULL,
       CONSTRAINT follows_not_oneself CHECK (follower_id <> host_id)
     )`,
    // Once for each pair; and by it a host's followers are told, a chunk at a time.
    "CREATE UNIQUE INDEX follows_once ON follows (host_id, follower_id)",
    "CREATE INDEX follows_by_follower ON follows (follower_id, created_at, id)",
    "CREATE INDEX follows_by_host ON follows (host_id, created_at, id)",
  ],
  down: ["DROP TABLE follows"],
};
