import type { Database, Query } from "../../lib/database";

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
      database.prepared(({ query, ...rest }) => {
        // Statements that are asked for at once are run in their order, however long one is looked at.
        let before: Promise<unknown> = Promise.resolve();
        const inOrder: Query = (sql, bind) => {
          const shown = before.then(() => show(sql));
          before = shown.catch(() => {});
          return shown.then((rewritten) => query(rewritten, bind));
        };
        return work({ ...rest, query: inOrder });
      }, options),
  });
