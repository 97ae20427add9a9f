import { openDatabase, type Query, sqlState, violatedConstraint } from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import type { arrayLiteral, PreparedWork } from "../../lib/prepared";
import { type Counters, openCounters } from "../support/counters";
import { eventually } from "../support/eventually";

/** Transactions straight over the driver: what they promise, and what becomes of them when the server fails. */
const CONNECTIONS = 3;

let counters: Counters;
beforeAll(async () => {
  counters = await openCounters({ connections: CONNECTIONS });
});
beforeEach(() => counters.reset());
afterEach(() => counters.cable.mend());
afterAll(() => counters.remove());

const RAISE = "UPDATE counters SET value = value + 1 WHERE id = $id RETURNING id";
/** One statement in a transaction of its own. */
const rowsOf = (sql: string, bind: Record<string, unknown> = {}) =>
  counters.database.prepared(({ query }) => query(sql, bind));
/** More of them than there are connections: one that were not given back would be missing. */
const worksOn = async () => {
  const all = Array.from({ length: CONNECTIONS + 1 }, () => rowsOf("SELECT 1 AS one"));
  expect(await Promise.all(all)).toEqual(all.map(() => [{ one: 1 }]));
};
const unavailable = { type: ServiceUnavailable.code, data: { retryAfter: 1 } };

