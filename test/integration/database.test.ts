import { type AddressInfo, createServer } from "node:net";
import { type Database, openDatabase, type Transaction } from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import { type Counters, openCounters } from "../support/counters";
import { eventually } from "../support/eventually";
import { type OpenTransaction, whileOpen } from "../support/transaction";

/** The pool of connections when the server behind it is not what it should be. */
let counters: Counters;
beforeAll(async () => {
  counters = await openCounters({ connections: 2, statementTimeoutMs: 300 });
});
afterEach(() => counters.cable.mend());
afterAll(() => counters.remove());

const answersOf = (sql: string) => counters.database.query(sql);
const answers = () => answersOf("SELECT 1 AS one");
const unavailable = { type: ServiceUnavailable.code, data: { retryAfter: 1 } };

test("a statement that takes too long is given up, and the connection is good for the next", async () => {
  await expect(answersOf("SELECT pg_sleep(5)")).rejects.toMatchObject(unavailable);
  expect(await answers()).toEqual([{ one: 1 }]);
});

test("connections that are cut are replaced", async () => {
  await Promise.all([answers(), answers()]);
  counters.cable.cut();
  await expect(answers()).rejects.toMatchObject(unavailable);
  counters.cable.mend();
  expect(await eventually(answers)).toEqual([{ one: 1 }]);
});

test("connections that the server ends are replaced", async () => {
  await Promise.all([answers(), answers()]);
  await counters.server.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
  );
  expect(await eventually(answers)).toEqual([{ one: 1 }]);
});

/** What a server says that is stopping in the very moment in which a connection stands, all in one packet. */
const WELCOME_AND_GOODBYE = Buffer.concat([
  Buffer.from("R\0\0\0\x08\0\0\0\0", "latin1"),
  Buffer.from("Z\0\0\0\x05I", "latin1"),
  (() => {
    const why = Buffer.from("SFATAL\0C57P01\0Mterminating connection\0\0", "latin1");
    const head = Buffer.alloc(5, "E");
    head.writeInt32BE(why.length + 4, 1);
    return Buffer.concat([head, why]);
  })(),
]);

test("a connection that the server ends as soon as it stands ends no process", async () => {
  const stopping = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(WELCOME_AND_GOODBYE));
  });
  await new Promise<void>((resolve) => stopping.listen(0, "127.0.0.1", resolve));
  const { port } = stopping.address() as AddressInfo; // It listens on a port, not on a path.
  const database = openDatabase(`postgres://nobody@127.0.0.1:${port}/none`, { connections: 1 });
  try {
    await expect(database.query("SELECT 1 AS one")).rejects.toMatchObject(unavailable);
  } finally {
    await database.close();
    await new Promise((resolve) => stopping.close(resolve));
  }
});

test("connections that fall silent are given up and replaced, in a transaction too", async () => {
  // Sequelize tells the console that it could not roll back, as it should here.
  const warn = jest.spyOn(console, "warn").mockImplementation(() => {});
  await Promise.all([answers(), answers()]);
  counters.cable.silence();
  const working = counters.database.transaction(async (transaction) => {
    await counters.database.query("UPDATE counters SET value = 1 RETURNING id", {}, transaction);
  });
  await Promise.all([
    expect(answers()).rejects.toMatchObject(unavailable),
    expect(working).rejects.toMatchObject(unavailable),
  ]);
  counters.cable.mend();
  expect(await eventually(answers)).toEqual([{ one: 1 }]);
  expect(await eventually(() => Promise.all([answers(), answers()]))).toHaveLength(2);
  warn.mockRestore();
});

test("a transaction rolls back whole", async () => {
  const refused = counters.database.transaction(async (transaction) => {
    await counters.database.query("UPDATE counters SET value = 5 RETURNING id", {}, transaction);
    throw new Error("No");
  });
  await expect(refused).rejects.toThrow("No");
  expect(await answersOf("SELECT DISTINCT value FROM counters")).toEqual([{ value: 0 }]);
});

