import { type AddressInfo, createServer } from "node:net";
import { type Database, openDatabase } from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import { type Counters, openCounters } from "../support/counters";
import { eventually } from "../support/eventually";
import { whileOpen } from "../support/transaction";

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

describe("A transaction in a lane", () => {
  /** A pool, and a way to raise one of the counters in it. */
  const inPool = async (
    parameters: string,
    work: (pool: Database, raise: (lane?: string) => Promise<unknown>) => Promise<void>,
  ): Promise<void> => {
    const pool = openDatabase(`${counters.server.url}${parameters}`, { connections: 10 });
    const raise = (lane?: string) =>
      pool.transaction(
        (transaction) =>
          pool.query(
            "UPDATE counters SET value = value + 1 WHERE id = 1 RETURNING id",
            {},
            transaction,
          ),
        lane === undefined ? {} : { lane },
      );
    try {
      await work(pool, raise);
    } finally {
      await pool.close();
    }
  };
  beforeEach(() => counters.reset());

  test("does not stand behind those that are in none", () =>
    inPool("", async (pool, raise) => {
      let letGo = () => {};
      const gate = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      const others = Array.from({ length: 30 }, () => pool.transaction(() => gate));
      await raise("one");
      letGo();
      await Promise.all(others);
      expect(await counters.values()).toEqual([1, 0]);
    }));

  test("waits for a row as long as anything does, and leaves its place to other lanes meanwhile", () =>
    inPool("?lock_timeout=20000", (pool, raise) =>
      whileOpen(
        counters.server,
        "SELECT FROM counters WHERE id = 1 FOR UPDATE",
        [],
        async (holder) => {
          const waiting = Array.from({ length: 5 }, (_, lane) => raise(`held ${lane}`));
          await holder.isWaitedFor(1);
          // Two places for lanes, five of which have to wait.
          await pool.transaction(() => answers(), { lane: "free" });
          expect(await counters.values()).toEqual([0, 0]);
          await holder.commits();
          await Promise.all(waiting);
          expect(await counters.values()).toEqual([5, 0]);
        },
      ),
    ));

  test.each(["", "?lock_timeout=3s", "?lock_timeout=0", "?lock_timeout=2500"])(
    "waits for some seconds and is refused then, with «%s» at the end of the database's address",
    (parameters) =>
      inPool(parameters, (_pool, raise) =>
        whileOpen(
          counters.server,
          "SELECT FROM counters WHERE id = 1 FOR UPDATE",
          [],
          async (holder) => {
            const refused = [raise("one"), raise("one")];
            await holder.isWaitedFor(1);
            // Whoever stands behind is refused with who came first.
            for (const one of refused) await expect(one).rejects.toMatchObject(unavailable);
          },
        ),
      ),
    15_000,
  );
});
