import { connect as connectAmqp } from "amqplib";
import type { Log } from "../../lib/contract/define";
import type { OutboxEvent } from "../../lib/contract/outbox-event";
import { type Bind, type Database, openDatabase, type Query } from "../../lib/database";
import { newId } from "../../lib/ids";
import { brokerAt, hear } from "../../mixins/channels";
import {
  CONFIRM,
  GIVE_BACK_LATE,
  LATE,
  publicationsIn,
} from "../../mixins/channels/brokers/publications";
import { routeOf } from "../../mixins/channels/route";
import { writeOutbox } from "../../mixins/outbox";
import { type Cable, cableTo } from "../support/cable";
import {
  brokersHere,
  CARRIER_URLS,
  type Carrier,
  carriersHere,
  type MessageBroker,
  ownNamespace,
  removeNamespace,
  smuggle,
} from "../support/carriers";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { outboxEvent } from "../support/outbox-event";
import { UnreliableDatabase } from "../support/unreliable-database";

/** Message brokers that go, come back and forget; what a consumer does is a row of `effects`. */
const CONFIRMED = "bookings.confirmed";
const CANCELLED = "bookings.cancelled";
const CONSUMERS = ["mail", "analytics"];
const HEARERS = [
  [CONFIRMED, CONSUMERS],
  [CANCELLED, CONSUMERS],
] as const;
const QUEUES = HEARERS.flatMap(([event, all]) => all.map((consumer) => ({ consumer, event })));

let database: TestDatabase;
let pool: Database;
const unreliable = new UnreliableDatabase();
beforeAll(async () => {
  database = await createTestDatabase();
  pool = unreliable.wrap(openDatabase(database.url, { connections: 10 }));
  await database.query(
    "CREATE TABLE effects (consumer text NOT NULL, what text NOT NULL, version int NOT NULL)",
  );
});
afterAll(async () => {
  await pool?.close();
  await database?.drop();
});

let carrier: Carrier;
let namespace: string;
let cable: Cable | undefined;
let running: { stop(): Promise<void> }[] = [];
let lines: string[] = [];
const line = (...words: unknown[]) => void lines.push(words.map(String).join(" "));
const log: Log = { debug() {}, info: line, warn: line, error: line };

beforeEach(() => {
  namespace = ownNamespace();
  lines = [];
});
afterEach(async () => {
  unreliable.works();
  await Promise.all(running.map((one) => one.stop()));
  running = [];
  await cable?.remove();
  cable = undefined;
  await removeNamespace(carrier, namespace, QUEUES);
  await database.query("TRUNCATE outbox, publications, inbox, undelivered, effects");
});

type Act = (what: string, name: string) => Promise<void>;

interface NodeOptions {
  act?: Act;
  /** Names of events that are heard of by turns of their own. */
  kinds?: { names: string[]; atOnce: number }[];
  /** Of the broker, where it is not its own. */
  url?: string;
}

/** A node that runs one consumer, or none and only publishes. */
function startNode(
  consumer: string | undefined,
  { act = async () => {}, kinds, url = CARRIER_URLS[carrier] }: NodeOptions = {},
) {
  const route = routeOf(pool, HEARERS, log, brokerAt(url, namespace));
  const handler = (name: string) => async (payloads: readonly object[], query: Query) => {
    for (const { what, version } of payloads as { what: string; version: number }[]) {
      await query("INSERT INTO effects VALUES ($consumer, $what, $version) RETURNING what", {
        ...{ consumer, what, version },
      });
      await act(what, name);
    }
  };
  const hearing = (consumer ? (kinds ?? [{ names: [CONFIRMED, CANCELLED], atOnce: 200 }]) : []).map(
    ({ names, atOnce }) => {
      const handlers = new Map(names.map((name) => [name, handler(name)] as const));
      const how = { name: consumer ?? "", atOnce, handlers, consumersOf: () => CONSUMERS };
      return hear(pool, how, log, route.source);
    },
  );
  const node = {
    async stop() {
      running = running.filter((one) => one !== node);
      await Promise.all(hearing.map((one) => one.stop()));
      await route.close();
    },
  };
  running.push(node);
  return node;
}

