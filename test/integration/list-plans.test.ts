import { type Bind, type Database, openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
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
