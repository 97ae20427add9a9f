import type { Database } from "../../lib/database";

/** A control is repeated until its race bites, so often at the most. */
const MOST_ROUNDS = 30;

/** Takes the row locks away: who reads a row no longer waits for whoever is about to change it. */
export const withoutLocks = (database: Database): Database => ({
  ...database,
  query: (sql, bind, transaction) =>
    database.query(sql.replace(/FOR (NO KEY )?UPDATE( OF \w+)?/g, ""), bind, transaction),
});

/** Repeats a race on things of their own until it bites; gives whether it did. */
export async function untilItBites(round: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < MOST_ROUNDS; i++) if (await round()) return true;
  return false;
}
