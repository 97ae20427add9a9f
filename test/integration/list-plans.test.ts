import { Client } from "pg";
import { systemClock } from "../../lib/clock";
import { loadConfig } from "../../lib/config";
import { type Bind, type Database, openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { bookingBatches } from "../../services/bookings/bookings.batches";
import { bookingsStore } from "../../services/bookings/bookings.store";
import { eventsStore } from "../../services/events/events.store";
import { notificationsStore } from "../../services/notifications/notifications.store";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { outboxEvent } from "../support/outbox-event";

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
    const occurrenceId = newId();
    await notificationsStore(database).addEach(
      (sql, bind) => {
        // Nobody is held, so it is the only one.
        statement = { sql, bind };
        return database.query(sql, bind);
      },
      people.map(({ id }) => ({ userId: String(id), occurrenceId, notice })),
      NOW,
      () => outboxEvent(),
    );
    expect(await files.query("SELECT count(*)::int AS told FROM notifications")).toEqual([
      { told: TOLD },
    ]);
    if (!statement) throw new Error("Nothing was written");
    expect(await rowsOfPlan(statement.sql, statement.bind)).toBeLessThanOrEqual(TOLD);
  });
});

it("who fits on a waiting list is found without looking at all those who do not", async () => {
  const WAITING = 20_000;
  const [event] = await files.query("SELECT id FROM events WHERE title LIKE 'Evening %' LIMIT 1");
  const waiting = await files.query(
    `WITH people AS (
       INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       SELECT gen_random_uuid(), 'Waiting', gen_random_uuid() || '@example.com', 'attendee', 'x', now(), now()
         FROM generate_series(1, ${WAITING}) RETURNING id)
     INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
     SELECT gen_random_uuid(), $1, id, 2, now() FROM people RETURNING id`,
    [event?.id],
  );
  expect(waiting).toHaveLength(WAITING);
  await files.query(
    "UPDATE events SET number_of_attendees = capacity - 1, end_date_time = $2 WHERE id = $1",
    [event?.id, new Date(NOW.getTime() + 86_400_000)],
  );
  const asked: { sql: string; bind: Bind }[] = [];
  const watched: Database = {
    ...database,
    prepared: (work, options) =>
      database.prepared(({ query, ...rest }, lock) => {
        const noted: typeof query = (sql, bind) => {
          if (sql.includes("size.seats")) asked.push({ sql, bind });
          return query(sql, bind);
        };
        return work({ ...rest, query: noted }, lock);
      }, options),
  };
  const clock = { now: () => NOW };
  const store = bookingsStore(watched, clock, { waitlistOfferSeconds: 60 });
  expect(await store.tidyUpAll(String(event?.id))).toEqual({ expired: 0, promoted: 0 });
  const [question] = asked;
  if (!question) throw new Error("Nobody was looked for");
  // One for the greatest quantity, and one for each that may fit.
  expect(await rowsOfPlan(question.sql, question.bind)).toBeLessThanOrEqual(10);
});

