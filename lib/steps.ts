import { Umzug, type UmzugStorage } from "umzug";
import { type Bind, type Database, openDatabase, type Transaction } from "./database";

/** Runs a statement inside the step's transaction. */
export type Run = <Row extends object>(sql: string, bind?: Bind) => Promise<Row[]>;

/** One numbered step forward and back, as statements or as code; each way is one transaction. */
export interface Step {
  name: string;
  up: readonly string[] | ((run: Run) => Promise<void>);
  down: readonly string[] | ((run: Run) => Promise<void>);
}

/** A statement for the way back of a migration: what was seeded goes with its table, and can come again. */
export const forgetSeeder = (name: string): string =>
  `DO $forget$ BEGIN
     IF to_regclass('seeders') IS NOT NULL THEN DELETE FROM seeders WHERE name = '${name}'; END IF;
   END $forget$`;

export interface Steps {
  /** Runs all steps that have not run; gives their names. */
  up(): Promise<string[]>;
  /** Takes back the newest step, or all of them; gives their names. */
  down(how?: { all: boolean }): Promise<string[]>;
}

/** Key of the advisory lock under which steps run, so that nodes that start together wait for each other. */
const LOCK_KEY = 727_566_101;

/**
 * Runs numbered steps against a database, each once.
 *
 * @param table where the names of the finished steps are kept
 */
export function stepsOf(database: Database, table: string, steps: readonly Step[]): Steps {
  const run = async (transaction: Transaction, what: Step["up"]) => {
    const runSql: Run = (sql, bind) => database.query(sql, bind, transaction);
    if (typeof what === "function") await what(runSql);
    else for (const statement of what) await runSql(statement);
  };
  const log = (name: string, transaction?: Transaction) =>
    database.query(
      `INSERT INTO ${table} (name) VALUES ($name) ON CONFLICT DO NOTHING`,
      { name },
      transaction,
    );
  const unlog = (name: string, transaction?: Transaction) =>
    database.query(`DELETE FROM ${table} WHERE name = $name`, { name }, transaction);

  // Umzug notes a step after it has run. Ours are noted inside their own transaction too, so that a crash
  // between the two cannot leave a step that ran and is not known to have.
  const storage: UmzugStorage = {
    logMigration: async ({ name }) => void (await log(name)),
    unlogMigration: async ({ name }) => void (await unlog(name)),
    executed: async () => {
      await database.query(`CREATE TABLE IF NOT EXISTS ${table} (name text PRIMARY KEY)`);
      const rows = await database.query<{ name: string }>(
        `SELECT name FROM ${table} ORDER BY name`,
      );
      return rows.map(({ name }) => name);
    },
  };
  const umzug = new Umzug({
    migrations: steps.map((step) => ({
      name: step.name,
      up: () =>
        database.transaction(async (transaction) => {
          await run(transaction, step.up);
          await log(step.name, transaction);
        }),
      down: () =>
        database.transaction(async (transaction) => {
          await run(transaction, step.down);
          await unlog(step.name, transaction);
        }),
    })),
    storage,
    logger: undefined,
  });

  const locked = (work: () => Promise<{ name: string }[]>) =>
    database.sequelize.transaction(async (transaction) => {
      await database.query("SELECT pg_advisory_xact_lock($key)", { key: LOCK_KEY }, transaction);
      return (await work()).map(({ name }) => name);
    });
  return {
    up: () => locked(() => umzug.up()),
    down: ({ all } = { all: false }) => locked(() => umzug.down(all ? { to: 0 } : {})),
  };
}

/** Opens a database for steps: few connections, and no limit on how long a statement may take. */
export const openForSteps = (url: string): Database =>
  openDatabase(url, { connections: 3, statementTimeoutMs: 0, idleInTransactionMs: 0 });
