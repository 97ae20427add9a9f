import { Client } from "pg";
import { systemClock } from "../../lib/clock";
import { loadConfig } from "../../lib/config";
import { type Bind, type Database, openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { bookingBatches } from "../../services/bookings/bookings.batches";
import { eventsStore } from "../../services/events/events.store";
import { notificationsStore } from "../../services/notifications/notifications.store";
import { createTestDatabase, type TestDatabase } from "../support/database";

type EventsRequest = Parameters<ReturnType<typeof eventsStore>["list"]>[0];

const NOW = new Date("2030-06-01T12:00:00.000Z");
const EVENTS = 20_000;
/** A page has 21 rows with the one that tells whether there are more; what runs now is looked at as well. */
const FEW_ROWS = 500;

/** 20,000 events, an hour each and half an hour apart: half of them are over, two run now. */
const FILL = [
  `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
   VALUES ('01900000-0000-7000-8000-000000000001', 'Hanna', 'hanna@example.com', 'host', 'x', now(), now())`,
  `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags,
                       status, created_at, updated_at)
   SELECT gen_random_uuid(), '01900000-0000-7000-8000-000000000001', 'Evening ' || md5(n::text), begins,
          begins + interval '1 hour', 'UTC', 10, 0,
          CASE WHEN n % 4000 = 0 THEN array['rare'] ELSE array['common'] END, 'published', begins, begins
     FROM (SELECT n, '${NOW.toISOString()}'::timestamptz + (n - ${EVENTS / 2}) * interval '30 minutes' AS begins
             FROM generate_series(1, ${EVENTS}) n) numbered`,
  "VACUUM ANALYZE events",
];

interface PlanNode {
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  Plans?: PlanNode[];
}

/** Most rows that any step of the plan looked at. */
const mostRows = (node: PlanNode): number =>
  Math.max(
    (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"],
    ...(node.Plans ?? []).map(mostRows),
  );

let files: TestDatabase;
let database: Database;

beforeAll(async () => {
  files = await createTestDatabase();
  for (const statement of FILL) await files.query(statement);
  database = openDatabase(files.url, { connections: 5 });
});

afterAll(async () => {
  await database.close();
  await files.drop();
});

/** Rows that the database looks at to find a page; what counts the whole is bounded by its own limit. */
async function rowsLookedAt(request: Partial<EventsRequest>): Promise<number> {
  let page: { sql: string; bind: Bind | undefined } | undefined;
  const watched: Database = {
    ...database,
    query(sql, bind, transaction) {
      if (sql.includes("$list_limit")) page = { sql, bind };
      return database.query(sql, bind, transaction);
    },
  };
  await eventsStore(watched).list({ limit: 20, ...request }, NOW);
  if (!page) throw new Error("The list has asked for no page");
  return rowsOfPlan(page.sql, page.bind);
}

/** Runs a statement and gives the most rows that any step of its plan looked at. */
async function rowsOfPlan(sql: string, bind: Bind | undefined): Promise<number> {
  const [explained] = await database.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
    `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
    bind,
  );
  if (!explained) throw new Error("No plan came");
  return mostRows(explained["QUERY PLAN"][0].Plan);
}

/** What EXPLAIN (FORMAT JSON) has given. */
function planOf(explained: Record<string, unknown> | undefined): PlanNode {
  if (!explained) throw new Error("No plan came");
  const [{ Plan: plan }] = explained["QUERY PLAN"] as [{ Plan: PlanNode }];
  return plan;
}

/** Runs statements on one connection and takes back whatever they did. */
async function inTransaction<T>(
  work: (
    run: (sql: string, values?: unknown[]) => Promise<Record<string, unknown>[]>,
  ) => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString: files.url });
  await client.connect();
  try {
    await client.query("BEGIN");
    return await work(async (sql, values) => (await client.query(sql, values)).rows);
  } finally {
    await client.end();
  }
}

describe("a page of events is found without walking all of them", () => {
  it.each<[string, Partial<EventsRequest>]>([
    ["the front page", {}],
    ["the latest first", { sort: "createdAt", order: "desc" }],
    ["by title", { sort: "title", order: "asc" }],
    ["with seats left", { available: true }],
    ["with a tag that many have", { tag: "common" }],
    ["with a tag that few have", { tag: "rare" }],
    ["with a tag that none has", { tag: "none" }],
    ["with a word that none has", { q: "xyzzy" }],
  ])("%s", async (_name, request) => {
    expect(await rowsLookedAt(request)).toBeLessThan(FEW_ROWS);
  });

  it("and the measure shows a walk: a deep offset passes all that it skips", async () => {
    expect(await rowsLookedAt({ offset: 5_000 })).toBeGreaterThan(5_000);
  });
});

describe("notices for some people are written without reading all there are", () => {
  const PEOPLE = 20_000;
  const TOLD = 300;
  const notice = {
    type: "booking.confirmed" as const,
    title: "Booked",
    body: "You have a seat.",
    data: { eventId: null, bookingId: null, reason: null },
    eventId: null,
  };

  it("by the rows that their statement looks at", async () => {
    await files.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       SELECT gen_random_uuid(), 'Alice', md5(n::text) || '@example.com', 'attendee', 'x', now(), now()
         FROM generate_series(1, ${PEOPLE}) n`,
    );
    await files.query("VACUUM ANALYZE users");
    const people = await files.query(`SELECT id FROM users WHERE name = 'Alice' LIMIT ${TOLD}`);
    let statement: { sql: string; bind: Bind | undefined } | undefined;
    const watched: Database = {
      ...database,
      query(sql, bind, transaction) {
        statement = { sql, bind };
        return database.query(sql, bind, transaction);
      },
    };
    await notificationsStore(watched).add(
      people.map(({ id }) => id),
      newId(),
      notice,
      NOW,
    );
    expect(await files.query("SELECT count(*)::int AS told FROM notifications")).toEqual([
      { told: TOLD },
    ]);
    if (!statement) throw new Error("Nothing was written");
    expect(await rowsOfPlan(statement.sql, statement.bind)).toBeLessThanOrEqual(TOLD);
  });
});

