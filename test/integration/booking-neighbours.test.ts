import { Client } from "pg";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { eventually } from "../support/eventually";
import { type Answer, Api, type Event, type Person } from "../support/people";
import { bookAtOnce, tally } from "../support/races";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

/** Bookings while something takes long with the people whom they are for. */
let system: TestSystem;
let api: Api;
let admin: Person;
let hanna: Person;
let otto: Person;
let people: Person[];
/** An event of Hanna's and one of Otto's, for each test: whoever's role is changed has to sign in again. */
let events: [Event, Event][];

beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  admin = await administrator(api);
  hanna = await api.host("Hanna");
  otto = await api.host("Otto");
  people = await Promise.all(Array.from({ length: 12 }, (_, i) => api.attendee(`Guest ${i}`)));
  const pair = () => Promise.all([hanna.createsEvent(), otto.createsEvent()]);
  events = [await pair(), await pair(), await pair()];
});
afterAll(() => system.stop());

/** Six people book one event and six the other, all at once. */
const bookBoth = async () => {
  const [one, other] = events.pop() ?? [];
  if (!one || !other) throw new Error("Each test has events of its own");
  const answers = await Promise.all([
    bookAtOnce(people.slice(0, 6), one),
    bookAtOnce(people.slice(6), other),
  ]);
  return tally(answers.flat());
};

/** Runs `work` while somebody holds what a statement has locked. */
async function whileLocked(
  statement: string,
  who: Person,
  work: () => Promise<void>,
): Promise<void> {
  const client = new Client({ connectionString: system.database.url });
  await client.connect();
  try {
    await client.query("BEGIN");
    await client.query(statement, [who.who.id]);
    await work();
  } finally {
    await client.end();
  }
}

const somebodyWaits = async () => {
  const [{ waiting }] = await system.database.query(
    `SELECT count(*)::int AS waiting FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  expect(waiting).toBe(1);
};

test("a host whose role is being changed is booked with, however long it takes to end sessions", async () => {
  let changing: Promise<Answer> | undefined;
  await whileLocked("SELECT FROM sessions WHERE user_id = $1 FOR UPDATE", hanna, async () => {
    changing = admin.tries("PATCH", `/users/${hanna.who.id}`, { role: "admin" });
    await eventually(somebodyWaits);
    expect(await bookBoth()).toEqual({ 201: 12 });
  });
  expect((await changing)?.status).toBe(200);
});

test("a host whose row somebody holds is booked with", async () => {
  await whileLocked("SELECT FROM users WHERE id = $1 FOR UPDATE", hanna, async () => {
    expect(await bookBoth()).toEqual({ 201: 12 });
  });
});

test("whoever is being erased is told to come again, and keeps nobody else waiting", async () => {
  const [leaving] = people.slice(8);
  if (!leaving) throw new Error("There are people");
  await whileLocked("SELECT FROM users WHERE id = $1 FOR UPDATE", leaving, async () => {
    expect(await bookBoth()).toEqual({ 201: 11, "503 SERVICE_UNAVAILABLE": 1 });
  });
});

test("whoever is being erased does not come onto a waiting list meanwhile, and keeps nobody else from it", async () => {
  const [leaving, other, first] = people;
  if (!leaving || !other || !first) throw new Error("There are people");
  const full = await otto.createsEvent({ capacity: 1 });
  await first.books(full);
  await whileLocked("SELECT FROM users WHERE id = $1 FOR UPDATE", leaving, async () => {
    const answer = await leaving.tries("POST", `/events/${full.id}/waitlist`, { quantity: 1 });
    expectRefusal(answer, 503, "SERVICE_UNAVAILABLE");
    expect(await other.waitsFor(full)).toBe(1);
  });
});
