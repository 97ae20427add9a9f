import bcrypt from "bcrypt";
import { openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { openForSteps, type Step, stepsOf } from "../../lib/steps";
import { migrations } from "../../migrations";
import { DEMO_USERS, demoLogins } from "../../seeders/0002-demo";
import { migrate, seed, undoMigrations, undoSeed } from "../../system";
import { type Catalog, type Column, catalogOf, columnsOf } from "../support/catalog";
import { createTestDatabase, type TestDatabase, withDatabase } from "../support/database";
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

  test(
    "find the cancellations that were broken off, or left people waiting, before anybody took them up",
    onBareDatabase(async (database) => {
      await migrate(database.url);
      while ((await undoMigrations(database.url))[0] !== "0008-cancellations");
      const host = newId();
      await database.query(
        `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
         VALUES ($1, 'Hanna', 'hanna@example.org', 'host', 'x', now(), now())`,
        [host],
      );
      await database.query(
        `INSERT INTO events (id, host_id, title, status, number_of_attendees, start_date_time, end_date_time,
                             time_zone, capacity, price, tags, created_at, updated_at)
         SELECT gen_random_uuid(), $1, title, status, seats, now(), now() + interval '1 day', 'UTC', 10, 0, '{}',
                now(), now()
           FROM (VALUES ('booked', 'cancelled', 1), ('waited for', 'cancelled', 0), ('ended', 'cancelled', 0),
                        ('on', 'published', 1)) AS made (title, status, seats)`,
        [host],
      );
      await database.query(
        `INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
         SELECT gen_random_uuid(), id, host_id, 1, now() FROM events WHERE title IN ('waited for', 'on')`,
      );
      await migrate(database.url);
      const unfinished = await database.query(
        "SELECT title FROM events WHERE cancelling_since IS NOT NULL ORDER BY title",
      );
      expect(unfinished.map(({ title }) => title)).toEqual(["booked", "waited for"]);
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

describe("What no row may be, whoever writes it", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    const [host, user, event, booking, ticket] = Array.from({ length: 5 }, newId);
    await database.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       VALUES ($1, 'Hanna', 'hanna@example.org', 'host', 'x', now(), now()),
              ($2, 'Alice', 'alice@example.org', 'attendee', 'x', now(), now())`,
      [host, user],
    );
    await database.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity,
                           number_of_attendees, price, tags, status, created_at, updated_at)
       VALUES ($1, $2, 'Tea', now() + interval '1 day', now() + interval '2 days', 'UTC', 2, 1, 0, '{}',
               'published', now(), now())`,
      [event, host],
    );
    await database.query(
      `INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
       VALUES ($1, $2, $3, $4, 1, 'confirmed', 0, now(), now())`,
      [booking, event, user, host],
    );
    await database.query("INSERT INTO tickets VALUES ($1, $2, 'valid', NULL, now())", [
      ticket,
      booking,
    ]);
    await database.query("INSERT INTO waitlist VALUES ($1, $2, $3, 1, now())", [
      newId(),
      event,
      user,
    ]);
    await database.query("INSERT INTO idempotency_keys VALUES ($1, 'key', '\\x00', '{}', now())", [
      user,
    ]);
  });
  afterAll(() => database.drop());

  const another = (status: string) =>
    `INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, hold_expires_at, created_at,
                           updated_at)
     SELECT gen_random_uuid(), event_id, user_id, host_id, 1, '${status}', 0,
            CASE '${status}' WHEN 'pending' THEN now() END, now(), now() FROM bookings LIMIT 1`;

  test.each<[string, string, string]>([
    [
      "more seats than there are",
      "UPDATE events SET number_of_attendees = 3",
      "events_seats_within_capacity",
    ],
    [
      "fewer than none",
      "UPDATE events SET number_of_attendees = -1",
      "events_seats_within_capacity",
    ],
    [
      "less room than is taken",
      "UPDATE events SET capacity = 1, number_of_attendees = 2",
      "events_seats_within_capacity",
    ],
    ["a second booking", another("confirmed"), "bookings_one_active"],
    ["a hold beside a booking", another("pending"), "bookings_one_active"],
    ["no seats in a booking", "UPDATE bookings SET quantity = 0", "bookings_quantity_check"],
    ["an amount below nothing", "UPDATE bookings SET amount = -1", "bookings_amount_check"],
    ["a status that there is not", "UPDATE bookings SET status = 'open'", "bookings_status_check"],
    ["a hold without an end", "UPDATE bookings SET status = 'pending'", "bookings_hold_has_an_end"],
    [
      "an end without a hold",
      "UPDATE bookings SET hold_expires_at = now()",
      "bookings_hold_has_an_end",
    ],
    [
      "a cancellation without a reason",
      "UPDATE bookings SET status = 'cancelled'",
      "bookings_cancelled_for_a_reason",
    ],
    [
      "a reason without a cancellation",
      "UPDATE bookings SET cancel_reason = 'admin'",
      "bookings_cancelled_for_a_reason",
    ],
    [
      "a check-in without a time",
      "UPDATE tickets SET status = 'checked_in'",
      "tickets_checked_in_at_a_time",
    ],
    ["a place for no seats", "UPDATE waitlist SET quantity = 0", "waitlist_quantity_check"],
    [
      "a second place on a waiting list",
      "INSERT INTO waitlist SELECT gen_random_uuid(), event_id, user_id, 2, now() FROM waitlist",
      "waitlist_once",
    ],
    [
      "a key for two answers",
      "INSERT INTO idempotency_keys SELECT user_id, key, fingerprint, '[]', now() FROM idempotency_keys",
      "idempotency_keys_pkey",
    ],
    ["a key without a name", "UPDATE idempotency_keys SET key = ''", "idempotency_keys_key_check"],
    [
      "a key of 256 characters",
      "UPDATE idempotency_keys SET key = repeat('k', 256)",
      "idempotency_keys_key_check",
    ],
    [
      "a booking whose host is not its event's",
      "UPDATE bookings SET host_id = gen_random_uuid()",
      "bookings_event_with_host_fkey",
    ],
    ["a booking of no event", "DELETE FROM events", "bookings_event_with_host_fkey"],
  ])("%s", async (_what, sql, constraint) => {
    await expect(database.query(sql)).rejects.toMatchObject({ constraint });
  });

  test("but a booking that is over stands in nobody's way", async () => {
    await database.query("UPDATE bookings SET status = 'cancelled', cancel_reason = 'attendee'");
    await database.query(another("pending"));
    await database.query("UPDATE bookings SET status = 'expired' WHERE status = 'pending'");
    await database.query(another("confirmed"));
    const rows = await database.query("SELECT status FROM bookings ORDER BY status");
    expect(rows.map(({ status }) => status)).toEqual(["cancelled", "confirmed", "expired"]);
  });

  test("and every event has a key of its own for its tickets, of 32 bytes", async () => {
    await database.query(
      `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags,
                           status, created_at, updated_at)
       SELECT gen_random_uuid(), host_id, title, start_date_time, end_date_time, 'UTC', 1, 0, '{}', status, now(), now()
         FROM events, generate_series(1, 20)`,
    );
    const [keys] = await database.query(
      `SELECT count(DISTINCT ticket_key)::int AS different, min(octet_length(ticket_key)) AS shortest,
              max(octet_length(ticket_key)) AS longest FROM events`,
    );
    expect(keys).toEqual({ different: 21, shortest: 32, longest: 32 });
  });
});