const numbered = (size: number, first = 0) =>
  Array.from({ length: size }, (_, i) => outboxEvent({ what: `${first + i}`.padStart(4, "0") }));
const whats = (size: number) => numbered(size).map(({ data }) => (data as { what: string }).what);
const write = (...events: OutboxEvent[]) =>
  pool.transaction((transaction) =>
    writeOutbox((sql, bind) => pool.query(sql, bind, transaction), events),
  );
const effectsOf = async (consumer: string): Promise<string[]> => {
  const sql = "SELECT what FROM effects WHERE consumer = $1 ORDER BY what";
  return (await database.query(sql, [consumer])).map(({ what }) => what);
};
const counts = async (): Promise<{ outbox: number; publications: number; aside: number }> => {
  const [row] = await database.query(
    `SELECT (SELECT count(*) FROM outbox)::int AS outbox, (SELECT count(*) FROM publications)::int AS publications,
            (SELECT count(*) FROM undelivered)::int AS aside`,
  );
  return row;
};
/** What was published long ago, or never was, is due now. */
const timePasses = () => database.query("UPDATE publications SET due_at = now()");
const isThrough = (withinMs?: number) =>
  eventually(
    async () => expect(await counts()).toEqual({ outbox: 0, publications: 0, aside: 0 }),
    withinMs,
  );
const heardOnce = async (size: number) => {
  for (const name of CONSUMERS) expect(await effectsOf(name)).toEqual(whats(size));
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const wired = async (by: MessageBroker): Promise<Cable> => {
  cable = await cableTo(CARRIER_URLS[by]);
  return cable;
};

describe.each(carriersHere())("By way of %s", (by) => {
  beforeEach(() => {
    carrier = by;
  });

  test("a consumer sees by the version what is early or old", async () => {
    startNode("mail");
    startNode("analytics");
    const aggregateId = newId();
    for (const aggregateVersion of [3, 1, 2]) {
      await write({ ...outboxEvent({ what: "seats" }), aggregateId, aggregateVersion });
    }
    await isThrough();
    const rows = await database.query(
      "SELECT version FROM effects WHERE consumer = 'mail' ORDER BY version",
    );
    expect(rows).toEqual([{ version: 1 }, { version: 2 }, { version: 3 }]);
  });

  test("who is slow keeps neither another consumer waiting nor what it hears otherwise", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    startNode("mail", {
      kinds: [
        { names: [CONFIRMED], atOnce: 1 },
        { names: [CANCELLED], atOnce: 200 },
      ],
      act: (_what, name) => (name === CONFIRMED ? held : Promise.resolve()),
    });
    startNode("analytics");
    await write(...numbered(30), { ...outboxEvent({ what: "cancelled" }), action: "cancelled" });
    await eventually(async () => {
      // All but the one that is in its hands, which on PostgreSQL nobody else has meanwhile.
      expect((await effectsOf("analytics")).length).toBeGreaterThanOrEqual(30);
      expect(await effectsOf("mail")).toEqual(["cancelled"]);
    });
    release();
    await isThrough();
    expect(await effectsOf("mail")).toHaveLength(31);
  });

  test("who was down hears of all that happened meanwhile", async () => {
    startNode("analytics");
    await write(...numbered(1_000));
    await eventually(async () => expect(await effectsOf("analytics")).toHaveLength(1_000));
    startNode("mail");
    startNode("mail");
    await isThrough();
    await heardOnce(1_000);
  });
});