test("of two transactions in a deadlock both come through", async () => {
  // PostgreSQL looks for deadlocks after a second; the statements must have more than that.
  const patient = openDatabase(counters.server.url, { connections: 10 });
  let arrived = 0;
  let bothArrive = () => {};
  const both = new Promise<void>((resolve) => {
    bothArrive = resolve;
  });
  let attempts = 0;
  const counts = (first: number, second: number) =>
    patient.transaction(async (transaction) => {
      attempts++;
      const raise = (id: number) =>
        patient.query(
          "UPDATE counters SET value = value + 1 WHERE id = $id RETURNING id",
          { id },
          transaction,
        );
      await raise(first);
      arrived++;
      if (arrived === 2) bothArrive();
      await both;
      await raise(second);
    });
  try {
    await Promise.all([counts(1, 2), counts(2, 1)]);
  } finally {
    await patient.close();
  }
  expect(attempts).toBe(3);
  expect(await answersOf("SELECT value FROM counters")).toEqual([{ value: 2 }, { value: 2 }]);
});

/** Something that is waited for until a test lets go. */
function gate() {
  let letGo = () => {};
  const isOpen = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  return { isOpen, letGo };
}

/** A pool, and a way to raise a counter in it, which is locked for that. */
const inPool = async (
  { parameters = "", connections = 10 },
  work: (
    pool: Database,
    raise: (lane?: string, id?: number, until?: number) => Promise<unknown>,
  ) => Promise<unknown>,
): Promise<void> => {
  const pool = openDatabase(`${counters.server.url}${parameters}`, { connections });
  const raise = (lane?: string, id = 1, until?: number) =>
    pool.transaction((transaction, lock) => lock(() => raised(pool, transaction, id)), {
      ...(lane === undefined ? {} : { lane }),
      ...(until === undefined ? {} : { until }),
    });
  try {
    await work(pool, raise);
  } finally {
    await pool.close();
  }
};
const raised = (pool: Database, transaction: Transaction, id: number) =>
  pool.query(
    "UPDATE counters SET value = value + 1 WHERE id = $id RETURNING id",
    { id },
    transaction,
  );
const holding = <T>(id: number, work: (holder: OpenTransaction) => Promise<T>) =>
  whileOpen(counters.server, "SELECT FROM counters WHERE id = $1 FOR UPDATE", [id], work);

describe("A transaction in a lane", () => {
  beforeEach(() => counters.reset());

  test("does not stand behind those that are in none", () =>
    inPool({}, async (pool, raise) => {
      const { isOpen, letGo } = gate();
      const others = Array.from({ length: 30 }, () => pool.transaction(() => isOpen));
      await raise("one");
      letGo();
      await Promise.all(others);
      expect(await counters.values()).toEqual([1, 0]);
    }));

  test("waits for a row as long as anything does, and leaves its place to other lanes meanwhile", () =>
    inPool({ parameters: "?lock_timeout=20000" }, (pool, raise) =>
      holding(1, async (holder) => {
        const waiting = Array.from({ length: 5 }, (_, lane) => raise(`held ${lane}`));
        await holder.isWaitedFor(1);
        // Two places for lanes, five of which have to wait.
        await pool.transaction(() => answers(), { lane: "free" });
        expect(await counters.values()).toEqual([0, 0]);
        await holder.commits();
        await Promise.all(waiting);
        expect(await counters.values()).toEqual([5, 0]);
      }),
    ));

  test.each([
    ["", 3_000],
    ["?lock_timeout=3s", 3_000],
    ["?lock_timeout=0", 3_000],
    ["?lock_timeout=1200", 1_200],
  ])(
    "waits for some seconds and is refused then, with «%s» at the end of the database's address",
    (parameters, ms) =>
      inPool({ parameters }, (_pool, raise) =>
        holding(1, async () => {
          const startedAt = performance.now();
          // Nothing else ends their waiting before the test does.
          const until = startedAt + 60_000;
          const refused = await Promise.allSettled([
            raise("one", 1, until),
            raise("one", 1, until),
          ]);
          // Whoever stands behind is refused with who came first; between two tries nothing is waited for.
          expect(refused).toEqual([
            { status: "rejected", reason: expect.objectContaining(unavailable) },
            { status: "rejected", reason: expect.objectContaining(unavailable) },
          ]);
          expect(performance.now() - startedAt).toBeGreaterThan(ms * 0.8);
        }),
      ),
    15_000,
  );

  describe("whose own row is free", () => {
    /** In the lane, with its row locked, raises the second counter as well. */
    const raiseBoth = (pool: Database) =>
      pool.transaction(
        async (transaction, lock) => {
          await lock(() => raised(pool, transaction, 1));
          await raised(pool, transaction, 2);
        },
        { lane: "one" },
      );

    test("waits for any other one in one go, as long as anything does", () =>
      inPool({}, (pool) =>
        holding(2, async (holder) => {
          const [{ start }] = await counters.server.query("SELECT clock_timestamp() AS start");
          const both = raiseBoth(pool);
          await holder.isWaitedFor(1);
          // Several times as long as a turn at the lane's own row, still in the statement that it began with.
          await eventually(async () =>
            expect(
              await counters.server.query(
                `SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid' AND datname = current_database()
                    AND clock_timestamp() - query_start > interval '500 ms' AND xact_start >= $1`,
                [start],
              ),
            ).toHaveLength(1),
          );
          await holder.commits();
          await both;
          expect(await counters.values()).toEqual([1, 1]);
        }),
      ));

    test("is refused alone where that one does not come; whoever stands behind has their turn", () =>
      inPool({ parameters: "?lock_timeout=300" }, (pool, raise) =>
        holding(2, async () => {
          const refused = raiseBoth(pool);
          const next = raise("one");
          await expect(refused).rejects.toMatchObject(unavailable);
          await next;
          expect(await counters.values()).toEqual([1, 0]);
        }),
      ));
  });
});

