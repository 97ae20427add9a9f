import type { Queries } from "../database";

/** Forgets all that anybody was told, so that each measurement finds the same tables. */
export async function forgetNotices(database: Queries): Promise<void> {
  await database.query("TRUNCATE notifications CASCADE");
  await database.query("TRUNCATE inbox");
  await database.query("TRUNCATE dispatches");
}