describe.each(brokersHere())("%s", (by) => {
  beforeEach(() => {
    carrier = by;
  });

  test("may be away at the start: what happens is kept, one line says so, and it goes on by itself", async () => {
    const { url, cut, mend } = await wired(by);
    cut();
    for (const name of CONSUMERS) startNode(name, { url });
    await write(...numbered(20));
    await pause(1_500);
    expect(await counts()).toEqual({ outbox: 20, publications: 0, aside: 0 });
    const complaints = lines.filter((words) => words.includes("No connection"));
    // One for each node.
    expect(complaints).toHaveLength(2);
    expect(complaints[0]).toContain("CHANNELS_URL");
    expect(complaints[0]).not.toContain("guest:");
    mend();
    await isThrough();
    await heardOnce(20);
    expect(lines.filter((words) => words.startsWith("Connected"))).toHaveLength(2);
  });

  test("may go in the middle of 1,000 events, again and again", async () => {
    const { url, cut, mend } = await wired(by);
    for (const name of [...CONSUMERS, ...CONSUMERS]) startNode(name, { url });
    await eventually(async () => expect(lines).toHaveLength(4));
    for (let i = 0; i < 10; i++) {
      await write(...numbered(100, i * 100));
      if (i % 3 === 1) cut();
      await pause(60);
      if (i % 3 === 2) mend();
    }
    mend();
    // What was in the hands of those that were cut off.
    await eventually(async () => {
      await timePasses();
      await pause(1_000);
      expect(await counts()).toEqual({ outbox: 0, publications: 0, aside: 0 });
    }, 60_000);
    await heardOnce(1_000);
  }, 90_000);

  test("may fall silent: a node stops all the same", async () => {
    const { url, silence } = await wired(by);
    const nodes = CONSUMERS.map((name) => startNode(name, { url }));
    await write(...numbered(10));
    await isThrough();
    silence();
    await write(...numbered(10, 10));
    await pause(300);
    const startedAt = performance.now();
    await Promise.all(nodes.map((node) => node.stop()));
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    // Whatever it was in the middle of, what was not heard of is still there.
    const kept = await database.query(
      "SELECT data->>'what' AS what FROM outbox UNION SELECT data->>'what' FROM publications",
    );
    const keptOrHeard = async (name: string) =>
      [...new Set([...kept.map(({ what }) => what), ...(await effectsOf(name))])].sort();
    for (const name of CONSUMERS) expect(await keptOrHeard(name)).toEqual(whats(20));
  });

  test("is given again what a node had published that died before it noted so", async () => {
    unreliable.fails(/SET confirmed = true/, new Error("The node is gone"));
    const dying = startNode(undefined);
    await write(...numbered(50));
    await eventually(async () =>
      expect(await counts()).toEqual({ outbox: 0, publications: 50, aside: 0 }),
    );
    await eventually(async () => expect(lines.join()).toContain("could not be published"));
    await dying.stop();
    unreliable.works();
    // Nobody knows that the broker has them: they are published once more.
    await timePasses();
    startNode("mail");
    startNode("analytics");
    await isThrough(30_000);
    await heardOnce(50);
  }, 60_000);

  test("is given what a node had taken over that died before it published it", async () => {
    await write(...numbered(50));
    await publicationsIn(pool).claim([CONFIRMED], 50);
    expect(await counts()).toMatchObject({ outbox: 0, publications: 50 });
    startNode("mail");
    startNode("analytics");
    // Not while that node may still be about to.
    await pause(1_000);
    expect(await effectsOf("mail")).toEqual([]);
    await timePasses();
    await isThrough(30_000);
    await heardOnce(50);
  }, 60_000);

  test("sends again what was done and not acknowledged, and it is not done again", async () => {
    const { url, cut, mend } = await wired(by);
    startNode("analytics");
    let isCut = false;
    startNode("mail", {
      url,
      async act() {
        // Between the effect and the acknowledgement.
        if (!isCut) cut();
        isCut = true;
      },
    });
    await write(...numbered(30));
    await eventually(async () => expect(await effectsOf("mail")).toHaveLength(30));
    mend();
    await write(...numbered(5, 30));
    await isThrough(60_000);
    await heardOnce(35);
  }, 90_000);

  test("may lose all that it has: it is published again", async () => {
    const publishing = startNode(undefined);
    await write(...numbered(40));
    await eventually(async () => {
      const rows = await database.query("SELECT FROM publications WHERE confirmed");
      expect(rows).toHaveLength(40);
    });
    await removeNamespace(by, namespace, QUEUES);
    // As after any such loss, the nodes connect again.
    await publishing.stop();
    for (const name of CONSUMERS) startNode(name);
    await timePasses();
    await isThrough(30_000);
    await heardOnce(40);
  }, 60_000);

  test("may lose its queues while everybody is connected", async () => {
    for (const name of CONSUMERS) startNode(name);
    await write(...numbered(10));
    await isThrough();
    await removeNamespace(by, namespace, QUEUES);
    await write(...numbered(10, 10));
    await eventually(async () => {
      await timePasses();
      await pause(1_000);
      expect(await counts()).toEqual({ outbox: 0, publications: 0, aside: 0 });
    }, 60_000);
    await heardOnce(20);
  }, 90_000);

  test("may lose its queues while nobody hears: they are declared again, and it is given all again", async () => {
    startNode(undefined);
    await write(...numbered(10));
    await eventually(async () => {
      const rows = await database.query("SELECT FROM publications WHERE confirmed");
      expect(rows).toHaveLength(10);
    });
    await removeNamespace(by, namespace, QUEUES);
    await timePasses();
    await eventually(async () => {
      expect(lines.filter((words) => words.startsWith("Connected"))).toHaveLength(2);
    }, 15_000);
    await eventually(async () => {
      await timePasses();
      expect(lines.join()).toContain("10 events that nobody has heard of are published again");
    }, 15_000);
  }, 40_000);

  test("may fall silent while it is asked what waits: a node stops all the same", async () => {
    const { url, silence } = await wired(by);
    const node = startNode(undefined, { url });
    await write(...numbered(10));
    await eventually(async () => {
      const rows = await database.query("SELECT FROM publications WHERE confirmed");
      expect(rows).toHaveLength(10);
    });
    silence();
    await timePasses();
    // It asks every five seconds.
    await pause(5_500);
    const startedAt = performance.now();
    await node.stop();
    expect(performance.now() - startedAt).toBeLessThan(8_000);
  }, 30_000);

  test("does not publish what waits in its queues once more, however long that takes", async () => {
    const publishing = startNode("analytics");
    await write(...numbered(40));
    await eventually(async () => expect(await effectsOf("analytics")).toHaveLength(40));
    await timePasses();
    // It looks every five seconds.
    await pause(6_000);
    expect(await counts()).toMatchObject({ outbox: 0, publications: 40 });
    expect(lines.join()).not.toContain("published again");
    await publishing.stop();
    startNode("analytics");
    startNode("mail");
    await isThrough();
    await heardOnce(40);
  });

  test("messages that are no events are told of, and keep nobody waiting", async () => {
    startNode("mail");
    startNode("analytics");
    await write(...numbered(1));
    await isThrough();
    const event = outboxEvent({ what: "smuggled" });
    const bodies = [
      ...["", "{", "null", "[]", "7", '"text"', "{}", "\u0000\u00ff"],
      ...[
        { id: "1" },
        { id: null },
        { type: 1 },
        { action: {} },
        { aggregateId: "x" },
        { aggregateVersion: 0 },
        { aggregateVersion: "1" },
        { aggregateVersion: 1.5 },
        { occurredAt: "yesterday" },
        { occurredAt: 7 },
        { correlationId: 5 },
        { data: [] },
        { data: null },
        { action: "cancelled" },
      ].map((wrong) => JSON.stringify({ ...event, ...wrong })),
    ];
    for (const body of bodies) await smuggle(by, namespace, CONFIRMED, body);
    await eventually(async () => {
      const told = lines.filter((words) => words.includes("is no event"));
      expect(told).toHaveLength(2 * bodies.length);
    });
    await write(...numbered(3, 1));
    await isThrough();
    await heardOnce(4);
  });

  test("leaves in the outbox what this version knows nothing of", async () => {
    startNode("mail");
    startNode("analytics");
    await write({ ...outboxEvent({ what: "unknown" }), action: "danced" }, ...numbered(3));
    await eventually(async () => expect(await effectsOf("mail")).toHaveLength(3));
    await eventually(async () => expect(await counts()).toMatchObject({ publications: 0 }));
    expect(await counts()).toMatchObject({ outbox: 1 });
  });

  test("can be done without again: what it had is taken back", async () => {
    const publishing = startNode(undefined);
    await write(...numbered(40));
    await eventually(async () => expect(await counts()).toMatchObject({ publications: 40 }));
    await publishing.stop();
    await timePasses();
    for (const name of CONSUMERS) startNode(name, { url: CARRIER_URLS.PostgreSQL });
    await isThrough();
    await heardOnce(40);
  });
});

