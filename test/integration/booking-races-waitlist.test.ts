import { setTimeout as pause } from "node:timers/promises";
import type { Event, Person } from "../support/people";
import {
  allBook,
  bookAtOnce,
  cancelAtOnce,
  expectSound,
  insistUntil,
  type Nodes,
  seatsOf as seatsOfEvent,
  startNodes,
  tally,
} from "../support/races";
import { type OpenTransaction, whileOpen } from "../support/transaction";
import { noLocks, type Rewrite, untilItBites } from "../support/unguarded";

/**
 * Seats that come free while people wait, the public books and others leave, all at once: they go to those who
 * wait, in their order, and never twice. Controls as in booking-races.test.ts.
 */
let nodes: Nodes;
let hanna: Person;
let people: Person[];
beforeAll(async () => {
  nodes = await startNodes({}, {});
  hanna = nodes.hanna;
  people = await nodes.crowd(60);
});
afterAll(() => nodes.stop());

/** They come one after the other, so that it is known who is first. */
async function waitInOrder(people: Person[], event: Event, quantity?: number): Promise<Person[]> {
  for (const person of people) await person.waitsFor(event, quantity);
  return people;
}

interface Standing {
  /** The seats of an active booking. */
  seats: number;
  /** What is waited for. */
  waitsFor: number;
}

/** What became of people, in their order. */
async function standingsOf(event: Event, people: Person[]): Promise<Standing[]> {
  return nodes.database.query(
    `SELECT coalesce((SELECT sum(quantity) FROM bookings WHERE event_id = $1 AND user_id = asked.id
                         AND status IN ('pending', 'confirmed')), 0)::int AS seats,
            coalesce((SELECT quantity FROM waitlist WHERE event_id = $1 AND user_id = asked.id), 0) AS "waitsFor"
       FROM unnest($2::uuid[]) WITH ORDINALITY AS asked (id, n) ORDER BY n`,
    [event.id, people.map(({ who }) => who.id)],
  );
}

const seatsOf = (standings: Standing[]) => standings.map(({ seats }) => seats);
const waits = (standings: Standing[]) => standings.map(({ waitsFor }) => waitsFor);

/** Whether somebody waits on for seats that are free. */
async function isForgotten(event: Event, waiting: Person[]): Promise<boolean> {
  const { capacity, counted } = await seatsOfEvent(nodes, event);
  const standings = await standingsOf(event, waiting);
  return standings.some(({ waitsFor }) => waitsFor > 0 && waitsFor <= capacity - counted);
}

/** So many give back their seats while five more than that wait and the public tries without end. */
async function cancelAgainstPromote(size: number) {
  const event = await hanna.createsEvent({ capacity: size });
  const bookings = await allBook(people.slice(0, size), event);
  const waiting = await waitInOrder(people.slice(size, size * 2 + 5), event);
  const cancelling = cancelAtOnce(bookings);
  const answers = await insistUntil(cancelling, people.slice(45), event);
  return { event, waiting, cancelled: await cancelling, answers };
}

