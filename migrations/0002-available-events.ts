import { forgetSeeder, type Step } from "../lib/steps";

export const availableEvents: Step = {
  name: "0002-available-events",
  up: [
    `CREATE TABLE available_events (
       id uuid PRIMARY KEY,
       name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
       category text NOT NULL CHECK (char_length(category) BETWEEN 1 AND 50),
       description text NOT NULL CHECK (char_length(description) <= 10000),
       default_capacity integer NOT NULL CHECK (default_capacity BETWEEN 1 AND 1000000),
       default_duration_minutes integer NOT NULL CHECK (default_duration_minutes BETWEEN 1 AND 525600),
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL
     )`,
    "CREATE UNIQUE INDEX available_events_name_unique ON available_events (lower(name))",
    "CREATE INDEX available_events_by_category ON available_events (lower(category), lower(name), id)",
    "CREATE INDEX available_events_by_created_at ON available_events (created_at, id)",
  ],
  down: ["DROP TABLE available_events", forgetSeeder("0001-catalogue")],
};
