import type { Database } from "../../lib/database";

/**
 * Stands between a system and its database: every statement of its stores is shown before it is run, whichever way
 * it goes, and what comes back is run in its place.
 */
export const intercepted =
  (show: (sql: string) => Promise<string>) =>
  (database: Database): Database => ({
    ...database,
    query: async (sql, bind, transaction) => database.query(await show(sql), bind, transaction),
    prepared: (work, options) =>
      database.prepared(
        ({ query, ...rest }) =>
          work({ ...rest, query: async (sql, bind) => query(await show(sql), bind) }),
        options,
      ),
  });
