import { type Answer, type Event, inDays, type Person } from "../support/people";
import { expectProblem } from "../support/problems";
import { bookAtOnce, expectSound, type Nodes, startNodes, tally } from "../support/races";
import { whileHeld, whileOpen } from "../support/transaction";
import { type Rewrite, untilItBites } from "../support/unguarded";

/** Requests that share a transaction do not share their fate, and an event that is held up holds up no other. */
/** Of the second node, whose people are soon told that they waited for too long. */
const LOCK_TIMEOUT_MS = 1_500;

let nodes: Nodes;
let people: Person[];
beforeAll(async () => {
  nodes = await startNodes({}, { lockTimeoutMs: LOCK_TIMEOUT_MS });
  people = await nodes.crowd(60, 1);
});
afterAll(() => nodes.stop());

const createEvents = (host: Person, count: number): Promise<Event[]> =>
  Promise.all(Array.from({ length: count }, () => host.createsEvent({ capacity: 100 })));

describe("An event whose row somebody else holds", () => {
  test.each([1, 5])(
    "does not hold up the others, also when %i are held; its own requests come through after that",
    async (count) => {
      const [free, ...held] = await createEvents(nodes.hanna, count + 1);
      if (!free) throw new Error("There is no event");
      const done: Answer[] = [];
      const answers = await whileHeld(nodes.database, held, async (holder) => {
        const waiting = held.map(async (event, i) => {
          const given = await bookAtOnce(people.slice(i * 5, i * 5 + 5), event);
          done.push(...given);
          return given;
        });
        await holder.isWaitedFor(Math.min(count, 2));
        expect(tally(await bookAtOnce(people.slice(30), free))).toEqual({ 201: 30 });
        // Who comes later to what is held queues there, and is not in the way either.
        const late = held.map((event) => bookAtOnce(people.slice(29, 30), event));
        expect(tally(await bookAtOnce(people.slice(0, 25), free))).toEqual({ 201: 25 });
        expect(done).toEqual([]);
        await holder.commits();
        return Promise.all([...waiting, ...late]);
      });
      expect(tally(answers.flat())).toEqual({ 201: count * 6 });
      for (const event of held) expect((await expectSound(nodes, event)).sold).toBe(6);
    },
  );

  /** Books what is held for longer than anybody waits, and something else meanwhile. */
  const bookBoth = async () => {
    const [held, free] = await createEvents(nodes.hanna, 2);
    const [alice, ben] = people.map((person) => nodes.elsewhere(person));
    if (!held || !free || !alice || !ben) throw new Error("Somebody is missing");
    return whileHeld(nodes.database, [held], async (holder) => {
      const waiting = alice.triesToBook(held);
      await holder.isWaitedFor(1);
      await ben.books(free);
      const isHeldUp = (await holder.waiting()) === 0;
      return { isHeldUp, held, alice, refusal: await waiting };
    });
  };

  test("for longer than anybody waits: its own requests are told to come again", async () => {
    const { isHeldUp, refusal, held, alice } = await bookBoth();
    expect(isHeldUp).toBe(false);
    expectProblem(refusal, 503, "SERVICE_UNAVAILABLE");
    expect(refusal.headers.get("retry-after")).toBe("1");
    expect(await expectSound(nodes, held)).toMatchObject({ sold: 0 });
    await alice.books(held);
  });

  const waitingForAll: Rewrite = (sql) =>
    sql.replace("FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE");
  test("control: a batch that waits for it holds up the others until it has given up", () =>
    nodes.without(waitingForAll, async () => {
      const { isHeldUp, refusal } = await bookBoth();
      expect([isHeldUp, refusal.status]).toEqual([true, 503]);
    }));
});

