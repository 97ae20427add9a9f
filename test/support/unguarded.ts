import { intercepted } from "./intercepted";

/** A control is repeated until its race bites, so often at the most. */
const MOST_ROUNDS = 100;

/** Changes what a statement says: a guard that is one clause of it is taken away so, and nothing else. */
export type Rewrite = (sql: string) => string | Promise<string>;

/** Stands between a system and its database and changes what the statements say. */
export const rewriting = (rewrite: Rewrite) => intercepted(rewrite);

/** Takes the row locks away: who reads a row no longer waits for whoever is about to change it. */
export const noLocks = (sql: string): string =>
  sql.replace(/FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?/g, "");

export const withoutLocks = rewriting(noLocks);

/**
 * Repeats a race on things of their own until it bites; gives whether it did.
 *
 * @param round is told its number, from 0: where one side is slower than the other it gives it so much of a start
 */
export async function untilItBites(round: (i: number) => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < MOST_ROUNDS; i++) if (await round(i)) return true;
  return false;
}

/** For a race whose two sides must meet in a moment: waits a little longer in each round. */
export const aLittleLater = (round: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, round));
