import bcrypt from "bcrypt";
import { openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { openForSteps, type Step, stepsOf } from "../../lib/steps";
import { migrations } from "../../migrations";
import { DEMO_USERS, demoLogins } from "../../seeders/0002-demo";
import { migrate, seed, undoMigrations, undoSeed } from "../../system";
import { type Catalog, catalogOf, columnsOf } from "../support/catalog";
import { type TestDatabase, withDatabase } from "../support/database";
import { defineAllModels } from "../support/models";

const NAMES = migrations.map(({ name }) => name);
const NEWEST_FIRST = [...NAMES].reverse();
const onBareDatabase = (work: (database: TestDatabase) => Promise<void>) => () =>
  withDatabase(work, { bare: true });

/** The catalog but for the table in which finished steps are noted, which stays on every way. */
function withoutJournal(catalog: Catalog): Catalog {
  const isJournal = /\bmigrations(_pkey|_name_not_null)?\b/;
  return Object.fromEntries(
    Object.entries(catalog).map(([kind, entries]: [string, string[]]) => [
      kind,
      entries.filter((entry) => !isJournal.test(entry)),
    ]),
    // The keys are those of the catalog.
  ) as unknown as Catalog;
}
const NOTHING: Catalog = {
  tables: [],
  columns: [],
  constraints: [],
  indexes: [],
  functions: [],
  triggers: [],
  types: [],
};

describe("Migrations", () => {
  test(
    "go up, all the way down, and up again to the very same",
    onBareDatabase(async (database) => {
      expect(await migrate(database.url)).toEqual(NAMES);
      const first = withoutJournal(await catalogOf(database));
      expect(first.tables.length).toBeGreaterThan(5);
      expect(first.functions.length).toBeGreaterThan(0);

      expect(await undoMigrations(database.url, { all: true })).toEqual(NEWEST_FIRST);
      expect(withoutJournal(await catalogOf(database))).toEqual(NOTHING);
      expect(await database.query("SELECT * FROM migrations")).toEqual([]);

      expect(await migrate(database.url)).toEqual(NAMES);
      expect(withoutJournal(await catalogOf(database))).toEqual(first);
    }),
  );

  test(
    "go down one at a time, each to what was there before it",
    onBareDatabase(async (database) => {
      const stepsDown = async () => {
        await migrate(database.url);
        const catalogs = [await catalogOf(database)];
        for (const name of NEWEST_FIRST) {
          expect(await undoMigrations(database.url)).toEqual([name]);
          catalogs.push(await catalogOf(database));
        }
        expect(await undoMigrations(database.url)).toEqual([]);
        return catalogs;
      };
      const catalogs = await stepsDown();
      for (const [i, catalog] of catalogs.slice(1).entries())
        expect(catalog).not.toEqual(catalogs[i]);
      expect(await stepsDown()).toEqual(catalogs);
    }),
  );

  test(
    "that have run do not run again",
    onBareDatabase(async (database) => {
      await migrate(database.url);
      expect(await migrate(database.url)).toEqual([]);
    }),
  );

  test(
    "of processes that start together run once, and all of them come through",
    onBareDatabase(async (database) => {
      const ran = await Promise.all([1, 2, 3].map(() => migrate(database.url)));
      expect(ran.flat()).toEqual(NAMES);
      expect(await database.query("SELECT name FROM migrations ORDER BY name")).toEqual(
        NAMES.map((name) => ({ name })),
      );
    }),
  );

  test(
    "that fail leave nothing of themselves behind and keep what went before; then they can be tried again",
    onBareDatabase(async (database) => {
      const pool = openForSteps(database.url);
      const steps = (second: string): Step[] => [
        { name: "0001-one", up: ["CREATE TABLE one ()"], down: ["DROP TABLE one"] },
        { name: "0002-two", up: ["CREATE TABLE two ()", second], down: ["DROP TABLE two"] },
      ];
      const tables = async () => (await catalogOf(database)).tables;
      const run = (second: string) => stepsOf(pool, "migrations", steps(second));
      try {
        await expect(run("CREATE NONSENSE").up()).rejects.toThrow(/0002-two/);
        expect(await tables()).toEqual(["r migrations", "r one"]);
        expect(await run("SELECT 1").up()).toEqual(["0002-two"]);
        expect(await tables()).toEqual(["r migrations", "r one", "r two"]);
      } finally {
        await pool.close();
      }
    }),
  );

  test("are numbered in the order in which they run", () => {
    expect([...NAMES].sort()).toEqual(NAMES);
    for (const [i, name] of NAMES.entries()) expect(Number(name.slice(0, 4))).toBe(i + 1);
  });
});

test("Times are kept in milliseconds, which is what a cursor can name exactly", () =>
  withDatabase(async (database) => {
    const times = (await columnsOf(database)).filter(({ type }) => type.startsWith("timestamp"));
    expect(times.length).toBeGreaterThan(10);
    expect([...new Set(times.map(({ type }) => type))]).toEqual(["timestamp(3) with time zone"]);
  }));

describe("Models", () => {
  /** Tables that are read and written with SQL alone. */
  const WITHOUT_MODEL = ["migrations", "seeders"];
  /** Columns that PostgreSQL computes and no model knows. */
  const GENERATED = ["events.search"];

  test(
    "would make the same columns as the migrations: names, types, nulls, defaults",
    onBareDatabase(async (modelled) => {
      const models = openDatabase(modelled.url, { connections: 1 });
      const tables = defineAllModels(models.sequelize);
      await models.sequelize.sync().finally(() => models.close());
      await withDatabase(async (migrated) => {
        const columns = await columnsOf(migrated);
        const generated = columns.filter((column) => column.generated);
        expect(generated.map(({ table, name }) => `${table}.${name}`)).toEqual(GENERATED);
        const others = [...new Set(columns.map(({ table }) => table))].filter(
          (table) => !tables.includes(table),
        );
        expect(others).toEqual(WITHOUT_MODEL);
        expect(await columnsOf(modelled)).toEqual(
          columns
            .filter((column) => tables.includes(column.table) && !column.generated)
            // Sequelize knows the precision of a time but does not tell PostgreSQL.
            .map((column) => ({
              ...column,
              type: column.type.replace("timestamp(3)", "timestamp"),
            })),
        );
      });
    }),
  );
});

describe("Seeders", () => {
  const all = { seedDemo: true };
  const demoRows = async (database: TestDatabase) => {
    const [row] = await database.query(
      `SELECT (SELECT count(*)::int FROM users WHERE email = ANY ($1)) AS users,
              (SELECT count(*)::int FROM events) AS events,
              (SELECT count(*)::int FROM bookings) AS bookings,
              (SELECT count(*)::int FROM tickets) AS tickets,
              (SELECT count(*)::int FROM notifications) AS notifications,
              (SELECT count(*)::int FROM available_events) AS catalogue`,
      [DEMO_USERS.map(({ email }) => email)],
    );
    return row;
  };
  const seeded = (work: (database: TestDatabase) => Promise<void>) =>
    onBareDatabase(async (database) => {
      await migrate(database.url);
      await work(database);
    });

  test(
    "fill the catalogue always and demo data where it is asked for, once",
    seeded(async (database) => {
      expect(await seed(database.url, { seedDemo: false })).toEqual(["0001-catalogue"]);
      expect(await demoRows(database)).toMatchObject({ users: 0, events: 0 });
      expect(await seed(database.url, all)).toEqual(["0002-demo"]);
      const rows = await demoRows(database);
      expect(rows.users).toBe(DEMO_USERS.length);
      expect(rows.events).toBeGreaterThan(0);
      expect(rows.catalogue).toBeGreaterThan(0);
      expect(await seed(database.url, all)).toEqual([]);
      expect(await demoRows(database)).toEqual(rows);
    }),
  );

  test(
    "can be undone, newest first, and run again",
    seeded(async (database) => {
      await seed(database.url, all);
      const rows = await demoRows(database);
      expect(await undoSeed(database.url)).toEqual(["0002-demo"]);
      expect(await demoRows(database)).toMatchObject({
        users: 0,
        events: 0,
        catalogue: rows.catalogue,
      });
      expect(await undoSeed(database.url)).toEqual(["0001-catalogue"]);
      expect(await demoRows(database)).toMatchObject({ catalogue: 0 });
      expect(await undoSeed(database.url)).toEqual([]);
      expect(await seed(database.url, all)).toEqual(["0001-catalogue", "0002-demo"]);
      expect(await demoRows(database)).toEqual(rows);
    }),
  );

  test(
    "leave an operator's own entry of the catalogue alone on the way up",
    seeded(async (database) => {
      await database.query(
        `INSERT INTO available_events
         VALUES ($1, 'CONCERT', 'Ours', 'Our own.', 7, 7, now(), now())`,
        [newId()],
      );
      await seed(database.url, all);
      const rows = await database.query(
        "SELECT name, category FROM available_events WHERE lower(name) = 'concert'",
      );
      expect(rows).toEqual([{ name: "CONCERT", category: "Ours" }]);
    }),
  );

  test(
    "take demo data back although people have used it, and leave everybody else's seats right",
    seeded(async (database) => {
      await seed(database.url, all);
      const { alice, hanna, realHost, realGuest } = await people(database);
      const ours = await eventOf(database, realHost);
      const [{ id: theirs }] = await database.query("SELECT id FROM events WHERE host_id = $1", [
        hanna,
      ]);
      await books(database, alice, ours, 3);
      await books(database, realGuest, ours, 2);
      await books(database, realGuest, theirs, 1);
      await books(database, alice, theirs, 1);

      expect(await undoSeed(database.url)).toEqual(["0002-demo"]);
      expect(await demoRows(database)).toMatchObject({
        users: 0,
        events: 1,
        bookings: 1,
        tickets: 2,
      });
      expect(await database.query("SELECT id, number_of_attendees FROM events")).toEqual([
        { id: ours, number_of_attendees: 2 },
      ]);
      expect(await database.query("SELECT user_id FROM bookings")).toEqual([
        { user_id: realGuest },
      ]);
      expect(await database.query("SELECT id FROM users ORDER BY id")).toEqual(
        [realHost, realGuest].sort().map((id) => ({ id })),
      );
      expect(await seed(database.url, all)).toEqual(["0002-demo"]);
    }),
  );

  test(
    "do not count seats that a demo attendee has given back already",
    seeded(async (database) => {
      await seed(database.url, all);
      const { alice, realHost } = await people(database);
      const ours = await eventOf(database, realHost);
      const booking = await books(database, alice, ours, 3);
      await database.query(
        `UPDATE bookings SET status = 'cancelled', cancel_reason = 'attendee' WHERE id = $1`,
        [booking],
      );
      await database.query("UPDATE events SET number_of_attendees = 0 WHERE id = $1", [ours]);
      await undoSeed(database.url);
      expect(await database.query("SELECT number_of_attendees FROM events")).toEqual([
        { number_of_attendees: 0 },
      ]);
    }),
  );

  test(
    "of the demo accounts those are told with which one can sign in",
    seeded(async (database) => {
      const logins = async () => {
        const opened = openForSteps(database.url);
        try {
          return (await demoLogins(opened.query)).map(({ username }) => username);
        } finally {
          await opened.close();
        }
      };
      expect(await logins()).toEqual([]);
      await seed(database.url, all);
      expect(await logins()).toEqual(DEMO_USERS.map(({ username }) => username));
      await database.query("UPDATE users SET password_hash = $1 WHERE username = 'alice'", [
        await bcrypt.hash("correct horse 1", 4),
      ]);
      await database.query(
        `UPDATE users SET deleted_at = now(), email = NULL, username = NULL, password_hash = NULL
          WHERE username = 'omar_host'`,
      );
      expect(await logins()).toEqual(["hanna_host", "ben"]);
    }),
  );

  /** Two of the demo's accounts, by their names, and two that are not of it. */
  async function people(database: TestDatabase) {
    const [realHost, realGuest] = [newId(), newId()];
    await database.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       VALUES ($1, 'Real host', 'host@example.org', 'host', 'x', now(), now()),
              ($2, 'Real guest', 'guest@example.org', 'attendee', 'x', now(), now())`,
      [realHost, realGuest],
    );
    const idOf = async (email: string): Promise<string> =>
      (await database.query("SELECT id FROM users WHERE email = $1", [email]))[0].id;
    const [hanna, alice] = [await idOf("hanna@demo.example"), await idOf("alice@demo.example")];
    return { realHost, realGuest, hanna, alice };
  }

  async function eventOf(database: TestDatabase, hostId: string): Promise<string> {
    const id = newId();
    await database.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price,
                           tags, status, created_at, updated_at)
       VALUES ($1, $2, 'Ours', now() + interval '1 day', now() + interval '2 days', 'UTC', 10, 0,
               '{}', 'published', now(), now())`,
      [id, hostId],
    );
    return id;
  }

  /** A booking with its tickets and its seats counted, as the booking transaction leaves it. */
  async function books(database: TestDatabase, userId: string, eventId: string, quantity: number) {
    const id = newId();
    await database.query(
      `INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
       SELECT $1, id, $3, host_id, $4, 'confirmed', 0, now(), now() FROM events WHERE id = $2`,
      [id, eventId, userId, quantity],
    );
    for (let seat = 0; seat < quantity; seat++) {
      await database.query("INSERT INTO tickets VALUES ($1, $2, $3, 'valid', now())", [
        newId(),
        id,
        newId(),
      ]);
    }
    await database.query(
      "UPDATE events SET number_of_attendees = number_of_attendees + $2 WHERE id = $1",
      [eventId, quantity],
    );
    return id;
  }
});
