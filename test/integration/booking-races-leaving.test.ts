import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { type Answer, type Event, inDays, type Person } from "../support/people";
import { bookAtOnce, expectSound, type Nodes, startNodes, tally } from "../support/races";
import { aLittleLater, noLocks, untilItBites } from "../support/unguarded";

/** Bookings against whatever ends them: an event that goes, an attendee or a host who leaves. */
let nodes: Nodes;
let hanna: Person;
let people: Person[];
beforeAll(async () => {
  nodes = await startNodes({ environment: WITH_ADMINISTRATOR }, {});
  hanna = nodes.hanna;
  people = await nodes.crowd(40);
});
afterAll(() => nodes.stop());

/** People of the first node; the other one hears of their end a moment later. */
const leavers = (size: number, role: "attendee" | "host" = "attendee"): Promise<Person[]> => {
  const [system] = nodes.systems;
  if (!system) throw new Error("There is no node");
  return crowd(system, nodes.api, size, role);
};

const activeOn = async (event: Event) => {
  const [left] = await nodes.database.query(
    `SELECT (SELECT count(*)::int FROM bookings WHERE event_id = $1 AND status <> 'cancelled') AS active,
            (SELECT coalesce(max(number_of_attendees), 0) FROM events WHERE id = $1) AS counted`,
    [event.id],
  );
  return left;
};

