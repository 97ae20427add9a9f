import { eventually } from "../support/eventually";
import { confirmHold, toldOf } from "../support/holds";
import { MovableClock, shifted } from "../support/movable-clock";
import type { Event, Person } from "../support/people";
import {
  allBook,
  bookAtOnce,
  cancelAtOnce,
  expectSound,
  type HeldBooking,
  type Nodes,
  seatsOf,
  startNodes,
  tally,
} from "../support/races";
import { whileOpen } from "../support/transaction";
import { noLocks, type Rewrite, untilItBites } from "../support/unguarded";

/**
 * Holds that lapse while they are paid for. Two nodes whose clocks differ stand for the moment at which a hold
 * lapses: for one it stands, for the other it is over. Controls as in booking-races.test.ts.
 */
const PRICED = { price: 2500, currency: "USD" };
const clocks = { here: new MovableClock(), there: new MovableClock() };
const moveBack = () => {
  for (const clock of Object.values(clocks)) clock.moveBack();
};

let nodes: Nodes;
let people: Person[];
beforeAll(async () => {
  nodes = await startNodes({ clock: clocks.here }, { clock: clocks.there });
  people = await nodes.crowd(40);
});
afterEach(moveBack);
afterAll(() => nodes.stop());

/** So many who hold a seat each, at a price, of an event that has no others. */
async function holdsOf(holders: Person[]): Promise<{ event: Event; holds: HeldBooking[] }> {
  const event = await nodes.hanna.createsEvent({ capacity: holders.length, ...PRICED });
  return { event, holds: await allBook(holders, event) };
}

/** Pays at a node; gives what came of it: `confirmed`, or the reason why not. */
async function pays(hold: { id: string }, node = 0): Promise<string> {
  const system = nodes.systems[node];
  if (!system) throw new Error(`There is no node ${node}`);
  return confirmHold(system, hold).then(
    ({ status }) => status,
    ({ type, message }) => type ?? message,
  );
}

/** What the database says has become of holds, each with its tickets. */
async function fatesOf(holds: HeldBooking[]): Promise<{ status: string; tickets: number }[]> {
  return nodes.database.query(
    `SELECT b.status, (SELECT count(*)::int FROM tickets t WHERE t.booking_id = b.id AND t.status <> 'cancelled') AS tickets
       FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, n) JOIN bookings b ON b.id = asked.id ORDER BY n`,
    [holds.map(({ id }) => id)],
  );
}

/** For the other node all that is held has lapsed; it sweeps, and whoever books there takes it. */
const lapsesThere = () => clocks.there.moveTo(shifted(clocks.there.now().toISOString(), 901_000));

/** All pay here while it lapses there, where others want the seats. */
async function payAgainstExpire() {
  const { event, holds } = await holdsOf(people.slice(0, 15));
  let paid = 0;
  let somePaid = () => {};
  const some = new Promise<void>((resolve) => {
    somePaid = resolve;
  });
  const paying = holds.map(async (hold) => {
    const outcome = await pays(hold);
    if (++paid === 3) somePaid();
    return outcome;
  });
  await some;
  lapsesThere();
  const answers = await bookAtOnce(
    people.slice(15, 35).map((person) => nodes.elsewhere(person)),
    event,
  );
  return { event, holds, paid: await Promise.all(paying), answers };
}

/** All lapses everywhere, and the first who notice have to wait until others have noticed, too. */
async function expireAgainstExpire() {
  const { event, holds } = await holdsOf(people.slice(0, 15));
  const answers = await whileOpen(
    nodes.database,
    "SELECT 1 FROM bookings WHERE id = $1 FOR UPDATE",
    [holds[0]?.id],
    async (holder) => {
      for (const clock of Object.values(clocks)) clock.moveTo(clock.inMinutes(16));
      const booking = bookAtOnce(people.slice(15, 40), event);
      await holder.isWaitedFor(2);
      await holder.commits();
      return booking;
    },
  );
  return { event, holds, answers };
}

