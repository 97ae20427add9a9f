import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { loadConfig } from "../../lib/config";
import {
  type Booking as FoundBooking,
  withoutAttendee,
} from "../../services/bookings/bookings.rules";
import { startSystem } from "../../system";
import { crowd } from "./crowd";
import type { TestDatabase } from "./database";
import { eventually } from "./eventually";
import { type Answer, Api, type Booking, type Event, type Person } from "./people";

/** One booking that somebody wants, and what they know of it. */
export interface Wish {
  readonly person: Person;
  readonly event: Event;
  readonly quantity: number;
  readonly key: string;
  /** Whether it was ever on its way. */
  sent: boolean;
  /** What the 201 said. */
  booking?: Booking;
  replayed?: boolean;
}

export interface RushOptions {
  origin: string;
  database: Pick<TestDatabase, "query">;
  /** Where the processes keep the secret that signs tokens. */
  dataDir: string;
  bookings: number;
}

const EVENTS = 12;
/** Every so many events one has a price, so that its bookings are holds. */
const PRICED_EVERY = 6;
const QUANTITIES = [1, 2, 3];
const CONNECTIONS = 48;
/** Longer than a batch takes: what happens meets any step of one. */
const MOMENT_MS = 25;

/** What `fetch` says of a connection that ended before the answer did; its errors are of another realm. */
const isBrokenOff = (error: unknown): boolean =>
  /^TypeError: (fetch failed|terminated)$/.test(String(error));

/**
 * Many people who each want one booking, under a key and an account of their own, of events that have exactly as
 * many seats as are wanted: a seat that is lost or counted twice shows as a refusal, one sold twice as well.
 */
export async function bookingRush(options: RushOptions): Promise<Rush> {
  const { origin, database, dataDir, bookings } = options;
  const api = await Api.at(origin);
  const signer = await startSystem({
    config: loadConfig({ DATA_DIR: dataDir, LOG_LEVEL: "fatal" }),
    // Never connected: whoever signs asks no database.
    databaseUrl: "postgres://nobody@127.0.0.1:1/nothing",
    run: ["core"],
  });
  try {
    const system = { database, systems: [signer] };
    const [host] = await crowd(system, api, 1, "host");
    const [latecomer, ...people] = await crowd(system, api, bookings + 1);
    if (!host || !latecomer) throw new Error("Nobody came");
    const quantityOf = (i: number) => QUANTITIES[i % QUANTITIES.length] ?? 1;
    const seats = Array<number>(EVENTS).fill(0);
    for (const i of people.keys()) seats[i % EVENTS] = (seats[i % EVENTS] ?? 0) + quantityOf(i);
    const price = { price: 2500, currency: "USD" };
    const events = await Promise.all(
      seats.map((capacity, i) =>
        host.createsEvent({ capacity, ...(i % PRICED_EVERY === 0 ? price : {}) }),
      ),
    );
    const wishes = people.map((person, i): Wish => {
      const event = events[i % EVENTS];
      if (!event) throw new Error("There are fewer events than were created");
      return { person, event, quantity: quantityOf(i), key: randomUUID(), sent: false };
    });
    return new Rush(host, latecomer, events, wishes, database);
  } finally {
    await signer.stop();
  }
}

export class Rush {
  constructor(
    private readonly host: Person,
    private readonly latecomer: Person,
    private readonly events: readonly Event[],
    readonly wishes: readonly Wish[],
    private readonly database: Pick<TestDatabase, "query">,
  ) {}

  get answered(): Wish[] {
    return this.wishes.filter(({ booking }) => booking);
  }

  /** Sent, and nobody knows what became of them. */
  get unanswered(): Wish[] {
    return this.wishes.filter(({ booking, sent }) => sent && !booking);
  }

  get unsent(): Wish[] {
    return this.wishes.filter(({ sent }) => !sent);
  }

  /** Bookings that were made and whose attendees have no answer yet. */
  async bookedUnanswered(): Promise<number> {
    const [row] = await this.database.query(
      "SELECT count(*)::int AS booked FROM bookings WHERE event_id = ANY ($1)",
      [this.events.map(({ id }) => id)],
    );
    return row.booked - this.answered.length;
  }