describe("cancellations that broke off are found without walking those that came to their end", () => {
  const QUESTION = "cancelling_since <=";
  /** Rows looked at by the sweeper's question, when every event there is was cancelled and two are unfinished. */
  const lookedAt = async (prepare: string): Promise<number> => {
    let question: { sql: string; bind: Bind | undefined } | undefined;
    const watched: Database = {
      ...database,
      query(sql, bind, transaction) {
        if (sql.includes(QUESTION)) question = { sql, bind };
        return database.query(sql, bind, transaction);
      },
    };
    const store = bookingsStore(watched, systemClock, { waitlistOfferSeconds: 60 });
    await store.eventsCancellingSince(NOW, 100);
    if (!question) throw new Error("Nobody has asked");
    const names = Object.keys(question.bind ?? {});
    const text = question.sql.replace(/\$(\w+)/g, (_, name) => `$${names.indexOf(name) + 1}`);
    const { bind = {} } = question;
    const [explained] = await inTransaction(async (run) => {
      await run("UPDATE events SET status = 'cancelled'");
      await run(`UPDATE events SET cancelling_since = start_date_time - interval '1 year'
                  WHERE id IN (SELECT id FROM events LIMIT 2)`);
      await run(prepare);
      await run("ANALYZE events");
      return run(
        `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
        names.map((name) => bind[name]),
      );
    });
    return mostRows(planOf(explained));
  };

  it("by the rows that the question looks at", async () => {
    expect(await lookedAt("SELECT 1")).toBeLessThanOrEqual(2);
  });

  it("and the measure shows a walk where the index is missing", async () => {
    expect(await lookedAt("DROP INDEX events_cancelling")).toBeGreaterThanOrEqual(EVENTS);
  });
});

describe("a batch of bookings is decided and written without reading what others have booked", () => {
  const BOOKED = 20_000;
  const ASKING = 60;
  const HOST = "01900000-0000-7000-8000-000000000001";

  interface Statement {
    sql: string;
    bind: Bind;
  }

  const addEvent = async (): Promise<string> => {
    const id = newId();
    await files.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, status,
                           tags, created_at, updated_at)
       VALUES ($1, $2, 'Evening', now() + interval '1 day', now() + interval '2 days', 'UTC', 1000000, 0,
               'published', '{}', now(), now())`,
      [id, HOST],
    );
    return id;
  };

  const addPeople = async (name: string, size: number): Promise<string[]> => {
    const people = await files.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       SELECT gen_random_uuid(), $1, $1 || n || '@example.com', 'attendee', 'x', now(), now()
         FROM generate_series(1, $2::int) n RETURNING id`,
      [name, size],
    );
    return people.map(({ id }) => String(id));
  };

  const book = async (eventId: string, people: string[]): Promise<void> => {
    await files.query(
      `INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
       SELECT gen_random_uuid(), $1, id, $2, 1, 'confirmed', 0, now(), now() FROM unnest($3::uuid[]) id`,
      [eventId, HOST, people],
    );
    await files.query(
      "UPDATE events SET number_of_attendees = number_of_attendees + $2 WHERE id = $1",
      [eventId, people.length],
    );
  };

  /** What is asked of the database while a batch is booked. */
  const statementsOfBatch = async (eventId: string, people: string[]): Promise<Statement[]> => {
    const statements: Statement[] = [];
    const watched: Database = {
      ...database,
      prepared: (work, options) =>
        database.prepared(({ query, commit, ...rest }, lock) => {
          const noted: typeof rest & { query: typeof query; commit: typeof commit } = {
            ...rest,
            query: (sql, bind) => {
              statements.push({ sql, bind });
              return query(sql, bind);
            },
            commit: (commands) => {
              statements.push(...commands);
              return commit(commands);
            },
          };
          return work(noted, lock);
        }, options),
    };
    const batches = bookingBatches(watched, systemClock, loadConfig({}));
    const ask = (userId: string, i: number) =>
      batches.submit({
        eventId,
        userId,
        quantity: 1,
        key: { userId, key: `k${i}`, fingerprint: Buffer.from([i]) },
        requestId: null,
      });
    await Promise.all(people.map(ask));
    // It is taken back: who asks again must not find their own rows.
    await files.query("DELETE FROM idempotency_keys");
    await files.query("DELETE FROM tickets");
    await files.query("DELETE FROM bookings");
    await files.query("DELETE FROM outbox");
    await files.query("UPDATE events SET number_of_attendees = 0 WHERE id = $1", [eventId]);
    return statements;
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

  /** A connection on which statements are prepared as on those of the pool, and their plans kept. */
  class Kept {
    private readonly client = new Client({ connectionString: files.url });

    static async open(): Promise<Kept> {
      const kept = new Kept();
      await kept.client.connect();
      await kept.client.query("SET enable_seqscan = off");
      await kept.client.query("SET plan_cache_mode = force_generic_plan");
      return kept;
    }

    private readonly names = ({ sql }: Statement) => [
      ...new Set([...sql.matchAll(/\$([a-zA-Z]\w*)/g)].map(([, name = ""]) => name)),
    ];
    private readonly values = (statement: Statement) =>
      this.names(statement)
        .map((name) => literal(statement.bind[name]))
        .join(", ");

    /** Prepares a statement and makes the plan that is kept for it. */
    async plans(name: string, statement: Statement): Promise<void> {
      const names = this.names(statement);
      const text = statement.sql.replace(
        /\$([a-zA-Z]\w*)/g,
        (_, name) => `$${names.indexOf(name) + 1}`,
      );
      await this.client.query(`PREPARE ${name} AS ${text}`);
      await this.client.query(`EXPLAIN EXECUTE ${name}(${this.values(statement)})`);
    }

    /** The most rows that any step of the kept plan looks at; what it writes is taken back. */
    async rows(name: string, statement: Statement): Promise<number> {
      await this.client.query("BEGIN");
      try {
        const { rows } = await this.client.query(
          `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ${name}(${this.values(statement)})`,
        );
        return mostRows(planOf(rows[0]));
      } finally {
        await this.client.query("ROLLBACK");
      }
    }

    close = () => this.client.end();
  }

  const inWords = (sql: string) => sql.trim().replace(/\s+/g, " ").slice(0, 60);
  const asExists = (sql: string) =>
    sql.replace(
      /\(SELECT true (FROM (?:[^()]|\([^()]*\))*?) LIMIT 1\) IS NOT NULL/g,
      "EXISTS (SELECT 1 $1)",
    );

  let kept: Kept;
  let statements: Statement[];
  const control = (): Statement => {
    const standings = statements.find(({ sql }) => sql.includes("AS booked"));
    if (!standings) throw new Error("No batch has looked whether anybody has booked already");
    return { ...standings, sql: asExists(standings.sql) };
  };

  beforeAll(async () => {
    // Whoever analyzes a table has the plans made anew, which is what these connections must do without.
    for (const table of ["bookings", "idempotency_keys"]) {
      await files.query(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`);
    }
    const [full, empty] = [await addEvent(), await addEvent()];
    const people = await addPeople("dora", ASKING);
    statements = await statementsOfBatch(empty, people);
    kept = await Kept.open();
    await book(full, await addPeople("early", 5));
    for (const [i, statement] of statements.entries()) await kept.plans(`kept_${i}`, statement);
    await kept.plans("control", control());
    const cleos = await addPeople("cleo", BOOKED);
    await book(full, cleos);
    await files.query(
      `INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at)
       SELECT id, 'their own', '', '{}', now() FROM unnest($1::uuid[]) id`,
      [cleos],
    );
  });
  afterAll(() => kept.close());

  it("by the plans that were made for its statements when there were few bookings and keys, and are kept", async () => {
    expect(statements.length).toBeGreaterThanOrEqual(6);
    for (const [i, statement] of statements.entries()) {
      const most = await kept.rows(`kept_${i}`, statement);
      expect([inWords(statement.sql), most <= FEW_ROWS]).toEqual([inWords(statement.sql), true]);
    }
  });

  it("and the measure shows a walk: the plan kept for EXISTS reads every active booking", async () => {
    expect(control().sql.match(/EXISTS/g)).toHaveLength(3);
    expect(await kept.rows("control", control())).toBeGreaterThanOrEqual(BOOKED);
  });
});
