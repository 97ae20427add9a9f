import { randomBytes } from "node:crypto";
import { Client } from "pg";

const needed = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: the global setup has not run`);
  return value;
};

async function asAdmin(statement: string): Promise<void> {
  const admin = new Client({ connectionString: needed("MARQUEE_TEST_ADMIN_URL") });
  await admin.connect();
  try {
    await admin.query(statement);
  } finally {
    await admin.end();
  }
}

export interface TestDatabase {
  /** Of an ordinary role that owns the database. */
  readonly url: string;
  /** Runs one statement over a connection of its own; gives its rows. */
  // biome-ignore lint/suspicious/noExplicitAny: a test knows the columns it asked for
  query(sql: string, values?: unknown[]): Promise<any[]>;
  /** Fails when anything is still connected: a test that leaks a connection does not pass. */
  drop(): Promise<void>;
}

/** A database for one test file: migrated, with the catalogue, or bare. */
export async function createTestDatabase({ bare = false } = {}): Promise<TestDatabase> {
  const template = new URL(needed("MARQUEE_TEST_URL"));
  const name = `marquee_test_${randomBytes(6).toString("hex")}`;
  const owner = needed("MARQUEE_TEST_OWNER");
  const source = bare ? "" : `TEMPLATE ${template.pathname.slice(1)}`;
  await asAdmin(`CREATE DATABASE ${name} ${source} OWNER ${owner}`);
  const url = new URL(template);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    async query(sql, values) {
      const client = new Client({ connectionString: url.href });
      await client.connect();
      try {
        return (await client.query(sql, values)).rows;
      } finally {
        await client.end();
      }
    },
    drop: () => asAdmin(`DROP DATABASE ${name}`),
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
