import { openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { tellMoments } from "../../services/events/events.moments";
import { eventsStore } from "../../services/events/events.store";
import { createTestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { intercepted } from "../support/intercepted";
import { MovableClock } from "../support/movable-clock";
import { Api, type Event, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { silent } from "../support/silent";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
let hanna: Person;
let alice: Person;
let ben: Person;
beforeAll(async () => {
  system = await startTestSystem({ clock, environment: { REMINDER_HOURS: "1" } });
  api = await Api.at(system.origin);
});
beforeEach(async () => {
  [hanna, alice, ben] = [
    ...[await api.host("Hanna"), await api.attendee("Alice")],
    await api.attendee("Ben"),
  ] as [Person, Person, Person];
});
afterEach(() => clock.moveBack());
afterAll(() => system.stop());

const minutesLater = (minutes: number) => clock.moveTo(clock.inMinutes(minutes));
const isInterested = (person: Person, event: Event) =>
  person.does(204, "POST", `/events/${event.id}/interest`);
const interestedIn = async (event: Event): Promise<string[]> =>
  (
    await system.database.query(
      "SELECT user_id AS id FROM interests WHERE event_id = $1 ORDER BY 1",
      [event.id],
    )
  ).map(({ id }) => id);
const change = (event: Event, fields: object) =>
  hanna.does(200, "PATCH", `/events/${event.id}`, fields);

/** Everything that was due for the events so far has been told once this comes: a later event's is told after theirs. */
async function allIsTold(): Promise<void> {
  const [host, dora] = [await api.host("Otto"), await api.attendee("Dora")];
  const endDateTime = clock.inMinutes(90);
  const last = await host.createsEvent({ startDateTime: clock.inMinutes(80), endDateTime });
  await dora.books(last);
  // Only now is it near: whoever looks for what is due before that finds none without her.
  await host.does(200, "PATCH", `/events/${last.id}`, { startDateTime: clock.inMinutes(59) });
  await dora.isTold("event.reminder");
}
const countOf = async (person: Person, type: string): Promise<number> =>
  (await person.does(200, "GET", `/notifications?type=${type}`)).data.length;

describe("Interest in an event", () => {
  test("is there once however often it is expressed, and ends when it is withdrawn", async () => {
    const event = await hanna.createsEvent();
    await Promise.all(Array.from({ length: 10 }, () => isInterested(alice, event)));
    await isInterested(hanna, event);
    expect(await interestedIn(event)).toEqual([alice.who.id, hanna.who.id].sort());
    for (const _time of [1, 2]) await alice.does(204, "DELETE", `/events/${event.id}/interest`);
    expect(await interestedIn(event)).toEqual([hanna.who.id]);
  });

  test("is refused for what nobody may see, and without an account", async () => {
    const draft = await hanna.createsEvent({ status: "draft" });
    for (const method of ["POST", "DELETE"]) {
      for (const id of [newId(), "nothing", draft.id]) {
        const answer = await alice.tries(method, `/events/${id}/interest`);
        expectRefusal(answer, 404, "EVENT_NOT_FOUND");
      }
      const path = `/events/${draft.id}/interest`;
      expectRefusal(await api.request(method, path), 401, "UNAUTHENTICATED");
      expectRefusal(await hanna.tries(method, path, { why: 1 }), 422, "VALIDATION_FAILED", ["why"]);
    }
    expect(await interestedIn(draft)).toEqual([]);
  });

  test("goes with the event, and with who is erased", async () => {
    const [event, other] = [await hanna.createsEvent(), await hanna.createsEvent()];
    await isInterested(alice, event);
    await isInterested(alice, other);
    await isInterested(ben, other);
    await ben.books(event);
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    expect(await interestedIn(event)).toEqual([]);
    await alice.does(204, "DELETE", "/users/me");
    expect(await interestedIn(other)).toEqual([ben.who.id]);
  });
});

describe("The start of a sale", () => {
  test("is told to those who are interested, when it comes and once", async () => {
    const event = await hanna.createsEvent({ title: "Recital", saleStartsAt: clock.inMinutes(30) });
    await isInterested(alice, event);
    await isInterested(ben, event);
    await ben.does(204, "DELETE", `/events/${event.id}/interest`);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(0);
    minutesLater(31);
    expect(await alice.isTold("sale.started")).toMatchObject([
      { title: "On sale: Recital", eventId: event.id, body: expect.stringContaining("«Recital»") },
    ]);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(1);
    expect(await countOf(ben, "sale.started")).toBe(0);
  });

  test("is told anew where the host moves it to another time to come, and not where it was already", async () => {
    const event = await hanna.createsEvent({ saleStartsAt: clock.inMinutes(10) });
    await isInterested(alice, event);
    minutesLater(11);
    await alice.isTold("sale.started");
    await change(event, { saleStartsAt: clock.inMinutes(-5) });
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(1);
    await change(event, { saleStartsAt: clock.inMinutes(10) });
    minutesLater(11);
    await alice.isTold("sale.started", 2);
  });

  test("is told at once where the host lets it begin now", async () => {
    const [at, none] = [
      await hanna.createsEvent({ saleStartsAt: clock.inMinutes(30) }),
      await hanna.createsEvent({ saleStartsAt: clock.inMinutes(30) }),
    ];
    for (const event of [at, none]) await isInterested(alice, event);
    await change(at, { saleStartsAt: clock.inMinutes(-1) });
    await change(none, { saleStartsAt: null });
    await alice.isTold("sale.started", 2);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(2);
  });

  test("is told of one that began long ago all at once, and not of one that is over with the same change", async () => {
    const [longAgo, over] = [
      await hanna.createsEvent({ saleStartsAt: clock.inMinutes(30) }),
      await hanna.createsEvent({ saleStartsAt: clock.inMinutes(30) }),
    ];
    for (const event of [longAgo, over]) await isInterested(alice, event);
    await change(over, { saleStartsAt: null, saleEndsAt: clock.inMinutes(-1) });
    await change(longAgo, { saleStartsAt: clock.inMinutes(-60 * 24 * 365) });
    expect(await alice.isTold("sale.started")).toMatchObject([{ eventId: longAgo.id }]);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(1);
  });

  test("is told each time that it begins, however a host moves it to and fro", async () => {
    const event = await hanna.createsEvent({ saleStartsAt: clock.inMinutes(30) });
    await isInterested(alice, event);
    const moves = (saleStartsAt: string | null) => change(event, { saleStartsAt });
    // Begins, and that it has begun before than that does not make it begin again.
    await moves(null);
    await alice.isTold("sale.started");
    for (const minutes of [-1, -60 * 24]) await moves(clock.inMinutes(minutes));
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(1);
    // Is to come again, and then it is as it was when it was told.
    await moves(clock.inMinutes(30));
    await moves(clock.inMinutes(-1));
    await alice.isTold("sale.started", 2);
    // Is to come, and begins while nobody can book.
    await moves(clock.inMinutes(30));
    await hanna.does(200, "POST", `/events/${event.id}/postpone`, {});
    await moves(null);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(2);
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    await alice.isTold("sale.started", 3);
    const awaited = "SELECT * FROM awaited_sales WHERE event_id = $1";
    expect(await system.database.query(awaited, [event.id])).toEqual([]);
  });

  test("is not told of an event that is postponed until it is on again, nor of one that was cancelled", async () => {
    const saleStartsAt = clock.inMinutes(10);
    const [postponed, cancelled] = [
      await hanna.createsEvent({ saleStartsAt }),
      await hanna.createsEvent({ saleStartsAt }),
    ];
    for (const event of [postponed, cancelled]) await isInterested(alice, event);
    await hanna.does(200, "POST", `/events/${postponed.id}/postpone`, {});
    await hanna.does(200, "POST", `/events/${cancelled.id}/cancel`, {});
    minutesLater(11);
    await allIsTold();
    expect(await countOf(alice, "sale.started")).toBe(0);
    await hanna.does(200, "POST", `/events/${postponed.id}/publish`);
    expect(await alice.isTold("sale.started")).toMatchObject([{ eventId: postponed.id }]);
  });

  test("is told of one that was drafted, once it is published", async () => {
    const event = await hanna.createsEvent({
      status: "draft",
      saleStartsAt: clock.inMinutes(10),
    });
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    await isInterested(alice, event);
    minutesLater(11);
    await alice.isTold("sale.started");
  });

  test("is told also where the event is on again only after it should have been over", async () => {
    const event = await hanna.createsEvent({
      saleStartsAt: clock.inMinutes(10),
      startDateTime: clock.inMinutes(20),
      endDateTime: clock.inMinutes(30),
    });
    await isInterested(alice, event);
    await hanna.does(200, "POST", `/events/${event.id}/postpone`, {});
    minutesLater(40);
    await allIsTold();
    await change(event, { startDateTime: clock.inMinutes(100), endDateTime: clock.inMinutes(110) });
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    await alice.isTold("sale.started");
  });
});

describe("An event that is near", () => {
  const inAWhile = (minutes = 90) => ({
    startDateTime: clock.inMinutes(minutes),
    endDateTime: clock.inMinutes(minutes + 60),
  });

  test("is told to whose seats are theirs, once", async () => {
    const event = await hanna.createsEvent({ title: "Recital", location: "Hall", ...inAWhile() });
    await alice.books(event);
    await ben.cancels(await ben.books(event));
    await allIsTold();
    expect(await countOf(alice, "event.reminder")).toBe(0);
    minutesLater(31);
    expect(await alice.isTold("event.reminder")).toMatchObject([
      {
        title: "Soon: Recital",
        eventId: event.id,
        body: expect.stringMatching(/«Recital».+«Hall»/),
      },
    ]);
    await change(event, { startDateTime: clock.inMinutes(50) });
    await allIsTold();
    expect(await countOf(alice, "event.reminder")).toBe(1);
    expect(await countOf(ben, "event.reminder")).toBe(0);
  });

  test("is told again before the time to which it was moved", async () => {
    const event = await hanna.createsEvent(inAWhile(70));
    await alice.books(event);
    minutesLater(11);
    await alice.isTold("event.reminder");
    await change(event, inAWhile(80));
    await allIsTold();
    expect(await countOf(alice, "event.reminder")).toBe(1);
    minutesLater(21);
    await alice.isTold("event.reminder", 2);
  });

  test("is told also beside a hundred others of which a longer notice was given before", async () => {
    await system.database.query(
      `WITH others AS (
         INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags, status,
                             created_at, updated_at)
         SELECT gen_random_uuid(), $1, 'Other', now() + interval '20 minutes', now() + interval '1 hour', 'UTC', 1, 0,
                '{}', 'published', now(), now()
           FROM generate_series(1, 100)
         RETURNING id, start_date_time)
       INSERT INTO told_moments (event_id, kind, moment, told_at)
       SELECT id, 'reminderDue', start_date_time, now() - interval '1 day' FROM others`,
      [hanna.who.id],
    );
    const event = await hanna.createsEvent(inAWhile(70));
    await alice.books(event);
    minutesLater(11);
    await alice.isTold("event.reminder");
  });

  test("is not told once it has begun, nor while nobody knows when it will be", async () => {
    const [begun, postponed] = [
      await hanna.createsEvent(inAWhile(70)),
      await hanna.createsEvent(inAWhile(70)),
    ];
    for (const event of [begun, postponed]) {
      await alice.books(event);
      await hanna.does(200, "POST", `/events/${event.id}/postpone`, {});
    }
    minutesLater(20);
    await allIsTold();
    await system.database.query(
      "UPDATE events SET status = 'published', start_date_time = $2 WHERE id = $1",
      [begun.id, clock.inMinutes(-1)],
    );
    await allIsTold();
    expect(await countOf(alice, "event.reminder")).toBe(0);
  });
});

/** What is in the statement that takes what is due, and in no other. */
const TAKES = { saleStarted: "DELETE FROM awaited_sales", reminderDue: "INSERT INTO told_moments" };

/** Two nodes that look for what is due at the same time. */
interface Race {
  /** What is told of each of the events. */
  action: "saleStarted" | "reminderDue";
  prepare: string;
  /** What becomes of the statements of both. */
  rewritten?: (sql: string) => string;
}

/** Both take what is due for the first time in the same moment. Gives how often each of the events was told. */
async function raceOfTwo({ action, prepare, rewritten = (sql) => sql }: Race): Promise<number[]> {
  let arrived = 0;
  let bothArrive = () => {};
  const both = new Promise<void>((resolve) => {
    bothArrive = resolve;
  });
  const together = (sql: string) => {
    if (!sql.includes(TAKES[action])) return rewritten(sql);
    if (++arrived === 2) bothArrive();
    return both.then(() => rewritten(sql));
  };
  const EVENTS = 250;
  const database = await createTestDatabase();
  const pools = [1, 2].map(() =>
    intercepted(together)(openDatabase(database.url, { connections: 2 })),
  );
  try {
    await database.query(
      `WITH host AS (
         INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
         VALUES (gen_random_uuid(), 'Hanna', 'hanna@example.org', 'host', 'none', now(), now()) RETURNING id)
       INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags,
                           status, sale_starts_at, created_at, updated_at)
       SELECT gen_random_uuid(), host.id, 'Recital', now() + interval '30 minutes', now() + interval '10 days', 'UTC',
              1, 0, '{}', 'published', now() - interval '1 minute', now(), now()
         FROM host, generate_series(1, ${EVENTS})`,
    );
    await database.query(prepare);
    const what = { clock: new MovableClock(), config: { reminderHours: 1 }, log: silent };
    const nodes = pools.map((pool) => tellMoments(eventsStore(pool), pool, what));
    for (const node of nodes) node.soon(0);
    const told = () =>
      database.query(
        "SELECT count(*)::int AS times FROM outbox WHERE action = $1 GROUP BY aggregate_id",
        [action],
      );
    await eventually(async () => expect(await told()).toHaveLength(EVENTS));
    await Promise.all(nodes.map((node) => node.stop()));
    return (await told()).map(({ times }) => times);
  } finally {
    await Promise.all(pools.map((pool) => pool.close()));
    await database.drop();
  }
}

describe.each<Race & { guard: string; unguarded: Partial<Race> }>([
  {
    action: "saleStarted",
    prepare: "INSERT INTO awaited_sales SELECT id, sale_starts_at FROM events",
    guard: "the lock under which one of them takes it",
    unguarded: { rewritten: (sql) => sql.replace("FOR UPDATE OF a SKIP LOCKED", "") },
  },
  {
    action: "reminderDue",
    prepare: "SELECT",
    guard: "the key that tells the second of the first",
    unguarded: { prepare: "ALTER TABLE told_moments DROP CONSTRAINT told_moments_pkey" },
  },
])("Two nodes at once, of $action", ({ guard, unguarded, ...race }) => {
  test("tell what is due once", async () => {
    expect(new Set(await raceOfTwo(race))).toEqual(new Set([1]));
  });

  test(`and without ${guard}, some of it twice`, async () => {
    expect(Math.max(...(await raceOfTwo({ ...race, ...unguarded })))).toBe(2);
  });
});

test("What was due while no node ran is told late, and once", async () => {
  const database = await createTestDatabase();
  const time = new MovableClock();
  const first = await startTestSystem({ database, clock: time });
  const people = await Api.at(first.origin);
  const [host, person] = [await people.host("Hanna"), await people.attendee("Alice")];
  const event = await host.createsEvent({ saleStartsAt: time.inMinutes(10) });
  await isInterested(person, event);
  await first.stop();
  time.moveTo(time.inMinutes(2 * 24 * 60));
  const told = () =>
    database.query("SELECT user_id AS id FROM notifications WHERE type = 'sale.started'");
  for (const _start of [1, 2]) {
    const again = await startTestSystem({ database, clock: time });
    await eventually(async () => expect(await told()).toEqual([{ id: person.who.id }]));
    await again.stop();
  }
  await database.drop();
});
