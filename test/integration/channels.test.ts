import type { OutboxEvent } from "../../lib/contract/outbox-event";
import { type Bind, type Database, openDatabase, type Query } from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import { leastIdAt, newId } from "../../lib/ids";
import {
  brokerAt,
  FIRST_ID,
  hear,
  IN_ORDER,
  LAST_ID,
  sweepOutbox,
  TAKE,
} from "../../mixins/channels";
import { routeOf } from "../../mixins/channels/route";
import { listUndelivered, replay } from "../../mixins/dead-letters";
import { writeOutbox } from "../../mixins/outbox";
import {
  CARRIER_URLS,
  type Carrier,
  carriersHere,
  ownNamespace,
  removeNamespace,
} from "../support/carriers";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { outboxEvent } from "../support/outbox-event";
import { silent } from "../support/silent";

/** Channels on a real database: what a consumer does is a row of `effects`, in the transaction in which it hears. */
const EVENT = "bookings.confirmed";

let database: TestDatabase;
let pool: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = openDatabase(database.url, { connections: 10 });
  await database.query("CREATE TABLE effects (consumer text NOT NULL, what text NOT NULL)");
});
afterAll(async () => {
  await pool?.close();
  await database?.drop();
});

let running: { stop(): Promise<void> }[] = [];
let carrier: Carrier;
let namespace: string;
/** Everybody whose queues a broker has. */
let consumers = new Set<string>();
beforeEach(() => {
  carrier = "PostgreSQL";
  namespace = ownNamespace();
});
afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()));
  running = [];
  const queues = [...consumers].map((consumer) => ({ consumer, event: EVENT }));
  await removeNamespace(carrier, namespace, queues);
  consumers = new Set();
  await database.query("TRUNCATE outbox, publications, inbox, undelivered, effects");
});

type Act = (what: string, query: Query) => Promise<void>;

/**
 * A node that runs a consumer.
 *
 * @param act what is done for one event beside its effect; may throw
 */
function startNode(
  name: string,
  {
    act = async () => {},
    all = [name],
    atOnce = 200,
    calls = false,
  }: { act?: Act; all?: string[]; atOnce?: number; calls?: boolean } = {},
) {
  const handle = async (payloads: readonly object[], query: Query) => {
    for (const { what } of payloads as { what: string }[]) {
      await query("INSERT INTO effects VALUES ($name, $what) RETURNING what", { name, what });
      await act(what, query);
    }
  };
  for (const one of all) consumers.add(one);
  const broker = brokerAt(CARRIER_URLS[carrier], namespace);
  const route = routeOf(pool, [[EVENT, all]], silent, broker);
  const handlers = new Map([[EVENT, handle]]);
  const consumer = { name, atOnce, calls, handlers, consumersOf: () => all };
  const hearing = hear(pool, consumer, silent, route.source);
  const node = {
    async stop() {
      await hearing.stop();
      await route.close();
    },
    /** Nobody is told, and what it does is never done. */
    async dies() {
      running = running.filter((one) => one !== node);
      await route.close();
    },
  };
  running.push(node);
  return node;
}

const write = (...events: OutboxEvent[]) =>
  pool.transaction((transaction) =>
    writeOutbox((sql, bind) => pool.query(sql, bind, transaction), events),
  );
const numbered = (size: number) =>
  Array.from({ length: size }, (_, i) => outboxEvent({ what: `${i}`.padStart(4, "0") }));
const whats = (size: number) => numbered(size).map(({ data }) => (data as { what: string }).what);

const left = async () =>
  (
    await database.query(
      `SELECT what FROM (SELECT id, data->>'what' AS what FROM outbox
                          UNION ALL SELECT id, data->>'what' FROM publications) AS events ORDER BY id`,
    )
  ).map(({ what }) => what);
const effectsOf = async (consumer: string) =>
  (
    await database.query("SELECT what FROM effects WHERE consumer = $1 ORDER BY what", [consumer])
  ).map(({ what }) => what);
const isThrough = () =>
  eventually(async () => {
    expect([await left(), await aside()]).toEqual([[], []]);
  });
/** What a broker takes for a message that it has already is published again in the end; here without waiting for that. */
const isThroughAtLast = () =>
  eventually(async () => {
    await database.query("UPDATE publications SET due_at = now()");
    expect(await left()).toEqual([]);
  });
