import { type Database, openDatabase, type PoolOptions } from "../../lib/database";
import { type Cable, cableTo } from "./cable";
import { createTestDatabase, type TestDatabase } from "./database";

/** Two counters in a database behind a cable, for what becomes of statements when the server is not as it should be. */
export interface Counters {
  /** Beside the pool and the cable. */
  readonly server: TestDatabase;
  readonly cable: Cable;
  readonly database: Database;
  /** Sets both counters to zero. */
  reset(): Promise<void>;
  values(): Promise<number[]>;
  remove(): Promise<void>;
}

export async function openCounters(pool: PoolOptions): Promise<Counters> {
  const server = await createTestDatabase({ bare: true });
  const cable = await cableTo(server.url);
  const database = openDatabase(cable.url, pool);
  await server.query(
    "CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL CONSTRAINT counters_positive CHECK (value >= 0))",
  );
  await server.query("INSERT INTO counters VALUES (1, 0), (2, 0)");
  return {
    server,
    cable,
    database,
    async reset() {
      await server.query("UPDATE counters SET value = 0");
    },
    async values() {
      const rows = await server.query("SELECT value FROM counters ORDER BY id");
      return rows.map(({ value }) => value);
    },
    async remove() {
      await database.close();
      await cable.remove();
      await server.drop();
    },
  };
}