describe("Models", () => {
  /** Tables that are read and written with SQL alone, so that a model would have nobody to use it. */
  const WITHOUT_MODEL: Readonly<Record<string, string>> = {
    awaited_sales: "written with the change of an event",
    bookings: "written in batches, straight over the driver",
    deliveries: "claimed and settled with SQL alone",
    dispatches: "written with the notices",
    follows: "written under the locks of two people",
    idempotency_keys: "belongs to a mixin, and is written in the transaction of whoever uses it",
    inbox: "belongs to a mixin, and is written in the transaction of whoever uses it",
    interests: "written under the locks of an event and a person",
    migrations: "Umzug's journal",
    notification_preferences: "written under the lock of a person",
    outbox: "belongs to a mixin, and is written in the transaction of whoever uses it",
    publications: "belongs to a mixin, and is written by it alone",
    push_subscriptions: "written under the lock of a person",
    refused_addresses: "written with the deliveries",
    seeders: "Umzug's journal",
    tickets: "written with the bookings",
    told_moments: "written with what is told",
    undelivered: "belongs to a mixin, and is written by it alone",
    waitlist: "written with the bookings",
  };
  /** Columns that no model of their table knows. */
  const WITHOUT_FIELD: Readonly<Record<string, string>> = {
    "events.search": "PostgreSQL computes it",
    "events.ticket_key": "bookings alone has to do with it, and PostgreSQL draws it",
  };

  test(
    "would make the same columns as the migrations: names, types, nulls, defaults",
    onBareDatabase(async (modelled) => {
      const models = openDatabase(modelled.url, { connections: 1 });
      const tables = defineAllModels(models.sequelize);
      await models.sequelize.sync().finally(() => models.close());
      await withDatabase(async (migrated) => {
        const columns = await columnsOf(migrated);
        const nameOf = ({ table, name }: Column) => `${table}.${name}`;
        const others = [...new Set(columns.map(({ table }) => table))].filter(
          (table) => !tables.includes(table),
        );
        expect(others).toEqual(Object.keys(WITHOUT_MODEL));
        const exceptions = columns.map(nameOf).filter((name) => name in WITHOUT_FIELD);
        expect(exceptions).toEqual(Object.keys(WITHOUT_FIELD));
        expect(await columnsOf(modelled)).toEqual(
          columns
            .filter((column) => tables.includes(column.table) && !(nameOf(column) in WITHOUT_FIELD))
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
      await waits(database, alice, ours);
      await waits(database, realGuest, ours);
      await waits(database, realGuest, theirs);

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
      expect(await database.query("SELECT event_id, user_id FROM waitlist")).toEqual([
        { event_id: ours, user_id: realGuest },
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

  const waits = (database: TestDatabase, userId: string, eventId: string) =>
    database.query("INSERT INTO waitlist VALUES ($1, $2, $3, 1, now())", [
      newId(),
      eventId,
      userId,
    ]);

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
      await database.query(
        "INSERT INTO tickets (id, booking_id, status, created_at) VALUES ($1, $2, 'valid', now())",
        [newId(), id],
      );
    }
    await database.query(
      "UPDATE events SET number_of_attendees = number_of_attendees + $2 WHERE id = $1",
      [eventId, quantity],
    );
    return id;
  }
});