describe("What comes too late", () => {
  beforeEach(() => counters.reset());

  test("is refused alone: whoever stands behind it has only begun to wait", () =>
    inPool({}, (_pool, raise) =>
      holding(1, async (holder) => {
        const [late, next] = [raise("one", 1, performance.now() + 50), raise("one")];
        await expect(late).rejects.toMatchObject(unavailable);
        await holder.commits();
        await next;
        expect(await counters.values()).toEqual([1, 0]);
      }),
    ));

  test.each([[{}], [{ lane: "one" }]])("is refused and not done: %j", (options) =>
    inPool({}, async (pool) => {
      const until = performance.now() + 50;
      const late = (lane: typeof options) =>
        pool.transaction(
          async (transaction) => {
            await raised(pool, transaction, 1);
            await pool.query("SELECT pg_sleep(0.1)", {}, transaction);
          },
          { ...lane, until },
        );
      await expect(late(options)).rejects.toMatchObject(unavailable);
      const prepared = pool.prepared(
        async ({ query }) => {
          await query("UPDATE counters SET value = value + 1 WHERE id = 1 RETURNING id", {});
          await query("SELECT pg_sleep(0.1)", {});
        },
        { ...options, until: performance.now() + 50 },
      );
      await expect(prepared).rejects.toMatchObject(unavailable);
      expect(await counters.values()).toEqual([0, 0]);
    }),
  );

  test.each([
    ["in its lane", ["one"]],
    ["for a place", ["two", "three"]],
  ])("is refused where it still waits %s, and not done", (_where, lanes) =>
    inPool({}, async (pool, raise) => {
      const { isOpen, letGo } = gate();
      const others = lanes.map((lane) => pool.transaction(() => isOpen, { lane }));
      const until = performance.now() + 50;
      const waiting = pool.transaction((transaction) => raised(pool, transaction, 1), {
        lane: "one",
        until,
      });
      await expect(waiting).rejects.toMatchObject(unavailable);
      letGo();
      await Promise.all(others);
      await raise("one", 2);
      expect(await counters.values()).toEqual([0, 1]);
    }),
  );
});

test.each([
  [3, 1],
  [5, 1],
  [6, 1],
  [10, 2],
  [11, 2],
  [20, 2],
])(
  "of %i connections some are left beside %i for held bookings, whatever waits in lanes, among changes and in lists",
  (connections, forBookings) =>
    inPool({ connections }, async (pool) => {
      const { isOpen, letGo } = gate();
      const waiting = Array.from({ length: 10 }, (_, i) => [
        pool.transaction(() => isOpen),
        pool.transaction(() => isOpen, { lane: `${i}` }),
        pool.list(() => pool.prepared(() => isOpen, { ahead: true })),
      ]).flat();
      const bookings = Array.from({ length: forBookings }, () =>
        pool.prepared(() => isOpen, { ahead: true }),
      );
      await pool.prepared(async () => {}, { ahead: true });
      letGo();
      await Promise.all([...waiting, ...bookings]);
    }),
);