describe("Holds that lapse", () => {
  test("while they are paid for are paid for or expired, never both, and their seats are one person's", async () => {
    const bothHappened = await untilItBites(async () => {
      const { event, holds, paid, answers } = await payAgainstExpire();
      const fates = await fatesOf(holds);
      for (const [i, outcome] of paid.entries()) {
        const isPaid = outcome === "confirmed";
        expect(fates[i]).toEqual({ status: isPaid ? "confirmed" : "expired", tickets: +isPaid });
        if (!isPaid) expect(outcome).toBe("BOOKING_NOT_ACTIVE");
      }
      const expired = fates.filter(({ status }) => status === "expired").length;
      const counts = tally(answers);
      expect(counts["201"] ?? 0).toBe(expired);
      expect(counts["409 EVENT_SOLD_OUT"] ?? 0).toBe(20 - expired);
      expect(await expectSound(nodes, event)).toMatchObject({ counted: 15, bookings: 15 });
      clocks.there.moveBack();
      return expired > 0 && expired < holds.length;
    });
    expect(bothHappened).toBe(true);
  });

  test("everywhere at once are given back once, and each holder is told once", async () => {
    const { event, holds, answers } = await expireAgainstExpire();
    expect(tally(answers)).toEqual({ 201: 15, "409 EVENT_SOLD_OUT": 10 });
    expect(await fatesOf(holds)).toEqual(Array(15).fill({ status: "expired", tickets: 0 }));
    expect(await expectSound(nodes, event)).toMatchObject({ counted: 15, bookings: 15 });
    const told = async () => {
      const notices = await Promise.all(holds.map(({ holder }) => toldOf(holder, event)));
      return notices.map((types) => types.filter((type) => type === "booking.expired").length);
    };
    await eventually(async () => expect(await told()).not.toContain(0));
    expect(await told()).toEqual(Array(15).fill(1));
  });

  test("in great numbers give their seats to all who wait, though nobody books", async () => {
    const event = await nodes.hanna.createsEvent({ capacity: 600, ...PRICED });
    await nodes.database.query(
      `WITH made AS (
         INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
         SELECT id, 'Somebody', id || '@example.org', 'attendee', 'none', now(), now()
           FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 900)) AS new
         RETURNING id),
       numbered AS (SELECT id, row_number() OVER () AS n FROM made),
       waiting AS (
         INSERT INTO waitlist (id, event_id, user_id, quantity, created_at)
         SELECT gen_random_uuid(), $1, id, 1, now() FROM numbered WHERE n > 300),
       taken AS (UPDATE events SET number_of_attendees = 600 WHERE id = $1)
       INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, currency, hold_expires_at,
                             created_at, updated_at)
       SELECT gen_random_uuid(), $1, id, $2, 2, 'pending', 5000, 'USD', now(), now(), now()
         FROM numbered WHERE n <= 300`,
      [event.id, nodes.hanna.who.id],
    );
    await eventually(async () => {
      const waiting = await nodes.database.query("SELECT 1 FROM waitlist WHERE event_id = $1", [
        event.id,
      ]);
      expect(waiting).toHaveLength(0);
    });
    expect(await expectSound(nodes, event)).toMatchObject({ counted: 600, bookings: 600 });
  });

  test("are paid for once, however often and wherever it is tried", async () => {
    const { event, holds } = await holdsOf(people.slice(0, 1));
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => pays(holds[0] ?? { id: "" }, i % 2)),
    );
    expect(outcomes.sort()).toEqual([...Array(9).fill("BOOKING_NOT_ACTIVE"), "confirmed"]);
    expect(await fatesOf(holds)).toEqual([{ status: "confirmed", tickets: 1 }]);
    await expectSound(nodes, event);
  });

  test("or are given up while they are paid for: nobody keeps a seat that is free", async () => {
    const { event, holds } = await holdsOf(people.slice(0, 15));
    const [paid, cancelled] = await Promise.all([
      Promise.all(holds.map((hold, i) => pays(hold, i % 2))),
      cancelAtOnce(holds),
    ]);
    expect(tally(cancelled)).toEqual({ 204: 15 });
    expect(["confirmed", "BOOKING_NOT_ACTIVE"]).toEqual(expect.arrayContaining(paid));
    expect(await fatesOf(holds)).toEqual(Array(15).fill({ status: "cancelled", tickets: 0 }));
    expect(await expectSound(nodes, event)).toMatchObject({ counted: 0, bookings: 0 });
  });
});

describe("Controls", () => {
  test("without the locks what is paid for expires all the same", () =>
    nodes.without(noLocks, async () => {
      const lost = await untilItBites(async () => {
        const { holds, paid } = await payAgainstExpire();
        const fates = await fatesOf(holds);
        moveBack();
        return fates.some(({ status }, i) => paid[i] === "confirmed" && status !== "confirmed");
      });
      expect(lost).toBe(true);
    }));

  const payingForAnything: Rewrite = (sql) =>
    sql.replace(
      /(SET status = 'confirmed'[^;]*? WHERE id = \$id::uuid) AND status IN \([^)]*\) AND hold_expires_at > \$now::timestamptz/,
      "$1",
    );
  test("when a payment does not look at the booking's status, it is paid for twice, or without a seat", () =>
    nodes.without(payingForAnything, async () => {
      const { event, holds } = await holdsOf(people.slice(0, 2));
      const [hold, other] = holds;
      if (!hold || !other) throw new Error("Nobody came");
      const paid = await Promise.all([1, 2, 3].map(() => pays(hold)));
      expect(paid).toEqual(Array(3).fill("confirmed"));
      lapsesThere();
      await eventually(async () => expect((await fatesOf([other]))[0]?.status).toBe("expired"));
      expect(await pays(other)).toBe("confirmed");
      expect(await seatsOf(nodes, event)).toMatchObject({ counted: 1, sold: 2, tickets: 4 });
    }));

  test("without the locks, and the check constraint, seats that lapse are given back twice", () =>
    nodes.without(noLocks, async () => {
      await nodes.database.query("ALTER TABLE events DROP CONSTRAINT events_seats_within_capacity");
      const twice = await untilItBites(async () => {
        const { event } = await expireAgainstExpire();
        moveBack();
        const { counted, sold } = await seatsOf(nodes, event);
        return counted < sold;
      });
      expect(twice).toBe(true);
    }));
});