const aside = () => database.query("SELECT consumer, attempts, error FROM undelivered");
/** Lets what is put aside be due now. */
const hasten = () => database.query("UPDATE undelivered SET next_try_at = now()");

describe.each(carriersHere())("By way of %s", (by) => {
  beforeEach(() => {
    carrier = by;
  });

  describe("Every consumer hears of every event once", () => {
    test("however many nodes share it, and the event goes when all have", async () => {
      const all = ["mail", "analytics"];
      for (const name of [...all, ...all]) startNode(name, { all, atOnce: 7 });
      for (let i = 0; i < 5; i++) {
        await write(...numbered(500).slice(i * 100, (i + 1) * 100));
      }
      await isThrough();
      for (const name of all) expect(await effectsOf(name)).toEqual(whats(500));
    });

    test("also one that was down while the others heard: nothing goes without it", async () => {
      const all = ["mail", "analytics"];
      startNode("mail", { all });
      await write(...numbered(50));
      await eventually(async () => expect(await effectsOf("mail")).toHaveLength(50));
      expect(await left()).toHaveLength(50);
      startNode("analytics", { all });
      await isThrough();
      for (const name of all) expect(await effectsOf(name)).toEqual(whats(50));
    });

    test("also where it is handed over again", async () => {
      startNode("mail");
      const events = numbered(20);
      await write(...events);
      await isThrough();
      await write(...events);
      running.push(sweepOutbox(pool, [[EVENT, ["mail"]]], silent, 0));
      await isThroughAtLast();
      expect(await effectsOf("mail")).toEqual(whats(20));
    });

    test("control: without an inbox it would be twice", async () => {
      startNode("mail");
      const events = numbered(20);
      await write(...events);
      await isThrough();
      await database.query("TRUNCATE inbox");
      await write(...events);
      await isThroughAtLast();
      expect(await effectsOf("mail")).toHaveLength(40);
    });

    test("also one that is cut off in the middle of handling", async () => {
      // The server ends the connection: nobody knows on the node whether anything was done.
      let cuts = 0;
      startNode("mail", {
        async act(what, query) {
          if (what !== "0010" || cuts++ > 0) return;
          await query("SELECT pg_terminate_backend(pg_backend_pid())", {});
        },
      });
      await write(...numbered(20));
      await eventually(async () => {
        await hasten();
        expect([await left(), await aside()]).toEqual([[], []]);
      });
      expect(cuts).toBeGreaterThan(0);
      expect(await effectsOf("mail")).toEqual(whats(20));
    });
  });

  describe("What cannot be handled", () => {
    test("leaves no effect, and keeps nobody waiting", async () => {
      startNode("mail", {
        async act(what) {
          if (what === "0007") throw new Error("Cannot be");
        },
      });
      await write(...numbered(20));
      await eventually(async () => expect(await left()).toEqual([]));
      expect(await effectsOf("mail")).toEqual(whats(20).filter((what) => what !== "0007"));
      expect(await aside()).toEqual([{ consumer: "mail", attempts: 1, error: "Error: Cannot be" }]);
    });

    test("is tried again, after longer each time, until it can be", async () => {
      let tries = 0;
      startNode("mail", {
        async act() {
          if (++tries < 4) throw new Error(`Try ${tries}`);
        },
      });
      await write(...numbered(1));
      const waits: number[] = [];
      for (const attempts of [1, 2, 3]) {
        await eventually(async () => {
          const [row] = await database.query(
            `SELECT attempts, error, (extract(epoch FROM next_try_at - now()) * 1000)::int AS ms FROM undelivered`,
          );
          expect(row).toMatchObject({ attempts, error: `Error: Try ${attempts}` });
          waits.push(Number(row?.ms));
        });
        await hasten();
      }
      await isThrough();
      expect(await effectsOf("mail")).toEqual(["0000"]);
      // A second, two, four, by half of that more or less; a little has passed when it is looked at.
      expect(waits[0]).toBeLessThanOrEqual(1_500);
      expect(waits[1]).toBeLessThanOrEqual(3_000);
      expect(waits[2]).toBeGreaterThan(1_000);
    });

    test("is dead in the end, and done once when it is replayed", async () => {
      let isBroken = true;
      startNode("mail", {
        async act() {
          if (isBroken) throw new Error("Broken");
        },
      });
      await write(...numbered(3));
      await eventually(async () => {
        await hasten();
        const dead = await listUndelivered(pool, { consumer: "mail", dead: true, most: 10 });
        expect(dead).toHaveLength(3);
      });
      const [first, ...others] = await listUndelivered(pool, { dead: true, most: 10 });
      expect(first).toMatchObject({
        ...{ consumer: "mail", name: EVENT, attempts: 12, error: "Error: Broken" },
        ...{ nextTryAt: null, deadAt: expect.any(String) },
      });
      expect(others).toHaveLength(2);
      expect(await listUndelivered(pool, { dead: false, most: 10 })).toEqual([]);
      // Dead is dead: it is not tried any more.
      await hasten();
      await new Promise((resolve) => setTimeout(resolve, 600));
      expect(await effectsOf("mail")).toEqual([]);

      isBroken = false;
      const eventId = first?.eventId ?? "";
      expect(await replay(pool, { consumer: "others" })).toBe(0);
      expect(await replay(pool, { consumer: "mail", eventId: newId() })).toBe(0);
      expect(await replay(pool, { consumer: "mail", eventId })).toBe(1);
      await eventually(async () => expect(await effectsOf("mail")).toHaveLength(1));
      expect(await replay(pool, { consumer: "mail" })).toBe(2);
      await isThrough();
      expect(await effectsOf("mail")).toEqual(whats(3));
    });

    test("by two nodes counts once for each try", async () => {
      const broken = { act: () => Promise.reject(new Error("Broken")) };
      startNode("mail", broken);
      startNode("mail", broken);
      await write(...numbered(1));
      for (let attempts = 1; attempts <= 6; attempts++) {
        await eventually(async () => expect((await aside())[0]?.attempts).toBe(attempts));
        await hasten();
      }
    });
  });

  describe("What a consumer calls others for", () => {
    test("is done without a transaction, one by one, and is nobody else's meanwhile", async () => {
      let open = 0;
      const act = async () => {
        await new Promise((resolve) => setTimeout(resolve, 60));
        const rows = await database.query(
          `SELECT FROM pg_stat_activity
          WHERE datname = current_database() AND state = 'idle in transaction'
            AND xact_start < now() - interval '50 ms'`,
        );
        open += rows.length;
      };
      const how = { calls: true, atOnce: 1, act };
      startNode("mail", how);
      startNode("mail", how);
      await write(...numbered(20));
      await isThrough();
      expect(await effectsOf("mail")).toEqual(whats(20));
      expect(open).toBe(0);
    });

    test("is tried for ever while others are away, and done when they are back", async () => {
      let isAway = true;
      startNode("mail", {
        calls: true,
        atOnce: 1,
        async act() {
          if (isAway) throw new ServiceUnavailable({ retryAfter: 1 });
        },
      });
      await write(...numbered(1));
      await eventually(async () => expect((await aside())[0]?.attempts).toBe(1));
      await database.query("UPDATE undelivered SET attempts = 50, next_try_at = now()");
      await eventually(async () => expect((await aside())[0]?.attempts).toBe(51));
      expect(await listUndelivered(pool, { dead: true, most: 10 })).toEqual([]);
      isAway = false;
      await hasten();
      await isThrough();
    });

    test("is taken up by another node when the one that does it dies", async () => {
      const dying = startNode("mail", { calls: true, atOnce: 1, act: () => new Promise(() => {}) });
      await write(...numbered(1));
      await eventually(async () => expect(await aside()).toHaveLength(1));
      await dying.dies();
      startNode("mail", { calls: true, atOnce: 1 });
      // Not before the other one may be taken for dead.
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      expect(await aside()).toHaveLength(1);
      await hasten();
      await isThrough();
    });
  });
});