  /**
   * Sends wishes in their order over many connections at a time; one that breaks off is not opened again. A 503
   * and a broken connection leave a wish unanswered; anything else but 201 is a fault.
   *
   * @param when what happens a moment after so many of all wishes have been answered
   */
  async sends(
    wishes: readonly Wish[],
    when?: { answered: number; happens: () => void | Promise<void> },
  ): Promise<void> {
    const queue = [...wishes];
    let left = when ? when.answered - this.answered.length : Number.POSITIVE_INFINITY;
    let happening = Promise.resolve();
    const count = () => {
      left--;
      if (!when || left !== 0) return;
      happening = sleep(Math.random() * MOMENT_MS).then(when.happens);
      // Its failure is told below, when nothing is under way any more.
      happening.catch(() => {});
    };
    const connection = async () => {
      for (let wish = queue.shift(); wish; wish = queue.shift()) {
        const answer = await send(wish);
        if (!answer) return;
        if (answer.status === 201) count();
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, connection));
    await happening;
  }

  /** All bookings of the rush's events by their attendee, as its host reads them. */
  private async bookings(): Promise<Map<string, FoundBooking[]>> {
    const byPerson = new Map<string, FoundBooking[]>();
    for (const { id } of this.events) {
      let cursor: string | null = null;
      do {
        const path: string = `/events/${id}/bookings?limit=100${cursor ? `&cursor=${cursor}` : ""}`;
        const page = await this.host.does(200, "GET", path);
        for (const booking of page.data as FoundBooking[]) {
          byPerson.set(booking.userId, [...(byPerson.get(booking.userId) ?? []), booking]);
        }
        cursor = page.pagination.nextCursor;
      } while (cursor);
    }
    return byPerson;
  }

  /**
   * Looks at everything that is there: bookings by their attendee, and whatever is not as the API promises, in
   * words: what was answered, what was not, the counts.
   */
  async recount(): Promise<{ found: Map<string, FoundBooking[]>; faults: string[] }> {
    const found = await this.bookings();
    const strangers = new Set(found.keys());
    for (const { person } of this.wishes) strangers.delete(person.who.id);
    const all = [...found.values()].flat();
    const codes = all.flatMap(({ tickets }) => tickets.map(({ code }) => code));
    const faults = [
      ...this.wishes.flatMap((wish) => faultsOf(wish, found.get(wish.person.who.id) ?? [])),
      ...[...strangers].map((id) => `${id} has a booking that nobody asked for`),
      ...shared(codes).map((code) => `several tickets have the code ${code}`),
      ...(await this.faultsOfCounts(all)),
      ...(await this.rows(BEHIND_THE_SCENES)),
    ];
    return { found, faults };
  }

  private async faultsOfCounts(bookings: readonly FoundBooking[]): Promise<string[]> {
    const faults = this.events.map(async ({ id }) => {
      const { numberOfAttendees, capacity } = await this.host.does(200, "GET", `/events/${id}`);
      const active = bookings.filter(
        ({ eventId, status }) => eventId === id && (status === "pending" || status === "confirmed"),
      );
      const seats = active.reduce((sum, { quantity }) => sum + quantity, 0);
      return seats === numberOfAttendees && seats <= capacity
        ? []
        : [`${id}: ${seats} seats are booked, ${numberOfAttendees} counted, of ${capacity}`];
    });
    return (await Promise.all(faults)).flat();
  }

  /** What people were told wrongly, twice or not at all, once there is nothing left to tell. */
  async untold(): Promise<string[]> {
    await eventually(async () => expect(await this.leftInOutbox()).toBe(0), 30_000);
    return this.rows(TOLD_WRONGLY);
  }

  async leftInOutbox(): Promise<number> {
    const [row] = await this.database.query("SELECT count(*)::int AS left FROM outbox");
    return row.left;
  }

  /** What somebody gets who comes when all is over. */
  async latecomerGets(): Promise<string[]> {
    const answers = await Promise.all(
      this.events.map((event) => this.latecomer.triesToBook(event)),
    );
    return [...new Set(answers.map(({ body }) => String(body.code ?? body.status)))];
  }

  private async rows(sql: string): Promise<string[]> {
    const rows = await this.database.query(sql, [this.events.map(({ id }) => id)]);
    return rows.map(({ fault }) => fault);
  }
}