// Of RabbitMQ alone; where none answers the run says aloud at its start that channels are not tested over it.
const onRabbitMq = brokersHere().includes("RabbitMQ") ? test : test.skip;
onRabbitMq("RabbitMQ with a full queue refuses an event, and the session goes on", async () => {
  carrier = "RabbitMQ";
  const session = await brokerAt(CARRIER_URLS.RabbitMQ, namespace)?.open(QUEUES);
  if (!session) throw new Error("There is no message broker for it");
  const full = `${namespace}.full`;
  const connection = await connectAmqp(CARRIER_URLS.RabbitMQ);
  try {
    const channel = await connection.createChannel();
    const limits = { "x-max-length": 1, "x-overflow": "reject-publish" };
    await channel.assertQueue(full, { arguments: limits });
    await channel.bindQueue(full, `${namespace}.channels`, CONFIRMED);
    const publish = () =>
      session.publish({ id: newId(), event: CONFIRMED, body: Buffer.from("{}") });
    await publish();
    await expect(publish()).rejects.toThrow("nacked");
    await channel.deleteQueue(full);
    await publish();
    const isOver = session.ended.then(() => true);
    expect(await Promise.race([isOver, pause(200)])).toBeUndefined();
  } finally {
    await connection.close();
    await session.close();
  }
});

