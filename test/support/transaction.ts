import { Client } from "pg";
import type { TestDatabase } from "./database";
import { eventually } from "./eventually";

/** A transaction of somebody else's: what it has locked, others wait for. */
export interface OpenTransaction {
  /** How many wait for a row. */
  waiting(): Promise<number>;
  /** Until so many do, at the least. */
  isWaitedFor(by: number): Promise<void>;
  /** Until somebody waits for what this very transaction has locked, whatever others wait for. */
  isInTheWay(): Promise<void>;
  commits(): Promise<void>;
}

/** Does `work` while a transaction is open that has run this statement. */
export async function whileOpen<T>(
  database: TestDatabase,
  sql: string,
  values: unknown[],
  work: (transaction: OpenTransaction) => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    await client.query("BEGIN");
    const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
    await client.query(sql, values);
    const waiting = async () => {
      const rows = await database.query(
        `SELECT pid FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event IN ('transactionid', 'tuple')`,
      );
      return rows.length;
    };
    return await work({
      waiting,
      isWaitedFor: (by) =>
        eventually(async () => expect(await waiting()).toBeGreaterThanOrEqual(by)),
      isInTheWay: () =>
        eventually(async () => {
          const behind = await database.query(
            "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))",
            [rows[0].pid],
          );
          expect(behind).not.toEqual([]);
        }),
      async commits() {
        await client.query("COMMIT");
      },
    });
  } finally {
    await client.end();
  }
}

/** Does `work` while somebody holds the rows of these events, as a long change of them would. */
export const whileHeld = <T>(
  database: TestDatabase,
  events: { id: string }[],
  work: (transaction: OpenTransaction) => Promise<T>,
): Promise<T> =>
  whileOpen(
    database,
    "SELECT 1 FROM events WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
    [events.map(({ id }) => id)],
    work,
  );