describe("A transaction", () => {
  test("commits when its work is done, and gives what that gave", async () => {
    const given = await counters.database.prepared(async ({ query }) => {
      await query(RAISE, { id: 1 });
      expect(await counters.values()).toEqual([0, 0]);
      return query(RAISE, { id: 2 });
    });
    expect(given).toEqual([{ id: 2 }]);
    expect(await counters.values()).toEqual([1, 1]);
  });

  test("rolls back whole when its work throws, and the error is the work's", async () => {
    for (let i = 0; i < CONNECTIONS * 2; i++) {
      const refused = counters.database.prepared(async ({ query }) => {
        await query(RAISE, { id: 1 });
        throw new Error("No");
      });
      await expect(refused).rejects.toThrow("No");
    }
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("rolls back whole when a statement is refused, and says which constraint did it", async () => {
    const refused = counters.database.prepared(async ({ query }) => {
      await query(RAISE, { id: 1 });
      await query("UPDATE counters SET value = $value WHERE id = $id", { id: 2, value: -1 });
    });
    const error = await refused.catch((reason: unknown) => reason);
    expect([sqlState(error), violatedConstraint(error)]).toEqual(["23514", "counters_positive"]);
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("is not taken for committed when its work has overlooked a failure", async () => {
    const careless = counters.database.prepared(async ({ query }) => {
      await query(RAISE, { id: 1 });
      await query("SELECT 1 / $zero::int", { zero: 0 }).catch(() => {});
      return "done";
    });
    await expect(careless).rejects.toThrow(/rolled back/);
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("that says it has written nothing leaves nothing behind", async () => {
    const given = await counters.database.prepared(async ({ query, nothingWritten }) => {
      nothingWritten();
      return query(RAISE, { id: 1 });
    });
    expect(given).toEqual([{ id: 1 }]);
    expect(await counters.values()).toEqual([0, 0]);
  });
});

describe("Statements that go together", () => {
  test("are run in their order, each after what those before it have done, and are committed", async () => {
    const given = await counters.database.prepared(async ({ query, together }) => {
      await together(() => query("SELECT id FROM counters ORDER BY id FOR UPDATE", {}));
      return together(() =>
        Promise.all([
          query(RAISE, { id: 1 }),
          query("SELECT value FROM counters WHERE id = $id", { id: 1 }),
          query(RAISE, { id: 2 }),
        ]),
      );
    });
    expect(given).toEqual([[{ id: 1 }], [{ value: 1 }], [{ id: 2 }]]);
    expect(await counters.values()).toEqual([1, 1]);
  });

  test("are of the transaction also when they are its first: what they lock stays locked", async () => {
    await counters.database.prepared(async ({ query, together }) => {
      await together(() => query("SELECT id FROM counters WHERE id = 1 FOR UPDATE", {}));
      const others = "SELECT id FROM counters ORDER BY id FOR UPDATE SKIP LOCKED";
      expect(await counters.server.query(others)).toEqual([{ id: 2 }]);
    });
  });

  test("are rolled back whole when one of them is refused, and the error is that one's", async () => {
    for (let i = 0; i < CONNECTIONS * 2; i++) {
      const refused = counters.database.prepared(({ query, together }) =>
        together(() =>
          Promise.all([
            query("SELECT value FROM counters FOR UPDATE", {}),
            query("UPDATE counters SET value = $value WHERE id = $id", { id: 2, value: -1 }),
            query(RAISE, { id: 1 }),
          ]),
        ),
      );
      const error = await refused.catch((reason: unknown) => reason);
      expect([sqlState(error), violatedConstraint(error)]).toEqual(["23514", "counters_positive"]);
    }
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });
});

describe("Commands that go with the COMMIT", () => {
  const NO_SUCH_VALUE = "UPDATE counters SET value = -1 WHERE id = $id";
  const raise = (id: number) => ({ sql: RAISE, bind: { id } });

  test("are committed, each after what those before it have done", async () => {
    const given = await counters.database.prepared(async ({ query, commit }) => {
      await query(RAISE, { id: 1 });
      await commit([
        raise(1),
        { sql: "UPDATE counters SET value = value * 5 WHERE id = 1", bind: {} },
      ]);
      expect(await counters.values()).toEqual([10, 0]);
      return "done";
    });
    expect(given).toBe("done");
    await worksOn();
  });

  test("may be the whole transaction, and may be none", async () => {
    await counters.database.prepared(({ commit }) => commit([raise(2)]));
    await counters.database.prepared(({ commit }) => commit([]));
    expect(await counters.values()).toEqual([0, 1]);
    await worksOn();
  });

  test("are rolled back whole when one is refused, and the error is what that one says", async () => {
    const commands = [
      raise(1),
      {
        sql: NO_SUCH_VALUE,
        bind: { id: 2 },
        explain: (error: unknown) => [violatedConstraint(error)],
      },
      { ...raise(2), explain: () => "not this one's" },
    ];
    for (let i = 0; i < CONNECTIONS * 2; i++) {
      const refused = counters.database.prepared(({ commit }) => commit(commands));
      await expect(refused).rejects.toEqual(["counters_positive"]);
    }
    const unexplained = counters.database.prepared(({ commit }) =>
      commit([{ sql: NO_SUCH_VALUE, bind: { id: 2 } }]),
    );
    expect(sqlState(await unexplained.catch((reason: unknown) => reason))).toBe("23514");
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("are not sent when one of them lacks a value", async () => {
    const refused = counters.database.prepared(async ({ query, commit }) => {
      await query(RAISE, { id: 1 });
      await commit([raise(1), { sql: RAISE, bind: {} }]);
    });
    await expect(refused).rejects.toThrow("No value for $id");
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("end the transaction: nothing can follow them", async () => {
    const followed = counters.database.prepared(async ({ query, commit }) => {
      await commit([raise(1)]);
      await query(RAISE, { id: 2 });
    });
    await expect(followed).rejects.toThrow("The transaction is committed already");
    expect(await counters.values()).toEqual([1, 0]);
    await worksOn();
  });

  test("leave it open what became of them when the connection breaks, and are said to be unavailable", async () => {
    const cut = counters.database.prepared(async ({ query, commit }) => {
      await query("SELECT 1", {});
      counters.cable.cut();
      await commit([raise(1)]);
    });
    await expect(cut).rejects.toMatchObject(unavailable);
    counters.cable.mend();
    expect(await counters.values()).toEqual([0, 0]);
    await eventually(worksOn);
  });
});

describe("Commands that are sent ahead of the COMMIT", () => {
  const RAISED = { sql: RAISE, bind: { id: 1 } };
  const REFUSED = {
    sql: "UPDATE counters SET value = -1 WHERE id = 2",
    bind: {},
    explain: (error: unknown) => [violatedConstraint(error)],
  };
  const begun = (query: Query) => query("SELECT 1", {});

  test("are run before those that go with it, and are committed with them", async () => {
    await counters.database.prepared(async ({ query, send, commit }) => {
      await begun(query);
      send([RAISED]);
      await commit([{ sql: "UPDATE counters SET value = value * 5 WHERE id = 1", bind: {} }]);
      expect(await counters.values()).toEqual([5, 0]);
    });
    await worksOn();
  });

  test("are at work while their transaction makes the rest ready", async () => {
    await counters.database.prepared(async ({ query, send, commit }) => {
      await begun(query);
      send([RAISED]);
      // Nobody waits for it, and all the same the row is held.
      await eventually(async () => {
        const free = "SELECT id FROM counters ORDER BY id FOR UPDATE SKIP LOCKED";
        expect(await counters.database.query(free)).toEqual([{ id: 2 }]);
      });
      await commit([]);
    });
    expect(await counters.values()).toEqual([1, 0]);
    await worksOn();
  });

  test("are rolled back whole when one of either is refused, and the error is what that one says", async () => {
    for (let i = 0; i < CONNECTIONS * 2; i++) {
      const ahead = counters.database.prepared(async ({ query, send, commit }) => {
        await begun(query);
        send([RAISED, REFUSED]);
        await commit([RAISED]);
      });
      await expect(ahead).rejects.toEqual(["counters_positive"]);
      const behind = counters.database.prepared(async ({ query, send, commit }) => {
        await begun(query);
        send([RAISED]);
        await commit([REFUSED]);
      });
      await expect(behind).rejects.toEqual(["counters_positive"]);
    }
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("are rolled back when the work throws behind them, whatever became of them", async () => {
    for (const command of [RAISED, REFUSED]) {
      const thrown = counters.database.prepared(async ({ query, send }) => {
        await begun(query);
        send([command]);
        throw new Error("no answer could be made");
      });
      await expect(thrown).rejects.toThrow("no answer could be made");
    }
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("are not committed when what was to go with it lacks a value, also when the work goes on", async () => {
    await counters.database.prepared(async ({ query, send, commit }) => {
      await begun(query);
      send([RAISED]);
      await expect(commit([{ sql: RAISE, bind: {} }])).rejects.toThrow("No value for $id");
    });
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("are not taken before the transaction has begun: they would stand on their own", async () => {
    const early = counters.database.prepared(async ({ send }) => send([RAISED]));
    await expect(early).rejects.toThrow("The transaction has not begun");
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("fail a transaction that does not ask what became of them", async () => {
    const overlooked = counters.database.prepared(async ({ query, send }) => {
      await begun(query);
      send([REFUSED]);
    });
    await expect(overlooked).rejects.toThrow("a statement had failed");
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });
});

describe("A statement", () => {
  test("takes its parameters by name: several times, with casts, null, or none at all", async () => {
    const sql =
      "SELECT $b::text AS b, $a::int AS a, $b::text || '!' AS loud, $gone::uuid AS gone, '$a''$b' AS quoted";
    const row = { b: "two", a: 1, loud: "two!", gone: null, quoted: "$a'$b" };
    expect(await rowsOf(sql, { a: 1, b: "two", gone: null, unused: 3 })).toEqual([row]);
    expect(await rowsOf("SELECT 'none' AS what")).toEqual([{ what: "none" }]);
    expect(await rowsOf("SELECT unnest($ids::int[]) AS id", { ids: [3, 4] })).toEqual([
      { id: 3 },
      { id: 4 },
    ]);
  });

  test("is refused without a value for each of them, and nothing is changed", async () => {
    const refused = counters.database.prepared(async ({ query }) => {
      await query(RAISE, { id: 1 });
      await query("UPDATE counters SET value = $value WHERE id = $id", { id: 2, value: undefined });
    });
    await expect(refused).rejects.toThrow(/No value for \$value/);
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("is prepared once for a connection, and each text for itself", async () => {
    const texts = ["SELECT $x::int + 10 AS sum", "SELECT $x::int + 20 AS sum"];
    const prepared = await counters.database.prepared(async ({ query }) => {
      for (const x of [1, 2, 3]) {
        for (const [i, text] of texts.entries()) {
          expect(await query(text, { x })).toEqual([{ sum: x + 10 * (i + 1) }]);
        }
      }
      return query<{ statement: string; runs: number }>(
        `SELECT statement, (generic_plans + custom_plans)::int AS runs FROM pg_prepared_statements
          WHERE statement LIKE '%AS sum' ORDER BY 1`,
        {},
      );
    });
    expect(prepared).toEqual([
      { statement: "SELECT $1::int + 10 AS sum", runs: 3 },
      { statement: "SELECT $1::int + 20 AS sum", runs: 3 },
    ]);
  });

  test("keeps its plan, however long the lists are that it is asked about", async () => {
    const runs = await counters.database.prepared(async ({ query }) => {
      for (let ids = 1; ids <= 10; ids++) {
        const asked = Array.from({ length: ids * 20 }, (_, i) => i);
        await query("SELECT id AS known FROM counters WHERE id = ANY ($ids::int[])", {
          ids: asked,
        });
      }
      return query(
        `SELECT generic_plans::int AS kept, custom_plans::int AS made FROM pg_prepared_statements
          WHERE statement LIKE '%AS known%' AND statement NOT LIKE '%pg_prepared%'`,
        {},
      );
    });
    expect(runs).toEqual([{ kept: 10, made: 0 }]);
  });

  test("stays usable after a transaction in which it failed", async () => {
    const sql = "SELECT 10 / $by::int AS share";
    await expect(rowsOf(sql, { by: 0 })).rejects.toMatchObject({ code: "22012" });
    for (let i = 0; i < CONNECTIONS; i++)
      expect(await rowsOf(sql, { by: 5 })).toEqual([{ share: 2 }]);
  });
});

describe("What lost against another transaction", () => {
  test("is repeated: of two in a deadlock both come through", async () => {
    let arrived = 0;
    let bothArrive = () => {};
    const both = new Promise<void>((resolve) => {
      bothArrive = resolve;
    });
    let attempts = 0;
    const counts = (first: number, second: number) =>
      counters.database.prepared(
        async ({ query }) => {
          attempts++;
          await query(RAISE, { id: first });
          arrived++;
          if (arrived === 2) bothArrive();
          await both;
          await query(RAISE, { id: second });
        },
        { ahead: true },
      );
    await Promise.all([counts(1, 2), counts(2, 1)]);
    expect(attempts).toBe(3);
    expect(await counters.values()).toEqual([2, 2]);
  });

  test("is given up after a few attempts, and the error is PostgreSQL's", async () => {
    await counters.server.query(
      `CREATE FUNCTION loses() RETURNS int LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$`,
    );
    let attempts = 0;
    const loser = counters.database.prepared(async ({ query }) => {
      attempts++;
      await query(RAISE, { id: 1 });
      await query("SELECT loses()", {});
    });
    await expect(loser).rejects.toMatchObject({ code: "40001" });
    expect(attempts).toBe(5);
    expect(await counters.values()).toEqual([0, 0]);
    await worksOn();
  });

  test("is not what the work itself throws: that is not repeated", async () => {
    let attempts = 0;
    const refused = counters.database.prepared(async () => {
      attempts++;
      throw new Error("No");
    });
    await expect(refused).rejects.toThrow("No");
    expect(attempts).toBe(1);
  });
});

describe("When the server fails", () => {
  const untilOthersAreGone = () =>
    eventually(async () => {
      const [{ count }] = await counters.server.query(
        "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
      );
      expect(count).toBe(0);
    });

  test.each<[string, () => unknown]>([
    ["the connection is cut", () => counters.cable.cut()],
    [
      "the server ends the connection",
      () =>
        counters.server.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ),
    ],
  ])(
    "in the middle, as %s, nothing is written and it is said to be unavailable",
    async (_, fails) => {
      const broken = counters.database.prepared(async ({ query }) => {
        await query(RAISE, { id: 1 });
        await fails();
        await untilOthersAreGone();
        await query(RAISE, { id: 2 });
      });
      await expect(broken).rejects.toMatchObject(unavailable);
      counters.cable.mend();
      expect(await counters.values()).toEqual([0, 0]);
      await eventually(worksOn);
    },
  );

  test("under a statement, nothing is written and it is said to be unavailable", async () => {
    const broken = counters.database.prepared(async ({ query }) => {
      await query(RAISE, { id: 1 });
      await query("SELECT pg_sleep($seconds)", { seconds: 30 });
    });
    const failure = expect(broken).rejects.toMatchObject(unavailable);
    await eventually(async () => {
      const sleeping = await counters.server.query(
        "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
      );
      expect(sleeping).toHaveLength(1);
    });
    counters.cable.cut();
    await failure;
    counters.cable.mend();
    await eventually(worksOn);
    // The server learns of it when it has something to say.
    await counters.server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
    );
    await eventually(async () => expect(await counters.values()).toEqual([0, 0]));
  });

  test("before it begins, it is said to be unavailable", async () => {
    await worksOn();
    counters.cable.cut();
    await expect(rowsOf("SELECT 1 AS one")).rejects.toMatchObject(unavailable);
    counters.cable.mend();
    await eventually(worksOn);
  });

  test("silently, the connection is given up and replaced", async () => {
    const impatient = openDatabase(counters.cable.url, { connections: 1, statementTimeoutMs: 200 });
    try {
      await impatient.prepared(({ query }) => query("SELECT 1 AS one", {}));
      const broken = impatient.prepared(async ({ query }) => {
        await query(RAISE, { id: 1 });
        counters.cable.silence();
        await query(RAISE, { id: 2 });
      });
      await expect(broken).rejects.toMatchObject(unavailable);
      // Now the server hears of it, too, and lets go of what the transaction held.
      counters.cable.cut();
      counters.cable.mend();
      const again = () => impatient.prepared(({ query }) => query("SELECT 1 AS one", {}));
      expect(await eventually(again)).toEqual([{ one: 1 }]);
      expect(await counters.values()).toEqual([0, 0]);
    } finally {
      await impatient.close();
    }
  });

  test("to give a lock in time, it is said to be unavailable, and why", async () => {
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let hold = () => {};
    const isHeld = new Promise<void>((resolve) => {
      hold = resolve;
    });
    const holder = counters.database.prepared(async ({ query, nothingWritten }) => {
      await query(RAISE, { id: 1 });
      nothingWritten();
      hold();
      await gate;
    });
    try {
      await isHeld;
      const late = await counters.database
        .prepared(
          async ({ query }) => {
            await query("SET LOCAL lock_timeout = '100ms'", {});
            await query(RAISE, { id: 1 });
          },
          { ahead: true },
        )
        .catch((error: unknown) => error);
      expect(late).toMatchObject(unavailable);
      expect(sqlState(late)).toBe("55P03");
    } finally {
      letGo();
      await holder;
    }
  });
});

describe("A statement that was prepared before a migration", () => {
  afterEach(() => counters.server.query("ALTER TABLE counters ALTER COLUMN value TYPE int"));

  test("gives what the table has now, on every connection", async () => {
    const read = () => rowsOf("SELECT value FROM counters WHERE id = $id", { id: 1 });
    const all = () => Promise.all(Array.from({ length: CONNECTIONS + 1 }, read));
    await all();
    await counters.server.query("ALTER TABLE counters ALTER COLUMN value TYPE bigint");
    for (const rows of await all()) expect(rows).toEqual([{ value: "0" }]);
    await worksOn();
  });

  const RETURNS = {
    sql: "UPDATE counters SET value = value + 1 WHERE id = 1 RETURNING value",
    bind: {},
  };
  test.each<[string, (work: PreparedWork) => Promise<void>]>([
    ["with the COMMIT", ({ commit }) => commit([RETURNS])],
    [
      "ahead of it",
      async ({ query, send, commit }) => {
        await query("SELECT 1", {});
        send([RETURNS]);
        await commit([]);
      },
    ],
  ])("that went %s is prepared anew", async (_how, work) => {
    const all = () =>
      Promise.all(Array.from({ length: CONNECTIONS + 1 }, () => counters.database.prepared(work)));
    await all();
    await counters.server.query("ALTER TABLE counters ALTER COLUMN value TYPE bigint");
    await all();
    expect(await counters.server.query("SELECT value::int FROM counters WHERE id = 1")).toEqual([
      { value: 2 * (CONNECTIONS + 1) },
    ]);
    await worksOn();
  });

  test("that was sent ahead of work that throws is not met again", async () => {
    const pidOf = ([row]: readonly object[]) => (row as { pid: number }).pid;
    /** Gives on which connection that was. */
    const throws = async () => {
      let pid = 0;
      const work = counters.database.prepared(async ({ query, send }) => {
        pid = pidOf(await query("SELECT pg_backend_pid() AS pid", {}));
        send([RETURNS]);
        throw new Error("no answer could be made");
      });
      await expect(work).rejects.toThrow("no answer could be made");
      return pid;
    };
    const all = <T>(one: () => Promise<T>) => Promise.all(Array.from({ length: CONNECTIONS }, one));
    const prepared = await all(throws);
    await counters.server.query("ALTER TABLE counters ALTER COLUMN value TYPE bigint");
    // A connection that comes in the place of another one has prepared nothing, and may stay.
    const met = (await all(throws)).filter((pid) => prepared.includes(pid));
    expect(met).not.toEqual([]);
    const rows = await all(() => rowsOf("SELECT pg_backend_pid() AS pid, pg_sleep(0.1)"));
    expect(rows.map(pidOf).filter((pid) => met.includes(pid))).toEqual([]);
    await worksOn();
  });
});

describe("A list for PostgreSQL", () => {
  /** The list as PostgreSQL has read it, element by element. */
  const read = async (type: string, values: Parameters<typeof arrayLiteral>[0]) => {
    const sql = `SELECT a.v::text AS v FROM unnest($values::${type}[]) WITH ORDINALITY AS a (v, n) ORDER BY n`;
    return (await rowsOf(sql, { values })).map((row) => (row as { v: string | null }).v);
  };

  test("holds every text as it is", async () => {
    const texts = [
      ...["", " ", "a b", " a ", "NULL", "null", "Null", "nulls", "a,b", "{}", "{a}", '"', '"a"'],
      ...[
        "\\",
        "\\x41",
        "a\\",
        '\\"',
        "\n",
        "\t",
        "\v",
        "\u0085",
        "\u00a0",
        "\u2028",
        "'",
        "$1",
        "%_",
      ],
      ...["K", "ſ", "é", "🎟️", "שלום", "01890000-0000-7000-8000-000000000000", "-", "+1", "1e3"],
    ];
    expect(await read("text", texts)).toEqual(texts);
  });

  test("holds numbers, times, bytes and nothing at all", async () => {
    expect(await read("int", [1, -1, 0])).toEqual(["1", "-1", "0"]);
    expect(await read("bytea", [Buffer.from([0, 92, 255]), Buffer.alloc(0)])).toEqual([
      "\\x005cff",
      "\\x",
    ]);
    const time = new Date("2027-02-03T04:05:06.789Z");
    const [asTime] = await rowsOf("SELECT ($values::timestamptz[])[1] AS at", { values: [time] });
    expect(asTime).toEqual({ at: time });
    expect(await read("text", [null, "a", null])).toEqual([null, "a", null]);
    expect(await read("text", [])).toEqual([]);
  });

  test.each([[undefined], [["a"]], [{ a: 1 }], [new Uint8Array([1])], [true]])(
    "refuses what it has no form for: %p",
    async (value) => {
      await expect(rowsOf("SELECT $values::text[] AS v", { values: [value] })).rejects.toThrow(
        "No value for an array",
      );
    },
  );
});

test("whoever goes ahead does not queue behind other changes", async () => {
  let letGo = () => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let begin = () => {};
  const hasBegun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const order: string[] = [];
  // With so few connections one change at a time is done.
  const first = counters.database.prepared(async () => {
    order.push("first begins");
    begin();
    await gate;
  });
  const second = counters.database.prepared(async () => {
    order.push("second begins");
  });
  await hasBegun;
  await counters.database.prepared(
    async () => {
      order.push("ahead begins");
    },
    { ahead: true },
  );
  expect(order).toEqual(["first begins", "ahead begins"]);
  letGo();
  await Promise.all([first, second]);
  expect(order).toEqual(["first begins", "ahead begins", "second begins"]);
});
