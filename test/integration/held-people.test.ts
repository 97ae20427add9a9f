import { eventually } from "../support/eventually";
import { toldOf } from "../support/holds";
import { Api, type Event, inDays, type Person } from "../support/people";
import { tally } from "../support/races";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";
import { type OpenTransaction, whileOpen } from "../support/transaction";

/** Whose row somebody holds, as who erases them does for a moment, keeps nobody else waiting and loses nothing. */
let system: TestSystem;
let api: Api;
let hanna: Person;
let held: Person;
let people: Person[];
beforeAll(async () => {
  // Longer than any of these tests: whoever stood behind a held row would not come through before it ends.
  system = await startTestSystem({ lockTimeoutMs: 60_000 });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  held = await api.attendee("Holly");
  people = await Promise.all(Array.from({ length: 5 }, (_, i) => api.attendee(`Guest ${i}`)));
});
afterAll(() => system.stop());

const holding = <T>(person: Person, work: (holder: OpenTransaction) => Promise<T>): Promise<T> =>
  whileOpen(system.database, "SELECT FROM users WHERE id = $1 FOR UPDATE", [person.who.id], work);

/** The others are told while the one is held, and the one afterwards; each of them once. */
async function allAreToldBut(type: string, event: Event, tell: () => Promise<unknown>) {
  const count = async (person: Person) =>
    (await toldOf(person, event)).filter((told) => told === type).length;
  await holding(held, async (holder) => {
    await tell();
    await eventually(async () =>
      expect(await Promise.all(people.map(count))).toEqual(people.map(() => 1)),
    );
    expect(await count(held)).toBe(0);
    await holder.commits();
  });
  await eventually(async () => expect(await count(held)).toBe(1));
  await eventually(async () =>
    expect(await system.database.query("SELECT FROM outbox")).toEqual([]),
  );
  expect(await Promise.all([...people, held].map(count))).toEqual([...people, held].map(() => 1));
}

describe("While somebody's row is held all others are told, and they as soon as it is free,", () => {
  const all = () => [...people, held];
  const booked = async (): Promise<Event> => {
    const event = await hanna.createsEvent({ capacity: 20 });
    await Promise.all(all().map((person) => person.books(event)));
    return event;
  };

  test("that an event is cancelled, one by one", async () => {
    const event = await booked();
    await allAreToldBut("event.cancelled", event, () =>
      hanna.does(200, "POST", `/events/${event.id}/cancel`, {}),
    );
  });

  test("that an event has changed, all at once", async () => {
    const event = await booked();
    await allAreToldBut("event.updated", event, () =>
      hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Hall" }),
    );
  });

  test("that a sale has started, by the clock", async () => {
    const event = await hanna.createsEvent({ saleStartsAt: inDays(1) });
    for (const person of all()) await person.does(204, "POST", `/events/${event.id}/interest`);
    await allAreToldBut("sale.started", event, () =>
      hanna.does(200, "PATCH", `/events/${event.id}`, { saleStartsAt: null }),
    );
  });
});

describe("While somebody's row is held", () => {
  test("whoever follows them is told to come again, and takes no connection meanwhile", async () => {
    const otto = await api.host("Otto");
    await holding(otto, async () => {
      const follow = () => people[0]?.tries("POST", `/users/${otto.who.id}/follow`) as never;
      expect(tally(await Promise.all(Array.from({ length: 30 }, follow)))).toEqual({
        "503 SERVICE_UNAVAILABLE": 30,
      });
    });
    await people[0]?.does(204, "POST", `/users/${otto.who.id}/follow`);
  });

  test("what they ask for is refused, and not done later", async () => {
    const otto = await api.host("Otto");
    const event = await hanna.createsEvent();
    await holding(otto, async (holder) => {
      const asked = [
        await otto.tries("POST", `/events/${event.id}/interest`),
        await otto.tries("POST", "/events", {
          ...{ title: "An evening", capacity: 10 },
          ...{ startDateTime: inDays(7), endDateTime: inDays(7.1) },
        }),
      ];
      for (const answer of asked) expectRefusal(answer, 503, "SERVICE_UNAVAILABLE");
      await holder.commits();
    });
    const rows = await system.database.query(
      `SELECT id FROM events WHERE host_id = $1
       UNION ALL SELECT event_id FROM interests WHERE user_id = $1`,
      [otto.who.id],
    );
    expect(rows).toEqual([]);
  });

  test("others sign in and change what is theirs, however often they try to sign in themselves", async () => {
    const signsIn = ({ who: { email, password } }: Person) =>
      api.request("POST", "/auth/login", { body: { email, password } });
    const event = await hanna.createsEvent();
    const answers = await holding(held, async (holder) => {
      const trying = Array.from({ length: 12 }, () => signsIn(held));
      await holder.isInTheWay();
      expect((await signsIn(hanna)).status).toBe(200);
      await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Hall" });
      await hanna.createsEvent();
      expect(await holder.waiting()).toBeLessThanOrEqual(1);
      await holder.commits();
      return Promise.all(trying);
    });
    expect(tally(answers)).toEqual({ 200: 12 });
  });

  test("others change what is theirs, however often they try to change what is held", async () => {
    const answers = await holding(held, async (holder) => {
      const trying = Array.from({ length: 12 }, (_, i) =>
        held.tries("PATCH", "/users/me", { name: `Holly ${i}` }),
      );
      await holder.isInTheWay();
      await hanna.createsEvent();
      await hanna.does(200, "PATCH", "/users/me", { phone: "+15550100" });
      expect(await holder.waiting()).toBeLessThanOrEqual(1);
      await holder.commits();
      return Promise.all(trying);
    });
    expect(tally(answers)).toEqual({ 200: 12 });
  });

  test("whoever is erased waits for it, and is erased as they are by then", async () => {
    const leaving = await api.attendee("Leah");
    await whileOpen(
      system.database,
      "UPDATE users SET name = 'Lea' WHERE id = $1",
      [leaving.who.id],
      async (holder) => {
        const left = leaving.tries("DELETE", "/users/me");
        await holder.isInTheWay();
        await holder.commits();
        expect((await left).status).toBe(204);
      },
    );
    const rows = await system.database.query(
      "SELECT name, email, password_hash FROM users WHERE id = $1",
      [leaving.who.id],
    );
    expect(rows).toEqual([{ name: "Deleted user", email: null, password_hash: null }]);
  });
});

test("Many held events keep nobody from signing in", async () => {
  const events = await Promise.all(Array.from({ length: 12 }, () => hanna.createsEvent()));
  const ids = events.map(({ id }) => id);
  const sql = "SELECT FROM events WHERE id = ANY ($1::uuid[]) FOR UPDATE";
  await whileOpen(system.database, sql, [ids], async (holder) => {
    const trying = events.map(({ id }) =>
      hanna.tries("PATCH", `/events/${id}`, { location: "Hall" }),
    );
    await holder.isInTheWay();
    const { email, password } = held.who;
    const signsIn = () => api.request("POST", "/auth/login", { body: { email, password } });
    // One after the other: in the queue of those who wait for the events each would stand behind turns of 100 ms.
    for (let i = 0; i < 3; i++) expect((await signsIn()).status).toBe(200);
    await holder.commits();
    expect(tally(await Promise.all(trying))).toEqual({ 200: 12 });
  });
});