describe("Bookings against an end", () => {
  test.each<[string, (event: Event) => Promise<Answer>]>([
    ["removing", (event) => hanna.tries("DELETE", `/events/${event.id}`)],
    ["cancelling", (event) => hanna.tries("POST", `/events/${event.id}/cancel`)],
  ])("%s an event against bookings: no active booking is left on it", async (_, ends) => {
    for (let round = 0; round < 3; round++) {
      const event = await hanna.createsEvent({ capacity: 100 });
      const early = bookAtOnce(people.slice(0, round * 10), event);
      const [ended, ...answers] = await Promise.all([
        ends(event),
        early,
        bookAtOnce(people.slice(round * 10, 40), event),
      ]);
      expect(ended.status).toBeLessThan(300);
      const known = ["201", "404 EVENT_NOT_FOUND", "409 EVENT_NOT_BOOKABLE"];
      expect(known).toEqual(expect.arrayContaining(Object.keys(tally(answers.flat()))));
      expect(await activeOn(event)).toEqual({ active: 0, counted: 0 });
    }
  });

  test("two people book two events in opposite order, many times at once: nobody waits for ever", async () => {
    for (let round = 0; round < 2; round++) {
      const [one, two] = await Promise.all([
        hanna.createsEvent({ capacity: 1000 }),
        hanna.createsEvent({ capacity: 1000 }),
      ]);
      const answers = await Promise.all(
        people
          .slice(0, 40)
          .flatMap((person, i) =>
            (i % 2 ? [one, two] : [two, one]).map((event) => person.triesToBook(event)),
          ),
      );
      expect(tally(answers)).toEqual({ 201: 80 });
      for (const event of [one, two]) expect((await expectSound(nodes, event)).sold).toBe(40);
    }
  });

  test("attendees leave while their events are removed and changed: nobody stands in another's way", async () => {
    const events = await Promise.all(
      Array.from({ length: 6 }, () => hanna.createsEvent({ capacity: 100 })),
    );
    const leaving = await leavers(12);
    await Promise.all(events.flatMap((event) => bookAtOnce(leaving, event)));
    const [removed, left, changed] = await Promise.all([
      Promise.all(events.slice(0, 3).map(({ id }) => hanna.tries("DELETE", `/events/${id}`))),
      Promise.all(leaving.map((person) => person.tries("DELETE", `/users/${person.who.id}`))),
      Promise.all(
        events.slice(3).map(({ id }) => hanna.tries("PATCH", `/events/${id}`, { capacity: 50 })),
      ),
    ]);
    expect(tally(removed)).toEqual({ 204: 3 });
    expect(tally(left)).toEqual({ 204: 12 });
    expect(changed.every(({ status }) => status === 200 || status === 409)).toBe(true);
    for (const event of events.slice(3)) expect((await expectSound(nodes, event)).counted).toBe(0);
    const active = await nodes.database.query(
      "SELECT id FROM bookings WHERE user_id = ANY ($1) AND status <> 'cancelled'",
      [leaving.map(({ who }) => who.id)],
    );
    expect(active).toEqual([]);
  });

  /** Does something again and again at the other node while these people leave here. */
  const whileTheyLeave = async (
    people: Person[],
    again: (elsewhere: Person, round: number) => Promise<Answer>,
  ): Promise<Answer[]> => {
    const answers = await Promise.all(
      people.map(async (person) => {
        const elsewhere = nodes.elsewhere(person);
        const given = [await again(elsewhere, 0)];
        const leaving = person.does(204, "DELETE", `/users/${person.who.id}`);
        // The other node learns within a second that the session has ended.
        for (let round = 1; given.at(-1)?.status !== 401; round++) {
          given.push(await again(elsewhere, round));
        }
        await leaving;
        return given;
      }),
    );
    return answers.flat();
  };

  test("attendees leave while booking elsewhere: no active booking is left", async () => {
    const events = await Promise.all(
      Array.from({ length: 40 }, () => hanna.createsEvent({ capacity: 100 })),
    );
    const leaving = await leavers(8);
    const answers = await whileTheyLeave(leaving, (elsewhere, round) =>
      elsewhere.tries("POST", "/bookings", { eventId: events[round % events.length]?.id }),
    );
    const known = ["201", "401 UNAUTHENTICATED", "409 ALREADY_BOOKED", "503 SERVICE_UNAVAILABLE"];
    expect(known).toEqual(expect.arrayContaining(Object.keys(tally(answers))));
    for (const event of events) {
      expect(await expectSound(nodes, event)).toMatchObject({ counted: 0, bookings: 0 });
    }
  });

  test("hosts leave while creating events elsewhere: no event is left", async () => {
    const leaving = await leavers(8, "host");
    const answers = await whileTheyLeave(leaving, (elsewhere) =>
      elsewhere.tries("POST", "/events", {
        title: "Last minute",
        startDateTime: inDays(1),
        endDateTime: inDays(2),
        capacity: 5,
      }),
    );
    expect(Object.keys(tally(answers)).sort()).toEqual(["201", "401 UNAUTHENTICATED"]);
    const left = await nodes.database.query(
      "SELECT id FROM events WHERE host_id = ANY ($1) AND deleted_at IS NULL",
      [leaving.map(({ who }) => who.id)],
    );
    expect(left).toEqual([]);
  });

  test("a host leaves while removing events one by one: both succeed", async () => {
    const host = await nodes.api.host("Henry");
    const events = await Promise.all(Array.from({ length: 8 }, () => host.createsEvent()));
    const admin = await administrator(nodes.api);
    const [left, ...removed] = await Promise.all([
      host.tries("DELETE", `/users/${host.who.id}`),
      ...events.map(({ id }) => admin.tries("DELETE", `/events/${id}`)),
    ]);
    expect(left.status).toBe(204);
    expect(removed.every(({ status }) => status === 204 || status === 404)).toBe(true);
    const rows = await nodes.database.query(
      "SELECT id FROM events WHERE host_id = $1 AND deleted_at IS NULL",
      [host.who.id],
    );
    expect(rows).toEqual([]);
  });

  test("control: without the locks a booking gets into an event that is being cancelled", () => {
    // Between what a batch has read and what it writes passes so much time that all of a cancellation fits in.
    const dawdling = async (sql: string) => {
      if (/INSERT INTO bookings/.test(sql))
        await new Promise((resolve) => setTimeout(resolve, 200));
      return noLocks(sql);
    };
    return nodes.without(dawdling, async () => {
      const gotIn = await untilItBites(async (round) => {
        const event = await hanna.createsEvent({ capacity: 100 });
        const booking = bookAtOnce(people, event);
        await aLittleLater(round);
        await hanna.tries("POST", `/events/${event.id}/cancel`);
        await booking;
        return (await activeOn(event)).active > 0;
      });
      expect(gotIn).toBe(true);
    });
  });
});
