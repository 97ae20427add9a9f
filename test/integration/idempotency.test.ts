import { randomUUID } from "node:crypto";
import { KEY_LIFE_MS } from "../../mixins/idempotency";
import { MovableClock, shifted } from "../support/movable-clock";
import { type Answer, type Api, type Event, inDays, Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { VAPID } from "../support/push-service";
import { expectSound, type Nodes, startNodes, tally } from "../support/races";
import { expectRefusal } from "../support/refusals";

/** The same request sent again: its effect comes once, its answer every time. */
interface Request {
  path: string;
  body: unknown;
}
const sends = (person: Person, { path, body }: Request, key?: string): Promise<Answer> =>
  person.tries("POST", path, body, key === undefined ? undefined : { "Idempotency-Key": key });

const booking = (event: Event, quantity?: number): Request => ({
  path: "/bookings",
  body: { eventId: event.id, ...(quantity === undefined ? {} : { quantity }) },
});
const newEvent = (title = "Once"): Request => ({
  path: "/events",
  body: { title, startDateTime: inDays(7), endDateTime: inDays(8), capacity: 5, tags: ["a", "b"] },
});
const waiting = (event: Event, quantity?: number): Request => ({
  path: `/events/${event.id}/waitlist`,
  body: quantity === undefined ? {} : { quantity },
});

const pushTo = (): Request => ({
  path: "/notifications/push-subscriptions",
  body: {
    endpoint: `https://push.example.org/${randomUUID()}`,
    expirationTime: null,
    keys: { p256dh: VAPID.VAPID_PUBLIC_KEY, auth: "A".repeat(22) },
  },
});

const eventsCalled = async (title: string): Promise<Event[]> =>
  (await api.get(`/events/search?q=${title}&limit=100`)).body.data;

const isReplay = ({ headers }: Answer) => headers.get("idempotency-replayed") === "true";

/** Fifty equal answers, of which one was the first; whoever was told to wait is told so and nothing else. */
function expectOneEffect(answers: Answer[]): unknown {
  const counts = tally(answers);
  expect(["201", "409 IDEMPOTENCY_IN_PROGRESS"]).toEqual(
    expect.arrayContaining(Object.keys(counts)),
  );
  const successes = answers.filter(({ status }) => status === 201);
  const [{ body, headers } = { body: undefined, headers: new Headers() }] = successes;
  expect(body).toBeDefined();
  for (const answer of successes) {
    expect(JSON.stringify(answer.body)).toBe(JSON.stringify(body));
    expect(answer.headers.get("location")).toBe(headers.get("location"));
  }
  expect(successes.filter((answer) => !isReplay(answer))).toHaveLength(1);
  return body;
}

const clock = new MovableClock();
let nodes: Nodes;
let api: Api;
let hanna: Person;
let alice: Person;
beforeAll(async () => {
  nodes = await startNodes({ clock, environment: VAPID }, {});
  ({ api, hanna } = nodes);
  alice = await api.attendee("Alice");
});
afterEach(() => clock.moveBack());
afterAll(() => nodes.stop());

describe.each([
  ["at one node", 1],
  ["at two nodes", 2],
])("The same request 50 times at once %s", (_where, count) => {
  let everybody: Person[];
  beforeAll(async () => {
    everybody = await nodes.crowd(50, count);
  });

  const fiftyTimes = (person: Person, request: Request, key?: string) =>
    Promise.all(nodes.times(person, 50, count).map((one) => sends(one, request, key)));

  test("books once, and is answered alike", async () => {
    const event = await hanna.createsEvent({ capacity: 100 });
    const body = expectOneEffect(await fiftyTimes(alice, booking(event, 2), randomUUID()));
    expect(await alice.bookingOf(event)).toEqual(body);
    expect(await expectSound(nodes, event)).toMatchObject({ sold: 2, bookings: 1 });
  });

  test("books once for the last seats", async () => {
    const event = await hanna.createsEvent({ capacity: 2, price: 100, currency: "USD" });
    expectOneEffect(await fiftyTimes(alice, booking(event, 2), randomUUID()));
    expect(await expectSound(nodes, event)).toMatchObject({ sold: 2, bookings: 1 });
  });

  test("books once for each who sends it, though all use the same key", async () => {
    const event = await hanna.createsEvent({ capacity: 100 });
    const answers = await Promise.all(
      everybody.map((person) => sends(person, booking(event), "1")),
    );
    expect(tally(answers)).toEqual({ 201: 50 });
    expect(answers.filter(isReplay)).toEqual([]);
    expect(await expectSound(nodes, event)).toMatchObject({ sold: 50, bookings: 50 });
  });

  test("creates one event", async () => {
    const title = randomUUID();
    const body = expectOneEffect(await fiftyTimes(hanna, newEvent(title), randomUUID()));
    expect(await eventsCalled(title)).toEqual([body]);
  });

  test("waits once", async () => {
    const event = await hanna.createsEvent({ capacity: 1 });
    await everybody[0]?.books(event);
    expect(await everybody[1]?.waitsFor(event)).toBe(1);
    const body = expectOneEffect(await fiftyTimes(alice, waiting(event), randomUUID()));
    expect(body).toEqual({ position: 2, quantity: 1 });
    const rows = await nodes.database.query("SELECT id FROM waitlist WHERE event_id = $1", [
      event.id,
    ]);
    expect(rows).toHaveLength(2);
  });

  test("under one key for two events books one of them", async () => {
    const events = await Promise.all([hanna.createsEvent(), hanna.createsEvent()]);
    for (let round = 0; round < 5; round++) {
      const key = randomUUID();
      const [person] = await nodes.crowd(1);
      if (!person) throw new Error("Nobody came");
      const answers = await Promise.all(
        events.map((event, i) => sends(nodes.elsewhere(person, i % count), booking(event), key)),
      );
      expect(tally(answers)).toEqual({ 201: 1, "422 IDEMPOTENCY_KEY_REUSED": 1 });
    }
  });

  test("under one key for a booking and the waiting list has one effect", async () => {
    const [free, full] = await Promise.all([
      hanna.createsEvent({ capacity: 100 }),
      hanna.createsEvent({ capacity: 1 }),
    ]);
    await everybody[0]?.books(full);
    for (let round = 0; round < 5; round++) {
      const key = randomUUID();
      const [person] = await nodes.crowd(1);
      if (!person) throw new Error("Nobody came");
      const answers = await Promise.all([
        sends(person, waiting(full), key),
        sends(nodes.elsewhere(person, count - 1), booking(free), key),
      ]);
      expect(tally(answers)).toEqual({ 201: 1, "422 IDEMPOTENCY_KEY_REUSED": 1 });
    }
  });
});

test("Control: the same requests without a key come to twenty events, and people are told no", async () => {
  const twentyTimes = (person: Person, request: Request) =>
    Promise.all(nodes.times(person, 20).map((one) => sends(one, request)));
  const title = randomUUID();
  expect(tally(await twentyTimes(hanna, newEvent(title)))).toEqual({ 201: 20 });
  expect(await eventsCalled(title)).toHaveLength(20);

  const event = await hanna.createsEvent({ capacity: 1 });
  const ben = await api.attendee("Ben");
  expect(tally(await twentyTimes(ben, booking(event)))).toEqual({
    201: 1,
    "409 ALREADY_BOOKED": 19,
  });
  expect(tally(await twentyTimes(alice, waiting(event)))).toEqual({
    201: 1,
    "409 ALREADY_WAITING": 19,
  });
});

describe("An Idempotency-Key", () => {
  /** An event without a seat left, for which one waits. */
  const fullEvent = async (): Promise<Event> => {
    const event = await hanna.createsEvent({ capacity: 1 });
    await (await api.attendee("Ben")).books(event);
    return event;
  };
  type Case = { sender: Person; request: Request; other: Request };
  /** For each way to create something: a key, and somebody with a request and another one. */
  const cases: [string, string, () => Promise<Case>][] = [
    [
      "POST /bookings",
      "b",
      async () => {
        const event = await hanna.createsEvent();
        return { sender: alice, request: booking(event), other: booking(event, 2) };
      },
    ],
    [
      "POST /events",
      "e",
      async () => ({ sender: hanna, request: newEvent(), other: newEvent("Twice") }),
    ],
    [
      "POST /events/:id/waitlist",
      "w",
      async () => {
        const event = await fullEvent();
        return { sender: alice, request: waiting(event), other: waiting(event, 2) };
      },
    ],
    [
      "POST /notifications/push-subscriptions",
      "p",
      async () => ({ sender: alice, request: pushTo(), other: pushTo() }),
    ],
  ];

  const MAY_COME_TWICE = ["/events", "/notifications/push-subscriptions"];

  describe.each(cases)("of %s", (_route, short, make) => {
    test("stands for the first request: again the same answer, another body is a mistake", async () => {
      const { sender, request, other } = await make();
      const key = randomUUID();
      const first = await sends(sender, request, key);
      expect([first.status, isReplay(first)]).toEqual([201, false]);
      for (let i = 0; i < 2; i++) {
        const again = await sends(sender, request, key);
        expect([again.status, isReplay(again)]).toEqual([201, true]);
        expect(JSON.stringify(again.body)).toBe(JSON.stringify(first.body));
        expect(again.headers.get("location")).toBe(first.headers.get("location"));
      }
      expectProblem(await sends(sender, other, key), 422, "IDEMPOTENCY_KEY_REUSED");
      const again = await sends(sender, request, key);
      expect([again.status, isReplay(again)]).toEqual([201, true]);
    });

    test("has 1 to 255 characters", async () => {
      for (const length of [0, 256, 300]) {
        const { sender, request } = await make();
        const answer = await sends(sender, request, "k".repeat(length));
        expectRefusal(answer, 422, "VALIDATION_FAILED", ["Idempotency-Key"]);
      }
      for (const key of [short, short.repeat(255), `~!"#$%&'()*,; é${randomUUID()}`]) {
        const { sender, request } = await make();
        const [first, again] = [
          await sends(sender, request, key),
          await sends(sender, request, key),
        ];
        expect([first.status, again.status]).toEqual([201, 201]);
        expect([isReplay(first), isReplay(again)]).toEqual([false, true]);
      }
    });

    test("is forgotten after a day, and the request decided anew", async () => {
      const { sender, request } = await make();
      const { email, password } = sender.who;
      const key = randomUUID();
      const first = await sends(sender, request, key);
      expect(first.status).toBe(201);
      const [{ created_at }] = await nodes.database.query(
        "SELECT created_at FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        [sender.who.id, key],
      );
      const dayLater = shifted(created_at.toISOString(), KEY_LIFE_MS);
      const signsInAt = async (moment: string) => {
        clock.moveTo(moment);
        const { body } = await api.request("POST", "/auth/login", { body: { email, password } });
        return new Person(api, sender.who, body.token, body.refreshToken);
      };
      const still = await sends(await signsInAt(shifted(dayLater, -1)), request, key);
      expect(isReplay(still)).toBe(true);
      const later = await signsInAt(dayLater);
      const anew = await sends(later, request, key);
      expect(isReplay(anew)).toBe(false);
      expect(anew.body).not.toEqual(first.body);
      if (MAY_COME_TWICE.includes(request.path)) {
        expect(anew.status).toBe(201);
        expect(isReplay(await sends(later, request, key))).toBe(true);
      } else {
        // Both stand once only: the second is refused as any other would be.
        expect(anew.status).toBe(409);
      }
    });
  });

  test("that has outlived its day books anew", async () => {
    const event = await hanna.createsEvent();
    const key = randomUUID();
    const first = await sends(alice, booking(event), key);
    await alice.cancels(first.body);
    await nodes.database.query(
      "UPDATE idempotency_keys SET created_at = created_at - interval '1 day' WHERE key = $1",
      [key],
    );
    const [anew, again] = [
      await sends(alice, booking(event), key),
      await sends(alice, booking(event), key),
    ];
    expect([anew.status, isReplay(anew)]).toEqual([201, false]);
    expect(anew.body.id).not.toBe(first.body.id);
    expect([again.body.id, isReplay(again)]).toEqual([anew.body.id, true]);
  });

  test("gives the first answer, whatever has become of the booking since", async () => {
    const event = await hanna.createsEvent();
    const key = randomUUID();
    const first = await sends(alice, booking(event), key);
    await alice.cancels(first.body);
    const again = await sends(alice, booking(event), key);
    expect([again.status, again.body, isReplay(again)]).toEqual([201, first.body, true]);
    expect((await alice.bookingOf(event))?.status).toBe("cancelled");
  });

  test("does not stand for a failure: the next try is decided anew", async () => {
    const event = await fullEvent();
    const key = randomUUID();
    expectProblem(await sends(alice, booking(event), key), 409, "EVENT_SOLD_OUT");
    expectProblem(await sends(alice, booking(event), key), 409, "EVENT_SOLD_OUT");
    await hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 2 });
    const booked = await sends(alice, booking(event), key);
    expect([booked.status, isReplay(booked)]).toEqual([201, false]);
    expect(isReplay(await sends(alice, booking(event), key))).toBe(true);

    const open = await hanna.createsEvent({ capacity: 1 });
    const other = randomUUID();
    expectProblem(await sends(alice, waiting(open), other), 409, "TICKETS_AVAILABLE");
    await (await api.attendee("Cleo")).books(open);
    expect((await sends(alice, waiting(open), other)).status).toBe(201);

    const third = randomUUID();
    const past = { ...newEvent(), body: { ...(newEvent().body as object), capacity: 0 } };
    expectProblem(await sends(hanna, past, third), 422, "VALIDATION_FAILED");
    expect((await sends(hanna, newEvent(), third)).status).toBe(201);
  });

  test("is one's own: the same key of somebody else is unrelated", async () => {
    const event = await hanna.createsEvent();
    const ben = await api.attendee("Ben");
    const key = randomUUID();
    const [his, hers] = [
      await sends(ben, booking(event, 2), key),
      await sends(alice, booking(event), key),
    ];
    expect([his.status, hers.status]).toEqual([201, 201]);
    expect([isReplay(his), isReplay(hers)]).toEqual([false, false]);
    expect(hers.body.userId).toBe(alice.who.id);
  });

  test("that was used for one thing is a mistake for another", async () => {
    const [event, full] = [await hanna.createsEvent(), await fullEvent()];
    const key = randomUUID();
    expect((await sends(alice, booking(event), key)).status).toBe(201);
    expectProblem(await sends(alice, waiting(full), key), 422, "IDEMPOTENCY_KEY_REUSED");
    expectProblem(await sends(alice, booking(full), key), 422, "IDEMPOTENCY_KEY_REUSED");
    expect(await alice.placeFor(full)).toBeUndefined();
  });

  test("stands for what is asked, however it is written", async () => {
    const event = await hanna.createsEvent();
    const key = randomUUID();
    expect((await sends(alice, booking(event), key)).status).toBe(201);
    const spelled = { path: "/bookings", body: `{ "quantity": 1, "eventId": "${event.id}" }` };
    expect(isReplay(await sends(alice, spelled, key))).toBe(true);

    const place = (coordinates: object): Request => ({
      path: "/events",
      body: {
        ...(newEvent("A place").body as object),
        startDateTime: "2999-01-01T10:00:00Z",
        endDateTime: "2999-01-02T10:00:00Z",
        coordinates,
      },
    });
    const other = randomUUID();
    expect((await sends(hanna, place({ lat: 1, lng: 2 }), other)).status).toBe(201);
    expect(isReplay(await sends(hanna, place({ lng: 2, lat: 1 }), other))).toBe(true);
  });

  test("has no effect where nothing is created", async () => {
    const event = await hanna.createsEvent();
    const key = randomUUID();
    const answer = await hanna.tries(
      "POST",
      `/events/${event.id}/postpone`,
      {},
      { "Idempotency-Key": key },
    );
    expect([answer.status, isReplay(answer)]).toEqual([200, false]);
    expect(
      await nodes.database.query("SELECT 1 FROM idempotency_keys WHERE key = $1", [key]),
    ).toEqual([]);
  });
});
