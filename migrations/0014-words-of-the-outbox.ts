import type { Step } from "../lib/steps";

export const wordsOfTheOutbox: Step = {
  name: "0014-words-of-the-outbox",
  // Written once, read once and never looked into: as text it need not be taken apart for that.
  up: ["ALTER TABLE outbox ALTER COLUMN data TYPE json"],
  down: ["ALTER TABLE outbox ALTER COLUMN data TYPE jsonb"],
};
