import type { Bind, Database } from "./database";

/** Rows removed with one statement. */
const CHUNK = 1000;

/**
 * Removes rows that nobody needs any more, a chunk at a time, so that no statement runs into its time limit and no
 * row is locked for long.
 *
 * @param sql removes `$chunk` rows at the most, passes over those that somebody else holds, and gives a row for each
 */
export async function removeInChunks(
  database: Database,
  { sql, bind = {} }: { sql: string; bind?: Bind },
  stopping: AbortSignal,
): Promise<void> {
  let removed: object[];
  do {
    removed = await database.query(sql, { ...bind, chunk: CHUNK });
  } while (removed.length === CHUNK && !stopping.aborted);
}