describe("Seats that come free", () => {
  test("go to those who wait, in their order, and not to the public", async () => {
    const { event, waiting, cancelled, answers } = await cancelAgainstPromote(15);
    expect(tally(cancelled)).toEqual({ 204: 15 });
    expect(tally(answers)).toEqual({ "409 EVENT_SOLD_OUT": 15 });
    const standings = await standingsOf(event, waiting);
    expect(seatsOf(standings)).toEqual([...Array(15).fill(1), ...Array(5).fill(0)]);
    expect(waits(standings)).toEqual([...Array(15).fill(0), ...Array(5).fill(1)]);
    expect(await Promise.all(waiting.slice(15).map((person) => person.placeFor(event)))).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(await expectSound(nodes, event)).toMatchObject({ counted: 15, bookings: 15 });
    for (const person of waiting.slice(0, 15)) await person.isTold("waitlist.promoted");
  });

  test("go to whom they fit: nobody waits on for what is free", async () => {
    const event = await hanna.createsEvent({ capacity: 45 });
    const bookings = await allBook(people.slice(0, 15), event, () => 3);
    const wanted = (i: number) => 1 + ((i * 7) % 10);
    const waiting = people.slice(15, 30);
    for (const [i, person] of waiting.entries()) await person.waitsFor(event, wanted(i));
    const cancelling = cancelAtOnce(bookings.slice(0, 12));
    await insistUntil(cancelling, people.slice(30, 40), event);
    const { counted, capacity } = await expectSound(nodes, event);
    const standings = await standingsOf(event, waiting);
    for (const [i, { seats, waitsFor }] of standings.entries()) {
      expect([seats, waitsFor].sort((a, b) => a - b)).toEqual([0, wanted(i)]);
      if (waitsFor > 0) expect(waitsFor).toBeGreaterThan(capacity - counted);
    }
    expect(seatsOf(standings).some((seats) => seats > 0)).toBe(true);
  });

  test("go to the others when those who wait leave at the same time", async () => {
    for (let round = 0; round < 3; round++) {
      const event = await hanna.createsEvent({ capacity: 15 });
      const bookings = await allBook(people.slice(0, 15), event);
      const waiting = await waitInOrder(people.slice(15, 30), event);
      const isLeaving = (i: number) => i % 2 === 0;
      const leaving = waiting.filter((_, i) => isLeaving(i));
      const [left] = await Promise.all([
        Promise.all(leaving.map((p) => p.tries("DELETE", `/events/${event.id}/waitlist`))),
        cancelAtOnce(bookings),
      ]);
      expect(tally(left)).toEqual({ 204: leaving.length });
      const standings = await standingsOf(event, waiting);
      // Whoever has left has a seat only where that was faster; there is one for everybody who has not.
      expect(waits(standings)).toEqual(Array(15).fill(0));
      expect(seatsOf(standings.filter((_, i) => !isLeaving(i)))).toEqual(Array(7).fill(1));
      const sold = seatsOf(standings).reduce((sum, seats) => sum + seats, 0);
      expect(await expectSound(nodes, event)).toMatchObject({ counted: sold, bookings: sold });
    }
  });

  test("are looked for by everybody who joins meanwhile: nobody waits on for what is free", async () => {
    const event = await hanna.createsEvent({ capacity: 15 });
    const bookings = await allBook(people.slice(0, 15), event);
    const joining = people.slice(15, 35);
    const [answers, cancelled] = await Promise.all([
      Promise.all(joining.map((person) => person.triesToWait(event))),
      cancelAtOnce(bookings),
    ]);
    expect(tally(cancelled)).toEqual({ 204: 15 });
    const counts = tally(answers);
    const standings = await standingsOf(event, joining);
    const { counted } = await expectSound(nodes, event);
    expect(seatsOf(standings).filter((seats) => seats > 0)).toHaveLength(counted);
    const waiting = waits(standings).filter((quantity) => quantity > 0).length;
    expect(counts["201"] ?? 0).toBe(waiting + counted);
    expect(counted === 15 || waiting === 0).toBe(true);
    const others = Object.keys(counts).filter(
      (key) => key !== "201" && key !== "409 TICKETS_AVAILABLE",
    );
    expect(others).toEqual([]);
  });

  test("by a larger capacity go to those who wait first", async () => {
    const { event, waiting, answers } = await raiseAgainstPublic();
    expect(tally(answers)).toEqual({ "409 EVENT_SOLD_OUT": 20 });
    const standings = await standingsOf(event, waiting);
    expect(seatsOf(standings)).toEqual([...Array(10).fill(1), ...Array(5).fill(0)]);
    // Now there is more than those who wait can take: the rest is everybody's.
    const raising = hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 30 });
    const late = await insistUntil(raising, people.slice(40), event);
    await raising;
    expect(waits(await standingsOf(event, waiting))).toEqual(Array(15).fill(0));
    const soldNow = (tally(late)["201"] ?? 0) + 25;
    expect(await expectSound(nodes, event)).toMatchObject({ counted: soldNow });
    const rest = tally(await bookAtOnce(people.slice(30, 40), event));
    expect(rest["201"] ?? 0).toBe(30 - soldNow);
  });

  test("are never given to somebody who has left in the same moment, but to the next", async () => {
    const standings = await leaveAgainstPromote(async (leaving, cancelling) => {
      await leaving.isWaitedFor(1);
      await leaving.commits();
      await cancelling;
    });
    expect(seatsOf(standings)).toEqual([0, 1]);
  });

  test("by several small bookings go together to who wants them together", async () => {
    for (let round = 0; round < 3; round++) {
      const { event, waiting, cancelled } = await smallAgainstLarge();
      expect(tally(cancelled)).toEqual({ 204: 10 });
      expect(seatsOf(await standingsOf(event, waiting))).toEqual(Array(5).fill(2));
      expect(await expectSound(nodes, event)).toMatchObject({ counted: 10, bookings: 5 });
    }
  });
});