describe("a batch of bookings is decided and written without reading what others have booked", () => {
  const BOOKED = 20_000;
  const ASKING = 60;
  const HOST = "01900000-0000-7000-8000-000000000001";

  /** An event with 20,000 bookings and another one without any. */
  const fill = async () => {
    const [full, empty] = [newId(), newId()];
    for (const id of [full, empty]) {
      await files.query(
        `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, status,
                             number_of_attendees, tags, created_at, updated_at)
         VALUES ($1::uuid, $2, 'Evening', now() + interval '1 day', now() + interval '2 days', 'UTC', 1000000, 0,
                 'published', CASE WHEN $1::uuid = $3::uuid THEN ${BOOKED} ELSE 0 END, '{}', now(), now())`,
        [id, HOST, full],
      );
    }
    await files.query(
      `WITH people AS (
         INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
         SELECT gen_random_uuid(), 'Cleo', 'cleo' || n || '@example.com', 'attendee', 'x', now(), now()
           FROM generate_series(1, ${BOOKED}) n RETURNING id)
       INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
       SELECT gen_random_uuid(), $1, id, $2, 1, 'confirmed', 0, now(), now() FROM people`,
      [full, HOST],
    );
    const people = await files.query(`SELECT id FROM users WHERE name = 'Cleo' LIMIT ${ASKING}`);
    return { full, empty, people: people.map(({ id }) => String(id)) };
  };

  /** A value as PostgreSQL writes it in a statement. */
  const literal = (value: unknown): string => {
    if (value === null || typeof value === "number" || typeof value === "boolean")
      return `${value}`;
    if (value instanceof Date) return `'${value.toISOString()}'`;
    if (!Array.isArray(value)) return `'${String(value).replaceAll("'", "''")}'`;
    const parts = value.map((part) => {
      if (part === null) return "NULL";
      const text = Buffer.isBuffer(part) ? `\\x${part.toString("hex")}` : String(part);
      return JSON.stringify(part instanceof Date ? part.toISOString() : text);
    });
    return `'{${parts.join(",").replaceAll("'", "''")}}'`;
  };

  it("by the plans that are kept for its statements, made while the tables were not yet analyzed", async () => {
    const { empty, people } = await fill();
    const statements: { sql: string; bind: Bind }[] = [];
    const watched: Database = {
      ...database,
      prepared: (work, options) =>
        database.prepared(
          ({ query, ...rest }) =>
            work({
              ...rest,
              query: (sql, bind) => {
                statements.push({ sql, bind });
                return query(sql, bind);
              },
            }),
          options,
        ),
    };
    const batches = bookingBatches(watched, systemClock, loadConfig({}));
    const ask = (userId: string, i: number) =>
      batches.submit({
        eventId: empty,
        userId,
        quantity: 1,
        key: { userId, key: `k${i}`, fingerprint: Buffer.from([i]) },
        requestId: null,
      });
    await Promise.all(people.map(ask));
    expect(statements.length).toBeGreaterThanOrEqual(6);

    const rows: Record<string, number> = {};
    for (const { sql, bind } of statements) {
      const names = [
        ...new Set([...sql.matchAll(/\$([a-zA-Z]\w*)/g)].map(([, name = ""]) => name)),
      ];
      const text = sql.replace(/\$([a-zA-Z]\w*)/g, (_, name) => `$${names.indexOf(name) + 1}`);
      // What is written is taken back first, or the statement would find its own rows.
      const [explained] = await inTransaction(async (run) => {
        await run("DELETE FROM idempotency_keys");
        await run("DELETE FROM bookings WHERE event_id = $1", [empty]);
        await run("DELETE FROM outbox");
        await run("SET LOCAL enable_seqscan = off");
        await run("SET LOCAL plan_cache_mode = force_generic_plan");
        await run(`PREPARE kept AS ${text}`);
        const values = names.map((name) => literal(bind[name])).join(", ");
        return run(`EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept(${values})`);
      });
      const what = sql.trim().replace(/\s+/g, " ").slice(0, 60);
      rows[what] = Math.max(rows[what] ?? 0, mostRows(planOf(explained)));
    }
    for (const [what, most] of Object.entries(rows)) {
      expect([what, most <= FEW_ROWS]).toEqual([what, true]);
    }
  });
});
