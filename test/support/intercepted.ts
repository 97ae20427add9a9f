import type { Command, Database, Query } from "../../lib/database";

/**
 * Stands between a system and its database: every statement of its stores is shown before it is run, whichever way
 * it goes, and what comes back is run in its place. Statements of a transaction keep their order; what is shown
 * without waiting goes on without waiting, so that those that are to go together do.
 */
export const intercepted =
  (show: (sql: string) => string | Promise<string>) =>
  (database: Database): Database => ({
    ...database,
    query: async (sql, bind, transaction) => database.query(await show(sql), bind, transaction),
    prepared: (work, options) =>
      database.prepared(({ query, ...rest }, lock) => {
        let before: Promise<unknown> | undefined;
        const inOrder: Query = (sql, bind) => {
          const shown = before ? before.then(() => show(sql)) : show(sql);
          if (typeof shown === "string") return query(shown, bind);
          before = shown.catch(() => {});
          return shown.then((rewritten) => query(rewritten, bind));
        };
        const commit = async (commands: readonly Command[]) => {
          const shown: Command[] = [];
          for (const command of commands) shown.push({ ...command, sql: await show(command.sql) });
          await rest.commit(shown);
        };
        return work({ ...rest, query: inOrder, commit }, lock);
      }, options),
  });