test("Of 100,000 events that another consumer has still to hear of, the next ones are found at once", async () => {
  await database.query(`
    INSERT INTO outbox SELECT gen_random_uuid(), 'booking', 'confirmed', gen_random_uuid(), 1, now(), NULL,
           json_build_object('what', n::text) FROM generate_series(1, 100000) AS n`);
  const planOf = (take: string): Promise<string> =>
    pool.transaction(async (transaction) => {
      if (take === "in order") await pool.query(IN_ORDER, {}, transaction);
      const bind = { names: [EVENT, "events.created"], consumer: "mail", most: 200 };
      const part = { after: FIRST_ID, until: LAST_ID };
      const rows = await pool.query(
        `EXPLAIN (FORMAT JSON) ${TAKE}`,
        { ...bind, ...part },
        transaction,
      );
      return JSON.stringify(rows);
    });
  // As a table that has just grown, and with what is known of one that was small, or is large.
  for (const prepare of ["SELECT 1", "VACUUM ANALYZE outbox", "ANALYZE inbox"]) {
    await database.query(prepare);
    const plan = await planOf("in order");
    expect(plan).toContain("outbox_pkey");
    expect(plan).toContain("inbox_pkey");
    expect(plan).not.toMatch(/"(Sort|Seq Scan|Bitmap Heap Scan)"/);
  }
  // What is known of it now is not what it will be: with other figures the planner would sort.
  await database.query("DELETE FROM outbox WHERE random() < 0.999");
  await database.query("VACUUM ANALYZE outbox");
  expect(await planOf("as it likes")).toContain("Sort");
  expect(await planOf("in order")).not.toContain('"Sort"');
});

