import type { Step } from "../lib/steps";

export const arrivalAtWaitingLists: Step = {
  name: "0017-arrival-at-waiting-lists",
  up: [
    // Drawn by the database under the event's row lock: ids are made by the clocks of nodes, which differ.
    "ALTER TABLE waitlist ADD COLUMN arrival bigint",
    `UPDATE waitlist w SET arrival = o.n
       FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM waitlist) o WHERE o.id = w.id`,
    "ALTER TABLE waitlist ALTER COLUMN arrival SET NOT NULL",
    "ALTER TABLE waitlist ALTER COLUMN arrival ADD GENERATED ALWAYS AS IDENTITY",
    `SELECT setval(pg_get_serial_sequence('waitlist', 'arrival'), max(arrival)) FROM waitlist
      HAVING max(arrival) IS NOT NULL`,
    "DROP INDEX waitlist_in_order",
    "CREATE INDEX waitlist_in_order ON waitlist (event_id, arrival)",
    // Who fits is found without looking at all those who do not.
    "CREATE INDEX waitlist_by_quantity ON waitlist (event_id, quantity, arrival)",
  ],
  down: [
    "DROP INDEX waitlist_by_quantity",
    "DROP INDEX waitlist_in_order",
    "ALTER TABLE waitlist DROP COLUMN arrival",
    "CREATE INDEX waitlist_in_order ON waitlist (event_id, id)",
  ],
};
