import { randomBytes } from "node:crypto";
import { Client, Pool } from "pg";
import { eventually } from "./eventually";

const needed = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: the global setup has not run`);
  return value;
};

async function asAdmin<T>(work: (admin: Client) => Promise<T>): Promise<T> {
  const admin = new Client({ connectionString: needed("MARQUEE_TEST_ADMIN_URL") });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

/**
 * Whoever has been told to go may need a moment.
 *
 * @throws Error when somebody stays connected to a database
 */
async function nobodyIsLeft(admin: Client, name: string): Promise<void> {
  await eventually(async () => {
    const { rows } = await admin.query(
      "SELECT application_name, state, query FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'",
      [name],
    );
    if (rows.length > 0) throw new Error(`Still connected to ${name}: ${JSON.stringify(rows)}`);
  });
}

export interface TestDatabase {
  /** Of an ordinary role that owns the database. */
  readonly url: string;
  /** Runs one statement over a connection that no other has meanwhile; gives its rows. */
  // biome-ignore lint/suspicious/noExplicitAny: a test knows the columns it asked for
  query(sql: string, values?: unknown[]): Promise<any[]>;
  /**
   * Is done with it. Fails when anything is still connected: a test that leaks a connection does not pass. The
   * database itself goes with all the others in the end, because to drop one PostgreSQL writes to disk whatever
   * any test has changed.
   */
  drop(): Promise<void>;
}

/** A database for one test file: migrated, with the catalogue, or bare. */
export async function createTestDatabase({ bare = false } = {}): Promise<TestDatabase> {
  const template = new URL(needed("MARQUEE_TEST_URL"));
  const name = `${needed("MARQUEE_TEST_PREFIX")}${randomBytes(6).toString("hex")}`;
  const owner = needed("MARQUEE_TEST_OWNER");
  const source = bare ? "" : `TEMPLATE ${template.pathname.slice(1)}`;
  await asAdmin((admin) => admin.query(`CREATE DATABASE ${name} ${source} OWNER ${owner}`));
  const url = new URL(template);
  url.pathname = `/${name}`;
  // To connect costs more than most statements do.
  const connections = new Pool({ connectionString: url.href, idleTimeoutMillis: 1000 });
  // One that a test has cut is no use to anybody, and no fault.
  connections.on("error", () => {});
  let closed: Promise<void> | undefined;
  return {
    url: url.href,
    query: async (sql, values) => (await connections.query(sql, values)).rows,
    async drop() {
      closed ??= connections.end();
      await closed;
      await asAdmin((admin) => nobodyIsLeft(admin, name));
    },
  };
}

/** Brackets a test database: it is dropped whatever happens. */
export async function withDatabase<T>(
  work: (database: TestDatabase) => Promise<T>,
  options?: { bare?: boolean },
): Promise<T> {
  const database = await createTestDatabase(options);
  try {
    return await work(database);
  } finally {
    await database.drop();
  }
}