/** Undefined where the connection broke off before the answer. */
async function send(wish: Wish): Promise<Answer | undefined> {
  const { person, event, quantity, key } = wish;
  wish.sent = true;
  const body = { eventId: event.id, quantity };
  try {
    const answer = await person.tries("POST", "/bookings", body, { "idempotency-key": key });
    if (answer.status === 201) {
      wish.booking = answer.body;
      wish.replayed = answer.headers.get("idempotency-replayed") === "true";
    } else if (answer.status !== 503) {
      throw new Error(`${answer.status} for ${quantity} seats: ${JSON.stringify(answer.body)}`);
    }
    return answer;
  } catch (error) {
    if (isBrokenOff(error)) return undefined;
    throw error;
  }
}

/** What is wrong with the bookings that somebody has, by what they asked for and what they were answered. */
function faultsOf(wish: Wish, found: readonly FoundBooking[]): string[] {
  const { person, event, quantity, sent, booking } = wish;
  const { name } = person.who;
  if (found.length > 1) return [`${name} has ${found.length} bookings`];
  const [one] = found;
  if (!one) return booking ? [`${name} had a 201 for ${booking.id}, which is lost`] : [];
  if (!sent) return [`${name} has a booking and never asked`];
  const held = event.price > 0;
  const isWhatWasAsked =
    one.eventId === event.id &&
    one.quantity === quantity &&
    one.status === (held ? "pending" : "confirmed") &&
    // Seats that are only held have no tickets yet.
    one.tickets.length === (held ? 0 : quantity);
  const isWhatWasAnswered =
    booking === undefined || isDeepStrictEqual(withoutAttendee(one), booking);
  if (isWhatWasAsked && isWhatWasAnswered) return [];
  return [`${name} has ${JSON.stringify(one)}, the answer was ${JSON.stringify(booking)}`];
}

/** The codes that several tickets have. */
function shared(codes: readonly string[]): string[] {
  const seen = new Set<string>();
  return codes.filter((code) => {
    const known = seen.has(code);
    seen.add(code);
    return known;
  });
}

/** What no list would show; every event of the installation, and keys with their bookings. */
const BEHIND_THE_SCENES = `
  SELECT concat('event ', e.id, ' counts ', e.number_of_attendees, ', booked are ', s.seats) AS fault
    FROM events e CROSS JOIN LATERAL (
      SELECT coalesce(sum(quantity), 0) AS seats FROM bookings b
       WHERE b.event_id = e.id AND b.status IN ('pending', 'confirmed')) s
   WHERE e.number_of_attendees <> s.seats OR s.seats > e.capacity
  UNION ALL
  SELECT concat('ticket ', t.id, ' has no booking')
    FROM tickets t LEFT JOIN bookings b ON b.id = t.booking_id WHERE b.id IS NULL
  UNION ALL
  SELECT concat('booking ', b.id, ' has ', count(k.key), ' keys')
    FROM bookings b LEFT JOIN idempotency_keys k ON k.user_id = b.user_id AND k.answer ->> 'id' = b.id::text
   WHERE b.event_id = ANY ($1) GROUP BY b.id HAVING count(k.key) <> 1
  UNION ALL
  SELECT concat('key ', k.key, ' stands for no booking')
    FROM idempotency_keys k LEFT JOIN bookings b ON b.id::text = k.answer ->> 'id' WHERE b.id IS NULL`;

const TOLD_WRONGLY = `
  SELECT concat('booking ', b.id, ', ', b.status, ', was told ', count(n.id), ' times') AS fault
    FROM bookings b LEFT JOIN notifications n
      ON n.type = 'booking.confirmed' AND n.user_id = b.user_id AND n.data ->> 'bookingId' = b.id::text
   WHERE b.event_id = ANY ($1) GROUP BY b.id
  HAVING count(n.id) <> CASE b.status WHEN 'confirmed' THEN 1 ELSE 0 END
  UNION ALL
  SELECT concat('notification ', n.id, ' tells of no booking')
    FROM notifications n LEFT JOIN bookings b ON b.id::text = n.data ->> 'bookingId'
   WHERE n.type = 'booking.confirmed' AND b.id IS NULL`;