test("Old events that are new to a consumer are found among 12,000 of which it has heard, and new ones at once", async () => {
  const all = ["mail", "analytics"];
  // As they were made an hour ago and later, while the other consumer was down.
  const old = Array.from({ length: 12_001 }, (_, i) => ({
    ...outboxEvent({ what: `old ${i}` }),
    id: leastIdAt(new Date(Date.now() - 3_600_000 + i)),
  }));
  await write(...old);
  await database.query(
    `INSERT INTO inbox (consumer, event_id)
     SELECT 'mail', id FROM outbox WHERE data->>'what' NOT IN ('old 7', 'old 12000')`,
  );
  startNode("mail", { all });
  await eventually(async () => expect(await effectsOf("mail")).toEqual(["old 12000", "old 7"]));
  await write(outboxEvent({ what: "new" }));
  const writtenAt = performance.now();
  await eventually(async () => expect(await effectsOf("mail")).toContain("new"));
  expect(performance.now() - writtenAt).toBeLessThan(1_000);
  // What was committed long after its id was made.
  await write({
    ...outboxEvent({ what: "belated" }),
    id: leastIdAt(new Date(Date.now() - 600_000)),
  });
  await eventually(async () => expect(await effectsOf("mail")).toContain("belated"), 20_000);
}, 40_000);

test("Looks go over a large backlog of what was heard of in parts, and rest in between", async () => {
  const all = ["mail", "analytics"];
  await database.query(`
    INSERT INTO outbox SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'booking', 'confirmed',
           gen_random_uuid(), 1, now(), NULL, '{}' FROM generate_series(1, 20000) AS n`);
  await database.query("INSERT INTO inbox (consumer, event_id) SELECT 'mail', id FROM outbox");
  const walks: number[] = [];
  const counting: Database = {
    ...pool,
    query: async (sql: string, bind: Bind, transaction?: never) => {
      if (sql === TAKE) {
        const walked = "SELECT count(*)::int AS n FROM outbox WHERE id > $1 AND id <= $2";
        const [{ n }] = await database.query(walked, [bind.after, bind.until]);
        walks.push(n);
      }
      return pool.query(sql, bind, transaction);
    },
  } as Database;
  const handlers = new Map([[EVENT, async () => {}]]);
  const consumer = { name: "mail", atOnce: 200, handlers, consumersOf: () => all };
  running.push(hear(counting, consumer, silent));
  await eventually(async () => expect(walks.filter((n) => n > 0)).toHaveLength(4), 15_000);
  expect(Math.max(...walks)).toBeLessThanOrEqual(5_001);
  // In between it looks at what is new alone.
  expect(walks).toContain(0);
}, 30_000);

test("Nobody waits for what nobody hears of; what is not known stays for who does", async () => {
  const unheard = { ...outboxEvent({ what: "unheard" }), action: "sung" };
  const unknown = { ...outboxEvent({ what: "unknown" }), action: "danced" };
  const hearers = [
    ["bookings.sung", []],
    [EVENT, ["mail", "analytics"]],
  ] as const;
  running.push(sweepOutbox(pool, hearers, silent, 0));
  startNode("mail", { all: ["mail", "analytics"] });
  await write(unheard, unknown, outboxEvent({ what: "heard by one, the other is down" }));
  await eventually(async () => expect(await effectsOf("mail")).toHaveLength(1));
  await eventually(async () => expect(await left()).toHaveLength(2));
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(await left()).toEqual(["unknown", "heard by one, the other is down"]);
  // The other one does not hear of it in this version any more.
  running.push(sweepOutbox(pool, [[EVENT, ["mail"]]], silent, 0));
  await eventually(async () => expect(await left()).toEqual(["unknown"]));
});
