import { newId } from "../../lib/ids";
import { bookingsStore } from "../../services/bookings/bookings.store";
import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { MovableClock } from "../support/movable-clock";
import { Api, type Event, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { PATIENT_MS, startTestSystem, type TestSystem } from "../support/system";
import { noLocks, type Rewrite, rewriting } from "../support/unguarded";
import { UnreliableDatabase } from "../support/unreliable-database";

/** A cancellation takes up again what broke off, on whichever node; nobody is told twice, and nobody is left out. */
const clock = new MovableClock();
const database = new UnreliableDatabase();
let system: TestSystem;
let api: Api;
let hanna: Person;
let people: Person[];

const BOOKED = 700;
const WAITING = 600;
const CANCEL = /UPDATE bookings SET status = 'cancelled'/;

beforeAll(async () => {
  system = await startTestSystem({
    clock,
    lockTimeoutMs: PATIENT_MS,
    wrapDatabase: database.wrap,
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  people = await crowd(system, api, BOOKED + WAITING);
});
afterAll(() => system.stop());
afterEach(() => {
  database.works();
  clock.moveBack();
});

/** An event that is full, and for which others wait. */
async function fullEvent(): Promise<Event> {
  const event = await hanna.createsEvent({ title: "Recital", capacity: BOOKED });
  const ids = people.map(({ who }) => who.id);
  await system.database.query(
    `WITH made AS (
       INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
       SELECT gen_random_uuid(), e.id, user_id, e.host_id, 1, 'confirmed', 0, now(), now()
         FROM events e, unnest($2::uuid[]) AS made (user_id) WHERE e.id = $1 RETURNING id)
     UPDATE events SET number_of_attendees = (SELECT count(*) FROM made) WHERE id = $1`,
    [event.id, ids.slice(0, BOOKED)],
  );
  const waiting = ids.slice(BOOKED);
  await system.database.query(
    `INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
     SELECT id, $1, user_id, 1, now() FROM unnest($2::uuid[], $3::uuid[]) AS made (id, user_id)`,
    [event.id, waiting.map(newId), waiting],
  );
  return event;
}

const END = { active: 0, changes: BOOKED, counted: 0, waiting: 0, unfinished: false };

/** How far a cancellation has come; `changes` is how often a booking was cancelled. */
async function progressOf({ id }: { id: string }): Promise<typeof END> {
  const [row] = await system.database.query(
    `SELECT (SELECT count(*)::int FROM bookings WHERE event_id = $1 AND status = 'confirmed') AS active,
            (SELECT sum(version - 1)::int FROM bookings WHERE event_id = $1) AS changes,
            number_of_attendees AS counted,
            (SELECT count(*)::int FROM waitlist WHERE event_id = $1) AS waiting,
            cancelling_since IS NOT NULL AS unfinished
       FROM events WHERE id = $1`,
    [id],
  );
  return row;
}

const toldOf = ({ id }: { id: string }) =>
  system.database.query(
    `SELECT body, count(*)::int AS told, count(DISTINCT user_id)::int AS people
       FROM notifications WHERE event_id = $1 GROUP BY body ORDER BY told DESC`,
    [id],
  );
const everybodyOnce = (reason: string) => [
  {
    body: `«Recital» is cancelled, and your booking with it.${reason}`,
    told: BOOKED,
    people: BOOKED,
  },
  {
    body: `«Recital» is cancelled, and your place on its waiting list with it.${reason}`,
    told: WAITING,
    people: WAITING,
  },
];

/** A cancellation that broke off after its first chunk, as if its process had been killed. */
async function brokenOff(): Promise<Event> {
  // It stands, so that nobody takes it up before a test says so.
  clock.moveTo(new Date());
  const event = await fullEvent();
  database.fails(CANCEL, new Error("killed"), 1);
  const answer = await hanna.tries("POST", `/events/${event.id}/cancel`, { reason: "Rain" });
  expectRefusal(answer, 500, "INTERNAL");
  database.works();
  expect(await progressOf(event)).toEqual({
    active: 200,
    changes: 500,
    counted: 200,
    waiting: 100,
    unfinished: true,
  });
  return event;
}

describe("A cancellation that broke off", () => {
  test("is finished by itself; everybody is told once, and why", async () => {
    const event = await brokenOff();
    clock.moveTo(clock.inMinutes(1));
    await eventually(async () => expect(await progressOf(event)).toEqual(END));
    await eventually(async () =>
      expect(await toldOf(event)).toEqual(everybodyOnce(" Reason: Rain")),
    );
    expect((await api.get(`/events/${event.id}`)).body.status).toBe("cancelled");
  });

  test("may be taken up by its host before that", async () => {
    const event = await brokenOff();
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    expect(await progressOf(event)).toEqual(END);
    await eventually(async () =>
      expect(await toldOf(event)).toEqual(everybodyOnce(" Reason: Rain")),
    );
  });

  test("may be taken up by its host also when only people who wait are left, and with the reason", async () => {
    const event = await fullEvent();
    // As if its process had died after the chunk that ended the last bookings.
    database.fails(
      /^SELECT id FROM waitlist WHERE event_id = .* ORDER BY arrival LIMIT/,
      new Error("killed"),
    );
    expectRefusal(await hanna.tries("DELETE", `/events/${event.id}`), 500, "INTERNAL");
    await system.database.query("DELETE FROM bookings WHERE event_id = $1", [event.id]);
    await system.database.query("UPDATE events SET number_of_attendees = 0 WHERE id = $1", [
      event.id,
    ]);
    database.works();
    await hanna.does(200, "POST", `/events/${event.id}/cancel`, { reason: "Rain" });
    expect(await progressOf(event)).toMatchObject({ waiting: 0, unfinished: false });
    await eventually(async () =>
      expect(await toldOf(event)).toEqual(everybodyOnce(" Reason: Rain").slice(1)),
    );
    expectRefusal(
      await hanna.tries("POST", `/events/${event.id}/cancel`),
      409,
      "INVALID_TRANSITION",
    );
  });

  test("of an event to be removed is finished, too; then it can be removed", async () => {
    const event = await fullEvent();
    database.fails(CANCEL, new Error("killed"), 1);
    expectRefusal(await hanna.tries("DELETE", `/events/${event.id}`), 500, "INTERNAL");
    database.works();
    clock.moveTo(clock.inMinutes(1));
    await eventually(async () => expect(await progressOf(event)).toEqual(END));
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await eventually(async () => expect(await toldOf(event)).toEqual(everybodyOnce("")));
  });

  test("before anything was done is begun", async () => {
    const event = await fullEvent();
    database.fails(CANCEL, new Error("killed"));
    expectRefusal(await hanna.tries("POST", `/events/${event.id}/cancel`), 500, "INTERNAL");
    expect(await progressOf(event)).toMatchObject({ active: BOOKED, waiting: WAITING });
    database.works();
    clock.moveTo(clock.inMinutes(1));
    await eventually(async () => expect(await progressOf(event)).toEqual(END));
  });
});

describe("Nodes that finish the same", () => {
  const node = (wrap = database.wrap) => {
    const [one] = system.systems;
    if (!one) throw new Error("There is no system");
    return bookingsStore(wrap(one.database), clock, { waitlistOfferSeconds: 60 });
  };

  test("at the same time do it once", async () => {
    const event = await brokenOff();
    const untilDone = async (store: ReturnType<typeof node>) => {
      while ((await progressOf(event)).unfinished) await store.endSomeOfEvent(event.id);
    };
    await Promise.all([node(), node(), node(), node()].map(untilDone));
    expect(await progressOf(event)).toEqual(END);
    await eventually(async () =>
      expect(await toldOf(event)).toEqual(everybodyOnce(" Reason: Rain")),
    );
  });

  /** One node is in the middle of a chunk when another one comes; then the first is killed. Gives what is left. */
  async function leftBy(guard: Rewrite) {
    const event = await fullEvent();
    database.fails(CANCEL, new Error("killed"));
    await hanna.tries("POST", `/events/${event.id}/cancel`);
    const chunk = database.holds(/UPDATE tickets SET status = 'cancelled'/);
    const first = node().endSomeOfEvent(event.id);
    await chunk.isReached;
    const second = node(rewriting(guard)).endSomeOfEvent(event.id);
    await Promise.race([second, untilSomebodyWaits()]);
    chunk.letGo();
    await Promise.all([first, second]);
    database.works();
    return { event, left: await progressOf(event) };
  }
  const untilSomebodyWaits = () =>
    eventually(async () => {
      const waiting = await system.database.query(
        `SELECT 1 FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event IN ('transactionid', 'tuple')`,
      );
      expect(waiting).not.toEqual([]);
    });

  test("know that there is more, though another one was about it", async () => {
    const { event, left } = await leftBy((sql) => sql);
    expect(left).toMatchObject({ active: 200, unfinished: true });
    clock.moveTo(clock.inMinutes(1));
    await eventually(async () => expect(await progressOf(event)).toEqual(END));
  });

  test("control: without the locks the second one finds nothing to do and takes that for the end", async () => {
    const { left } = await leftBy(noLocks);
    expect(left).toMatchObject({ active: 200, unfinished: false });
  });
});
