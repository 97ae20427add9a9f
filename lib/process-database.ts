import { resolve } from "node:path";
import type { Config } from "./config";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./embedded-postgres";

/** The database that a process uses: the operator's, or one that the process brought along. */
export interface ProcessDatabase {
  readonly url: string;
  /** Undefined where the operator runs the database. */
  readonly embedded: EmbeddedPostgres | undefined;
  /** Stops what was started here; an operator's database is left alone. */
  stop(): Promise<void>;
}

/**
 * Gives `DATABASE_URL`, or starts the embedded PostgreSQL under `DATA_DIR`.
 *
 * @throws EmbeddedPostgresError with a sentence for the operator
 */
export async function processDatabase(
  config: Config,
  log: (line: string) => void,
): Promise<ProcessDatabase> {
  if (config.databaseUrl !== undefined) {
    return { url: config.databaseUrl, embedded: undefined, stop: async () => {} };
  }
  const embedded = await startEmbeddedPostgres({ dataDir: resolve(config.dataDir), log });
  return { url: embedded.url, embedded, stop: () => embedded.stop() };
}