test("That the broker has an event is noted also where a consumer just holds it", async () => {
  carrier = "PostgreSQL";
  const event = outboxEvent({ what: "held" });
  await write(event);
  const publications = publicationsIn(pool);
  await publications.claim([CONFIRMED], 1);
  let confirming = Promise.resolve();
  await pool.transaction(async (transaction) => {
    await pool.query("SELECT id FROM publications FOR UPDATE", {}, transaction);
    confirming = publications.confirm([event.id]);
    await pause(300);
  });
  await confirming;
  expect(await database.query("SELECT confirmed FROM publications")).toEqual([{ confirmed: true }]);
});

test("Of 100,000 events that wait for who is down, what is late of another name, and what is published, is found at once", async () => {
  carrier = "PostgreSQL";
  await database.query(`
    INSERT INTO publications
    SELECT gen_random_uuid(), 'booking', 'confirmed', gen_random_uuid(), 1, now(), NULL, '{}', true, now()
      FROM generate_series(1, 100000)`);
  // As a table that has just grown, and with what is known of it.
  for (const prepare of ["SELECT 1", "VACUUM ANALYZE publications"]) {
    await database.query(prepare);
    const planOf = async (sql: string, bind: Bind) =>
      JSON.stringify(await pool.query(`EXPLAIN (FORMAT JSON) ${sql}`, bind));
    const names = [CANCELLED, "events.created"];
    const ids = Array.from({ length: 500 }, () => newId());
    const plans = await Promise.all([
      planOf(LATE, { names }),
      planOf(GIVE_BACK_LATE, { names }),
      planOf(CONFIRM, { ids, againMs: 1 }),
    ]);
    for (const plan of plans) expect(plan).not.toContain('"Seq Scan"');
    expect(plans[0]).toContain("publications_late");
    expect(plans[1]).toContain("publications_late");
  }
});
