import { createServer } from "node:net";
import { prepareDatabase, startSystem } from "../../system";
import { createTestDatabase, type TestDatabase, withDatabase } from "../support/database";
import { testConfig } from "../support/system";

/** Dropping a test's database fails where a connection is left: each test here shows that none is. */
describe("Starting a system", () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => database.drop());

  test("on a port that is taken fails with the reason and leaves nothing running", async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
    const address = squatter.address();
    const PORT = String(typeof address === "object" && address ? address.port : 0);
    try {
      const config = testConfig(database.url, { PORT });
      const started = startSystem({ config, databaseUrl: database.url });
      await expect(started).rejects.toMatchObject({ code: "EADDRINUSE" });
    } finally {
      squatter.close();
    }
  });

  test("stops as often as it is asked to", async () => {
    const config = testConfig(database.url);
    const system = await startSystem({ config, databaseUrl: database.url });
    expect(system.address).toBeDefined();
    await system.stop();
    await system.stop();
  });
});

describe("Preparing a database", () => {
  const tables = (database: TestDatabase) =>
    database.query("SELECT FROM information_schema.tables WHERE table_name = 'available_events'");

  test("makes the tables and fills them, once", async () => {
    await withDatabase(
      async (database) => {
        const config = testConfig(database.url);
        const stopping = new AbortController().signal;
        const own = { url: database.url, started: true, stop: async () => {} };
        await prepareDatabase(own, config, stopping);
        await prepareDatabase({ ...own, started: false }, config, stopping);
        const [counted] = await database.query("SELECT count(*)::int AS n FROM available_events");
        expect(counted.n).toBeGreaterThan(10);
        expect(await database.query("SELECT FROM users")).toHaveLength(0);
      },
      { bare: true },
    );
  });

  test("is given up at the next step, or at once where it may have to wait for other nodes", async () => {
    const stopped = AbortSignal.abort();
    for (const started of [true, false]) {
      await withDatabase(
        async (database) => {
          const given = { url: database.url, started, stop: async () => {} };
          const preparing = prepareDatabase(given, testConfig(database.url), stopped);
          await expect(preparing).rejects.toBe(stopped.reason);
          // What had begun comes to its end; a test must not leave a connection.
          await eventually(async () => expect(await tables(database)).toHaveLength(1));
          await eventually(async () => expect(await connectionsTo(database)).toBe(0));
        },
        { bare: true },
      );
    }
  });
});

const connectionsTo = async (database: TestDatabase): Promise<number> => {
  const others = "datname = current_database() AND pid <> pg_backend_pid()";
  const [counted] = await database.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE ${others}`,
  );
  return counted.n;
};

async function eventually(check: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