describe("In one batch", () => {
  /** From now on the database refuses this person's bookings, with this code. */
  const refuses = ({ who }: Person, code: string) =>
    nodes.database.query(
      `CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF NEW.user_id = '${who.id}' THEN RAISE EXCEPTION 'no' USING ERRCODE = '${code}'; END IF;
           RETURN NEW;
         END $$`,
    );
  beforeAll(async () => {
    const [nobody] = await nodes.crowd(1, 1);
    if (nobody) await refuses(nobody, "P0001");
    await nodes.database.query(
      "CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
  });
  afterAll(() => nodes.database.query("DROP FUNCTION refuse CASCADE"));

  const withOneRefused = async (code: string) => {
    const [bad, ...others] = await nodes.crowd(21, 1);
    if (!bad) throw new Error("Nobody came");
    await refuses(bad, code);
    const event = await nodes.hanna.createsEvent({ capacity: 100 });
    const inTheMiddle = 10;
    const answers = await bookAtOnce(others.toSpliced(inTheMiddle, 0, bad), event);
    const [refused] = answers.splice(inTheMiddle, 1);
    return { event, refused, answers };
  };

  test.each(["23514", "22003", "P0001", "40001"])(
    "what the database refuses one (%s) it gives to the others",
    async (code) => {
      const { event, refused, answers } = await withOneRefused(code);
      expect(refused?.status).toBe(500);
      expect(tally(answers)).toEqual({ 201: 20 });
      expect(await expectSound(nodes, event)).toMatchObject({ sold: 20, bookings: 20 });
    },
  );

  test("control: what is nobody's own fault fails those beside it, too", async () => {
    // Out of memory: to try each by itself would make that worse.
    const failed = await untilItBites(async () => {
      const { event, answers } = await withOneRefused("53200");
      const counts = tally(answers);
      expect((counts["201"] ?? 0) + (counts["503 SERVICE_UNAVAILABLE"] ?? 0)).toBe(20);
      expect((await expectSound(nodes, event)).sold).toBe(counts["201"] ?? 0);
      return (counts["503 SERVICE_UNAVAILABLE"] ?? 0) > 0;
    });
    expect(failed).toBe(true);
  });

  test("who was erased a moment ago is told so, and the others get their seats", async () => {
    const event = await nodes.hanna.createsEvent({ capacity: 100 });
    const [gone, ...others] = await nodes.crowd(21, 1);
    if (!gone) throw new Error("Nobody came");
    await nodes.database.query(
      "UPDATE users SET deleted_at = now(), email = NULL, password_hash = NULL WHERE id = $1",
      [gone.who.id],
    );
    const [answer, ...answers] = await bookAtOnce([gone, ...others], event);
    expect(answer && tally([answer])).toEqual({ "401 UNAUTHENTICATED": 1 });
    expect(tally(answers)).toEqual({ 201: 20 });
    expect(await expectSound(nodes, event)).toMatchObject({ sold: 20 });
  });

  test("who sends what is still under way is told so, and nobody beside them is", async () => {
    const event = await nodes.hanna.createsEvent({ capacity: 100 });
    const [alice, ...others] = (await nodes.crowd(21)).map((person) => nodes.elsewhere(person));
    if (!alice) throw new Error("Nobody came");
    const headers = { "Idempotency-Key": "under way" };
    const books = () => alice.tries("POST", "/bookings", { eventId: event.id }, headers);
    // Somewhere else something is done under the same key, and that takes its time.
    const [answer, answers] = await whileOpen(
      nodes.database,
      `INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, created_at)
       VALUES ($1, 'under way', '\\x00', '{}', now())`,
      [alice.who.id],
      async (elsewhere) => {
        const both = await Promise.all([books(), bookAtOnce(others, event)]);
        await elsewhere.commits();
        return both;
      },
    );
    expectProblem(answer, 409, "IDEMPOTENCY_IN_PROGRESS");
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(tally(answers)).toEqual({ 201: 20 });
    expectProblem(await books(), 422, "IDEMPOTENCY_KEY_REUSED");
    expect(await expectSound(nodes, event)).toMatchObject({ sold: 20 });
  });

  test("each has an outcome of its own", async () => {
    const { hanna } = nodes;
    const price = { price: 500, currency: "EUR" };
    const [free, priced, draft, cancelled, early, late, full, booked] = await Promise.all([
      hanna.createsEvent(),
      hanna.createsEvent(price),
      hanna.createsEvent({ status: "draft" }),
      hanna.createsEvent(),
      hanna.createsEvent({ saleStartsAt: inDays(1) }),
      hanna.createsEvent({ saleEndsAt: new Date(Date.now() - 1000).toISOString() }),
      hanna.createsEvent({ capacity: 1 }),
      hanna.createsEvent(),
    ]);
    await hanna.does(200, "POST", `/events/${cancelled.id}/cancel`);
    const wishes: [Event | { id: string }, string, number?][] = [
      [free, "201"],
      [priced, "201"],
      [draft, "404 EVENT_NOT_FOUND"],
      [{ id: hanna.who.id }, "404 EVENT_NOT_FOUND"],
      [cancelled, "409 EVENT_NOT_BOOKABLE"],
      [early, "409 SALE_NOT_STARTED"],
      [late, "409 SALE_ENDED"],
      [full, "409 EVENT_SOLD_OUT"],
      [free, "409 NOT_ENOUGH_TICKETS", 10],
      [booked, "409 ALREADY_BOOKED"],
    ];
    const crowd = await nodes.crowd(wishes.length, 1);
    await nodes.crowd(1, 1).then(([first]) => first?.books(full));
    await crowd.at(-1)?.books(booked);
    // Whoever wants all of it must not be faster than whoever takes a part.
    await nodes.crowd(1, 1).then(([first]) => first?.books(free));
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(
        wishes.map(([event, , quantity], i) => crowd[i]?.triesToBook(event, quantity)),
      );
      const outcomes = answers.map((answer) => Object.keys(tally(answer ? [answer] : []))[0]);
      expect(outcomes).toEqual(
        wishes.map(([, outcome], i) => (round > 0 && i < 2 ? "409 ALREADY_BOOKED" : outcome)),
      );
    }
  });
});