/** Of two who wait the first is about to leave when a seat comes free. */
async function leaveAgainstPromote(
  order: (leaving: OpenTransaction, cancelling: Promise<void>) => Promise<void>,
): Promise<Standing[]> {
  const [holder, first, second] = people;
  if (!holder || !first || !second) throw new Error("Nobody came");
  const event = await hanna.createsEvent({ capacity: 1 });
  const booking = await holder.books(event);
  await waitInOrder([first, second], event);
  await whileOpen(
    nodes.database,
    "DELETE FROM waitlist WHERE event_id = $1 AND user_id = $2",
    [event.id, first.who.id],
    (leaving) => order(leaving, holder.cancels(booking)),
  );
  return standingsOf(event, [first, second]);
}

/** Single seats come free at once, ten unless told, while half as many people wait for two each. */
async function smallAgainstLarge(size = 10) {
  const event = await hanna.createsEvent({ capacity: size });
  const bookings = await allBook(people.slice(0, size), event);
  const waiting = await waitInOrder(people.slice(size, size * 1.5), event, 2);
  return { cancelled: await cancelAtOnce(bookings), event, waiting };
}

/** The host adds ten seats while fifteen wait and the public tries without end. */
async function raiseAgainstPublic() {
  const event = await hanna.createsEvent({ capacity: 10 });
  await allBook(people.slice(0, 10), event);
  const waiting = await waitInOrder(people.slice(10, 25), event);
  const raising = hanna.does(200, "PATCH", `/events/${event.id}`, { capacity: 20 });
  const answers = await insistUntil(raising, people.slice(40), event);
  return { event, waiting, answers };
}

describe("Controls", () => {
  /** Cancellations of one event take turns on each node; for two nodes to meet each looks a while before it acts. */
  const hesitating: Rewrite = async (sql) => {
    if (sql.includes("UPDATE bookings SET status = 'cancelled'")) await pause(20);
    return noLocks(sql);
  };
  test("without the locks somebody waits on for seats that are free", () =>
    nodes.without(hesitating, async () => {
      const forgotten = await untilItBites(async () => {
        const { event, waiting } = await smallAgainstLarge(2);
        return isForgotten(event, waiting);
      });
      expect(forgotten).toBe(true);
    }));

  const promotingNobody: Rewrite = (sql) =>
    sql.replace("AND quantity = size.seats", "$& AND false");
  test("when nobody is promoted by who frees a seat, the public takes it", () =>
    nodes.without(promotingNobody, async () => {
      const taken = await untilItBites(async () => {
        const { answers } = await cancelAgainstPromote(10);
        return "201" in tally(answers);
      });
      expect(taken).toBe(true);
    }));

  const batchesThatForgetWhoWaits: Rewrite = (sql) =>
    sql.replace("(SELECT true FROM waitlist w WHERE", "$& false AND");
  test("when a batch does not look for those who wait, the public takes what a host adds", () =>
    nodes.without(batchesThatForgetWhoWaits, async () => {
      const taken = await untilItBites(async () => {
        const { answers } = await raiseAgainstPublic();
        return "201" in tally(answers);
      });
      expect(taken).toBe(true);
    }));

  const takingNobodyOff: Rewrite = (sql) =>
    sql.replace(
      "DELETE FROM waitlist WHERE id = ANY ($ids::uuid[]) RETURNING id",
      "SELECT unnest($ids::uuid[]) AS id",
    );
  test("when a promotion does not take people off the list, who has left is given a seat all the same", () =>
    nodes.without(takingNobodyOff, async () => {
      const standings = await leaveAgainstPromote(async (leaving, cancelling) => {
        await cancelling;
        await leaving.commits();
      });
      expect(standings.map(({ seats, waitsFor }) => [seats, waitsFor])).toEqual([
        [1, 0],
        [0, 1],
      ]);
    }));
});
