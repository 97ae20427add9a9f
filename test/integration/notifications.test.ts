import { newId } from "../../lib/ids";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { type Announced, watchOutbox } from "../support/announced";
import { crowd } from "../support/crowd";
import { MovableClock } from "../support/movable-clock";
import { Api, type Event, inDays, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
let hanna: Person;
let admin: Person;
beforeAll(async () => {
  system = await startTestSystem({ clock, environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  admin = await administrator(api);
});
afterAll(() => system.stop());

interface Told {
  id: string;
  type: string;
  title: string;
  body: string;
  data: { eventId: string | null; bookingId: string | null; reason: string | null };
  eventId: string | null;
  isRead: boolean;
  createdAt: string;
}

const QUIET_MS = 120;

/** How many notifications there are; undefined as long as something in the outbox is still to be told. */
const countTold = async (): Promise<number | undefined> => {
  const [{ told, left }] = await system.database.query(
    "SELECT (SELECT count(*)::int FROM notifications) AS told, (SELECT count(*)::int FROM outbox) AS left",
  );
  return left === 0 ? told : undefined;
};

/**
 * Waits until nobody is told anything any more: what came twice would be here by then. What has become of bookings
 * is told before it leaves the outbox, so an empty one says for certain that it has been.
 */
async function quiet(): Promise<void> {
  let before: number | undefined;
  for (;;) {
    const now = await countTold();
    if (now !== undefined && now === before) return;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  }
}

/** What these people are told by something that happens, and by nothing else, once all of it has arrived. */
async function toldBy(what: () => Promise<unknown>, people: Person[]): Promise<Told[][]> {
  await quiet();
  const listed = async (person: Person): Promise<Told[]> =>
    (await person.does(200, "GET", "/notifications?limit=100")).data;
  const before = await Promise.all(people.map(listed));
  await what();
  await quiet();
  const after = await Promise.all(people.map(listed));
  return after.map((list, i) => list.filter(({ id }) => !before[i]?.some((old) => old.id === id)));
}
const typesOf = (told: Told[][]): string[][] => told.map((list) => list.map(({ type }) => type));

describe("Who is told", () => {
  let otto: Person;
  let alice: Person;
  let ben: Person;
  let cleo: Person;
  let dan: Person;
  let everybody: Person[];
  let event: Event;
  beforeEach(async () => {
    otto = await api.host("Otto");
    [alice, ben, cleo, dan] = await Promise.all([
      api.attendee("Alice"),
      api.attendee("Ben"),
      api.attendee("Cleo"),
      api.attendee("Dan"),
    ]);
    everybody = [alice, ben, cleo, dan, hanna, otto, admin];
    // Alice and Ben have a booking, Cleo has cancelled hers, Dan has one for something else.
    event = await hanna.createsEvent({ title: "Recital" });
    await Promise.all([alice.books(event), ben.books(event, 2)]);
    await cleo.cancels(await cleo.books(event));
    await dan.books(await otto.createsEvent({ title: "Elsewhere" }));
  });
  const NOBODY = [[], [], [], [], [], [], []];
  const onlyAttendees = (...types: string[]) => [types, types, [], [], [], [], []];

  test("of a booking: who booked", async () => {
    let bookingId = "";
    const told = await toldBy(async () => {
      bookingId = (await dan.books(event, 3)).id;
    }, everybody);
    expect(typesOf(told)).toEqual([[], [], [], ["booking.confirmed"], [], [], []]);
    expect(told[3]).toEqual([
      {
        id: expect.any(String),
        type: "booking.confirmed",
        title: expect.stringContaining("Recital"),
        body: expect.stringMatching(/3 seats.*Recital/),
        data: { eventId: event.id, bookingId, reason: null },
        eventId: event.id,
        isRead: false,
        createdAt: expect.any(String),
      },
    ]);
  });

  test("of a booking that was refused: nobody", async () => {
    const told = await toldBy(async () => {
      await alice.triesToBook(event);
      await dan.triesToBook(event, 10);
      await hanna.triesToBook(event);
    }, everybody);
    expect(told).toEqual(NOBODY);
  });

  test("of a cancelled booking: whose it was", async () => {
    const { data } = await alice.does(200, "GET", `/bookings?eventId=${event.id}`);
    const told = await toldBy(() => alice.cancels(data[0]), everybody);
    expect(typesOf(told)).toEqual([["booking.cancelled"], [], [], [], [], [], []]);
    expect(told[0]?.[0]?.data).toEqual({ eventId: event.id, bookingId: data[0].id, reason: null });
  });

  test("of a booking that an administrator cancelled: whose it was", async () => {
    const { data } = await ben.does(200, "GET", `/bookings?eventId=${event.id}`);
    const told = await toldBy(() => admin.cancels(data[0]), everybody);
    expect(typesOf(told)).toEqual([[], ["booking.cancelled"], [], [], [], [], []]);
  });

  test("of a change: the event's attendees, once each", async () => {
    const told = await toldBy(
      () => hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Elsewhere" }),
      everybody,
    );
    expect(typesOf(told)).toEqual(onlyAttendees("event.updated"));
    expect(told[0]?.[0]).toMatchObject({
      title: "Changed: Recital",
      body: "«Recital» has changed. New place: «Elsewhere».",
      eventId: event.id,
      data: { eventId: event.id, bookingId: null, reason: null },
    });
  });

  test("of an administrator's change: the same", async () => {
    const told = await toldBy(
      () => admin.does(200, "PATCH", `/events/${event.id}`, { title: "Concert" }),
      everybody,
    );
    expect(typesOf(told)).toEqual(onlyAttendees("event.updated"));
  });

  test("of a new title, under the old one; of what else is new, by name", async () => {
    const told = await toldBy(async () => {
      await hanna.does(200, "PATCH", `/events/${event.id}`, { title: "Concert", location: null });
      await quiet();
      await hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 50 });
    }, [alice]);
    expect(told[0]?.map(({ title, body }) => [title, body])).toEqual([
      ["Changed: Concert", "«Concert» has changed. See its details."],
      ["Changed: Recital", "«Recital» has changed. New title: «Concert»."],
    ]);
  });

  test("of a change that was refused: nobody", async () => {
    const told = await toldBy(async () => {
      const path = `/events/${event.id}`;
      const stale = { "if-match": '"9-x"' };
      expect((await hanna.tries("PATCH", path, { title: "" })).status).toBe(422);
      expect((await hanna.tries("PATCH", path, { title: "New" }, stale)).status).toBe(412);
      expect((await hanna.tries("PATCH", path, { capacity: 1 })).status).toBe(409);
      expect((await hanna.tries("POST", `${path}/publish`)).status).toBe(409);
      expect((await otto.tries("DELETE", path)).status).toBe(403);
    }, everybody);
    expect(told).toEqual(NOBODY);
  });

  test("of a postponement and its end: the attendees, with the reason", async () => {
    const postponed = await toldBy(
      () => hanna.does(200, "POST", `/events/${event.id}/postpone`, { reason: "Snow" }),
      everybody,
    );
    expect(typesOf(postponed)).toEqual(onlyAttendees("event.updated"));
    expect(postponed[0]?.[0]).toMatchObject({
      title: expect.stringContaining("Postponed"),
      body: expect.stringContaining("Snow"),
      data: { reason: "Snow" },
    });
    const published = await toldBy(
      () => hanna.does(200, "POST", `/events/${event.id}/publish`),
      everybody,
    );
    expect(typesOf(published)).toEqual(onlyAttendees("event.updated"));
    expect(published[0]?.[0]?.title).toBe("On again: Recital");
  });

  test("of a cancellation: the attendees, of the event and not of the booking, too", async () => {
    const told = await toldBy(
      () => hanna.does(200, "POST", `/events/${event.id}/cancel`, { reason: "Rain; sorry" }),
      everybody,
    );
    expect(typesOf(told)).toEqual(onlyAttendees("event.cancelled"));
    expect(told[1]?.[0]).toMatchObject({
      body: expect.stringContaining("Rain; sorry"),
      data: { eventId: event.id, reason: "Rain; sorry" },
    });
  });

  test("of a removal: the attendees; after a cancellation nobody again", async () => {
    const removed = await toldBy(() => hanna.does(204, "DELETE", `/events/${event.id}`), everybody);
    expect(typesOf(removed)).toEqual(onlyAttendees("event.cancelled"));

    const other = await hanna.createsEvent();
    await alice.books(other);
    await hanna.does(200, "POST", `/events/${other.id}/cancel`);
    const after = await toldBy(() => hanna.does(204, "DELETE", `/events/${other.id}`), everybody);
    expect(after).toEqual(NOBODY);
  });

  test("of what several ask for at once: the attendees, once each", async () => {
    const cancelled = await toldBy(
      () =>
        Promise.all(
          [hanna, admin, hanna, admin, hanna].map((person) =>
            person.tries("POST", `/events/${event.id}/cancel`),
          ),
        ),
      everybody,
    );
    expect(typesOf(cancelled)).toEqual(onlyAttendees("event.cancelled"));

    const other = await hanna.createsEvent();
    await Promise.all([alice.books(other), ben.books(other)]);
    const removed = await toldBy(
      () =>
        Promise.all(
          [hanna, admin, hanna, admin, hanna].map((person) =>
            person.tries("DELETE", `/events/${other.id}`),
          ),
        ),
      everybody,
    );
    expect(typesOf(removed)).toEqual(onlyAttendees("event.cancelled"));

    const three = await Promise.all([1, 2, 3].map(() => hanna.createsEvent()));
    await Promise.all(three.flatMap((one) => [alice.books(one), ben.books(one)]));
    const either = await toldBy(
      () =>
        Promise.all(
          three.flatMap(({ id }) => [
            hanna.tries("POST", `/events/${id}/cancel`),
            admin.tries("DELETE", `/events/${id}`),
          ]),
        ),
      everybody,
    );
    expect(typesOf(either)).toEqual(
      onlyAttendees("event.cancelled", "event.cancelled", "event.cancelled"),
    );
  });

  test("of a draft, whatever becomes of it: nobody", async () => {
    const told = await toldBy(async () => {
      const draft = await hanna.createsEvent({ status: "draft" });
      await hanna.does(200, "PATCH", `/events/${draft.id}`, { title: "New" });
      await hanna.does(204, "DELETE", `/events/${draft.id}`);
      const published = await hanna.createsEvent({ status: "draft" });
      await hanna.does(200, "POST", `/events/${published.id}/publish`);
    }, everybody);
    expect(told).toEqual(NOBODY);
  });

  test("of a host who leaves: the attendees of their events, once each", async () => {
    const ida = await api.host("Ida");
    const [one, two] = [
      await ida.createsEvent({ title: "One" }),
      await ida.createsEvent({ title: "Two" }),
    ];
    await Promise.all([alice.books(one), ben.books(one), alice.books(two)]);
    const told = await toldBy(() => ida.does(204, "DELETE", `/users/${ida.who.id}`), everybody);
    expect(typesOf(told)).toEqual([
      ["event.cancelled", "event.cancelled"],
      ["event.cancelled"],
      [],
      [],
      [],
      [],
      [],
    ]);
    expect(told[0]?.map(({ eventId }) => eventId).sort()).toEqual([one.id, two.id].sort());
  });

  test("of an attendee who leaves: nobody, and nothing is kept for them", async () => {
    const others = everybody.filter((person) => person !== ben);
    const told = await toldBy(() => ben.does(204, "DELETE", `/users/${ben.who.id}`), others);
    expect(told.flat()).toEqual([]);
    const kept = await system.database.query("SELECT id FROM notifications WHERE user_id = $1", [
      ben.who.id,
    ]);
    expect(kept).toEqual([]);
  });

  test("a title that is long and hostile arrives whole", async () => {
    const title = `${"🎻'\";--<b>%s $x ".repeat(11)}end`;
    const odd = await hanna.createsEvent({ title });
    const told = await toldBy(() => alice.books(odd), [alice]);
    expect(told[0]?.[0]?.title).toContain(odd.title);
    expect(told[0]?.[0]?.body).toContain(odd.title);
  });
});

describe("What is announced to other services", () => {
  let announced: Announced;
  beforeAll(async () => {
    announced = await watchOutbox(system.database);
  });
  beforeEach(() => announced.forget());

  test("each step of an event's life, once", async () => {
    const event = await hanna.createsEvent();
    await hanna.does(200, "PATCH", `/events/${event.id}`, { title: "New" });
    await hanna.does(200, "POST", `/events/${event.id}/postpone`);
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await quiet();
    expect(await announced.of(event)).toEqual([
      "events.created",
      "events.updated",
      "events.updated",
      "events.updated",
      "events.cancelled",
      "events.deleted",
    ]);
  });

  test("a change names the fields that are another now", async () => {
    const event = await hanna.createsEvent();
    const path = `/events/${event.id}`;
    const times = { startDateTime: inDays(20), endDateTime: inDays(21) };
    await hanna.does(200, "PATCH", path, { title: event.title, tags: ["new"], capacity: 11 });
    await hanna.does(200, "POST", `${path}/postpone`, times);
    await hanna.does(200, "POST", `${path}/publish`);
    await quiet();
    const updates = await announced.data("events.updated");
    expect(updates.map(({ changed }) => (changed as string[]).sort())).toEqual([
      ["capacity", "tags"],
      ["endDateTime", "startDateTime", "status"],
      ["status"],
    ]);
  });

  test("a draft is nobody's business until it is published", async () => {
    const given = await hanna.createsEvent({ status: "draft" });
    await hanna.does(200, "PATCH", `/events/${given.id}`, { title: "New" });
    await hanna.does(204, "DELETE", `/events/${given.id}`);
    const draft = await hanna.createsEvent({ status: "draft" });
    await quiet();
    expect([await announced.of(given), await announced.of(draft)]).toEqual([[], []]);
    await hanna.does(200, "POST", `/events/${draft.id}/publish`);
    await quiet();
    expect(await announced.of(draft)).toEqual(["events.created"]);
  });
});

describe("An event with 1,200 attendees", () => {
  const countOf = async (event: Event, type: string) =>
    (
      await system.database.query(
        `SELECT count(*)::int AS told, count(DISTINCT user_id)::int AS people FROM notifications
          WHERE event_id = $1 AND type = $2`,
        [event.id, type],
      )
    )[0];

  test("tells each once of a change and of its end", async () => {
    const event = await hanna.createsEvent({ capacity: 2000 });
    const people = await crowd(system, api, 1200);
    await system.database.query(
      `WITH made AS (
         INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
         SELECT gen_random_uuid(), e.id, user_id, e.host_id, 1, 'confirmed', 0, now(), now()
           FROM events e, unnest($2::uuid[]) AS made (user_id) WHERE e.id = $1 RETURNING 1)
       UPDATE events SET number_of_attendees = (SELECT count(*) FROM made) WHERE id = $1`,
      [event.id, people.map(({ who }) => who.id)],
    );
    await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Stadium" });
    await quiet();
    expect(await countOf(event, "event.updated")).toEqual({ told: 1200, people: 1200 });
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await quiet();
    expect(await countOf(event, "event.cancelled")).toEqual({ told: 1200, people: 1200 });
    expect(await countOf(event, "booking.cancelled")).toEqual({ told: 0, people: 0 });
    const [first, last] = [people[0], people.at(-1)];
    for (const person of [first, last]) {
      expect(await person?.does(200, "GET", "/notifications/count")).toEqual({ count: 2 });
    }
  });
});

describe("Reading them", () => {
  let alice: Person;
  let ben: Person;
  let all: Told[];
  beforeAll(async () => {
    alice = await api.attendee("Alice");
    ben = await api.attendee("Ben");
    // A minute apart, so that there is an order to expect.
    for (let i = 0; i < 4; i++) {
      clock.moveTo(clock.inMinutes(1));
      const event = await hanna.createsEvent({ startDateTime: inDays(7), endDateTime: inDays(8) });
      const booking = await alice.books(event);
      await alice.isTold("booking.confirmed", i + 1);
      clock.moveTo(clock.inMinutes(1));
      if (i % 2) await alice.cancels(booking);
      else await hanna.does(200, "PATCH", `/events/${event.id}`, { title: `Number ${i}` });
      await alice.isTold(i % 2 ? "booking.cancelled" : "event.updated", Math.ceil((i + 1) / 2));
    }
    await ben.books(await hanna.createsEvent());
    await ben.isTold("booking.confirmed");
    all = (await alice.does(200, "GET", "/notifications?limit=100")).data;
  });
  afterAll(() => clock.moveBack());
  const list = async (query: string): Promise<Told[]> =>
    (await alice.does(200, "GET", `/notifications?${query}`)).data;

  test("newest first", () => {
    expect(all.map(({ type }) => type)).toEqual([
      "booking.cancelled",
      "booking.confirmed",
      "event.updated",
      "booking.confirmed",
      "booking.cancelled",
      "booking.confirmed",
      "event.updated",
      "booking.confirmed",
    ]);
  });

  test("by type, oldest first, page by page", async () => {
    expect(await list("type=booking.confirmed")).toEqual(
      all.filter(({ type }) => type === "booking.confirmed"),
    );
    expect(await list("type=payment.refunded")).toEqual([]);
    expect(await list("order=asc")).toEqual([...all].reverse());
    const walked: Told[] = [];
    let cursor: string | null = null;
    do {
      const at: string = cursor ? `&cursor=${cursor}` : "";
      const found = await alice.does(200, "GET", `/notifications?limit=3${at}`);
      expect(found.pagination.total).toBe(8);
      walked.push(...found.data);
      cursor = found.pagination.nextCursor;
    } while (cursor);
    expect(walked).toEqual(all);
  });

  test.each<[string, string]>([
    ["unread=yes", "unread"],
    ["type=spam", "type"],
    ["type=", "type"],
    ["limit=0", "limit"],
    ["sort=title", "sort"],
    ["cursor=x", "cursor"],
  ])("a bad value is 422: %s", async (query, field) => {
    const answer = await alice.tries("GET", `/notifications?${query}`);
    expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
  });

  test("one's own, and nobody else's", async () => {
    const [own] = all;
    const [other] = await ben.isTold("booking.confirmed");
    expect(await alice.does(200, "GET", `/notifications/${own?.id}`)).toEqual(own);
    for (const id of [other.id, newId(), "7"]) {
      for (const person of [alice, admin]) {
        expectRefusal(
          await person.tries("GET", `/notifications/${id}`),
          404,
          "NOTIFICATION_NOT_FOUND",
        );
        const marked = await person.tries("POST", `/notifications/mark-read/${id}`);
        expectRefusal(marked, 404, "NOTIFICATION_NOT_FOUND");
      }
    }
    expect((await ben.does(200, "GET", `/notifications/${other.id}`)).isRead).toBe(false);
  });

  test("marked as read, once and again; the rest with one word", async () => {
    const [newest, , third] = all;
    expect(await alice.does(200, "GET", "/notifications/count")).toEqual({ count: 8 });
    for (let again = 0; again < 2; again++) {
      for (const told of [newest, third]) {
        const marked = await alice.does(200, "POST", `/notifications/mark-read/${told?.id}`);
        expect(marked).toEqual({ ...told, isRead: true });
      }
      expect(await alice.does(200, "GET", "/notifications/count")).toEqual({ count: 6 });
    }
    expect((await list("unread=true")).map(({ id }) => id)).toEqual(
      all.filter((told) => told !== newest && told !== third).map(({ id }) => id),
    );
    expect((await list("unread=false")).map(({ id }) => id)).toEqual([newest?.id, third?.id]);
    expect((await list("unread=true&type=event.updated")).map(({ id }) => id)).toEqual([
      all[6]?.id,
    ]);

    expect(await alice.does(200, "POST", "/notifications/mark-all-read")).toEqual({ updated: 6 });
    expect(await alice.does(200, "POST", "/notifications/mark-all-read")).toEqual({ updated: 0 });
    expect(await alice.does(200, "GET", "/notifications/count")).toEqual({ count: 0 });
    expect(await list("unread=true")).toEqual([]);
    expect(await ben.does(200, "GET", "/notifications/count")).toEqual({ count: 1 });
  });

  test("of several who mark them at once, each counts what it did", async () => {
    const cleo = await api.attendee("Cleo");
    for (let i = 0; i < 3; i++) await cleo.books(await hanna.createsEvent());
    await cleo.isTold("booking.confirmed", 3);
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => cleo.does(200, "POST", "/notifications/mark-all-read")),
    );
    expect(answers.reduce((sum, { updated }) => sum + updated, 0)).toBe(3);
  });

  test("is for who is signed in", async () => {
    for (const [method, path] of [
      ["GET", ""],
      ["GET", "/count"],
      ["GET", `/${newId()}`],
      ["POST", `/mark-read/${newId()}`],
      ["POST", "/mark-all-read"],
    ] as const) {
      expectRefusal(await api.request(method, `/notifications${path}`), 401, "UNAUTHENTICATED");
    }
  });

  test("marking takes no body of its own", async () => {
    const one = await alice.tries("POST", `/notifications/mark-read/${all[0]?.id}`, {
      isRead: false,
    });
    expectRefusal(one, 422, "VALIDATION_FAILED", ["isRead"]);
    const every = await alice.tries("POST", "/notifications/mark-all-read", { userId: newId() });
    expectRefusal(every, 422, "VALIDATION_FAILED", ["userId"]);
  });
});
