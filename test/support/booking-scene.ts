import { bookingsStore } from "../../services/bookings/bookings.store";
import {
  HOLD_MS,
  type Model,
  type ModelBooking,
  ModelEvent,
  OFFER_MS,
  type Outcome,
  readStatus,
} from "./booking-model";
import { crowd } from "./crowd";
import { MovableClock } from "./movable-clock";
import { type Answer, Api, type Booking, type Event, type Person } from "./people";
import { startTestSystem, type TestSystem } from "./system";
import { UnreliableDatabase } from "./unreliable-database";

export const PEOPLE = 6;
const CURRENCY = "EUR";
/** What is done in the background would come between an act and what is seen after it; here it is an act as well. */
const BACKGROUND_QUESTIONS = /min\(hold_expires_at\)|IN \(SELECT event_id FROM waitlist\)/;

/** An answer in the words of the model. */
export const said = ({ status, body }: Answer): Outcome =>
  status < 400 ? String(status) : `${status} ${body.code}`;

export const at = <T>(from: readonly T[], index: number): T => {
  const one = from[index];
  if (one === undefined) throw new Error(`There is no number ${index}`);
  return one;
};

/** A system on a database of its own, in which nothing happens but what a test does. */
export class World {
  private constructor(
    readonly system: TestSystem,
    readonly clock: MovableClock,
    readonly api: Api,
    readonly hanna: Person,
    readonly began: number,
  ) {}

  static async open(): Promise<World> {
    const clock = new MovableClock();
    const database = new UnreliableDatabase();
    database.fails(BACKGROUND_QUESTIONS, new Error("Nothing happens by itself"));
    const system = await startTestSystem({
      clock,
      wrapDatabase: database.wrap,
      environment: {
        BOOKING_HOLD_SECONDS: String(HOLD_MS / 1000),
        WAITLIST_OFFER_SECONDS: String(OFFER_MS / 1000),
      },
    });
    const began = Date.now();
    clock.moveTo(new Date(began));
    const api = await Api.at(system.origin);
    return new World(system, clock, api, await api.host("Hanna"), began);
  }

  close = () => this.system.stop();
}

export interface EventStart {
  capacity: number;
  price: number;
  lastsMs: number;
}

/** The real counterpart of a model: events in a world, and people. */
export class Scene {
  /** Of each event, in order of making, as it was seen last. */
  readonly bookings: Booking[][];

  private constructor(
    readonly world: World,
    readonly people: Person[],
    readonly events: Event[],
  ) {
    this.bookings = events.map(() => []);
  }

  /** A model and what it is a model of. */
  static async set(
    world: World,
    starts: readonly EventStart[],
  ): Promise<{ model: Model; real: Scene }> {
    world.clock.moveTo(new Date(world.began));
    const { system, api, hanna, began } = world;
    const [people, events] = await Promise.all([
      crowd(system, api, PEOPLE),
      Promise.all(
        starts.map(({ capacity, price, lastsMs }) =>
          hanna.createsEvent({
            capacity,
            price,
            currency: CURRENCY,
            startDateTime: new Date(began + 1),
            endDateTime: new Date(began + lastsMs),
          }),
        ),
      ),
    ]);
    const model: Model = {
      began,
      now: began,
      events: starts.map(
        ({ capacity, price, lastsMs }) =>
          new ModelEvent({ capacity, price, endsAt: began + lastsMs }),
      ),
      gone: new Set(),
    };
    return { model, real: new Scene(world, people, events) };
  }

  person = (index: number) => at(this.people, index);
  event = (index: number) => at(this.events, index);
  path = (event: number, rest = "") => `/events/${this.event(event).id}${rest}`;

  async host(method: string, event: number, rest: string, body?: unknown): Promise<Outcome> {
    return said(await this.world.hanna.tries(method, this.path(event, rest), body));
  }

  /** Calls an internal action; gives what a gateway would answer. */
  async internal(action: string, params: object, success: Outcome): Promise<Outcome> {
    const broker = this.world.system.systems[0]?.broker;
    if (!broker) throw new Error("The system has no broker");
    try {
      await broker.call<unknown, object>(action, params);
      return success;
    } catch (error) {
      const { code, type } = error as { code?: number; type?: string };
      if (type === undefined) throw error;
      return `${code} ${type}`;
    }
  }

  store() {
    const { system, clock } = this.world;
    const [one] = system.systems;
    if (!one) throw new Error("There is no system");
    return bookingsStore(one.database, clock, { waitlistOfferSeconds: OFFER_MS / 1000 });
  }

  /** Holds what is seen of an event against the model. */
  async compare(model: Model, index: number): Promise<void> {
    const event = at(model.events, index);
    const order = event.waiting.map(({ person }) => person);
    const [seen, list, places] = await Promise.all([
      this.world.api.get(this.path(index)),
      this.world.hanna.does(200, "GET", this.path(index, "/bookings?order=asc&limit=100")),
      Promise.all(order.map((i) => this.person(i).placeFor(this.event(index)))),
    ]);
    this.bookings[index] = list.data;
    const { capacity, numberOfAttendees, price, status } = seen.body;
    expect({
      event: { capacity, numberOfAttendees, price, status },
      bookings: list.data.map((one: Booking) => this.plain(one)),
      places,
    }).toEqual({
      event: {
        capacity: event.capacity,
        numberOfAttendees: event.taken,
        price: event.price,
        status: event.isOver(model.now) ? "completed" : event.status,
      },
      bookings: event.bookings.map((one) => expected(one, model.now)),
      places: order.map((_, i) => i + 1),
    });
  }

  /** A booking in the words of the model. */
  private plain({ userId, quantity, status, amount, currency, holdExpiresAt, tickets }: Booking) {
    const person = this.people.findIndex(({ who }) => who.id === userId);
    return {
      person,
      quantity,
      status,
      amount,
      currency,
      holdUntil: holdExpiresAt,
      tickets: tickets.map((ticket) => ticket.status),
    };
  }

  /** What must hold of the tables whatever has happened, and who must not wait. */
  async audit({ events }: Model): Promise<void> {
    const rows = await this.world.system.database.query(
      `SELECT e.number_of_attendees AS counted, e.capacity,
              coalesce(sum(b.quantity), 0)::int AS taken,
              coalesce(sum(b.quantity) FILTER (WHERE b.status = 'confirmed'), 0)::int AS confirmed,
              (count(b.id) - count(DISTINCT b.user_id))::int AS "secondBookings",
              (SELECT count(*)::int FROM tickets t JOIN bookings o ON o.id = t.booking_id
                WHERE o.event_id = e.id AND t.status <> 'cancelled') AS tickets,
              (SELECT count(*)::int FROM waitlist w WHERE w.event_id = e.id) AS waiting
         FROM events e LEFT JOIN bookings b ON b.event_id = e.id AND b.status IN ('pending', 'confirmed')
        WHERE e.id = ANY ($1) GROUP BY e.id ORDER BY array_position($1, e.id)`,
      [this.events.map(({ id }) => id)],
    );
    expect(rows).toHaveLength(events.length);
    for (const [i, { counted, capacity, taken, confirmed, ...rest }] of rows.entries()) {
      expect(counted).toBe(taken);
      expect(counted).toBeLessThanOrEqual(capacity);
      expect(rest).toEqual({
        secondBookings: 0,
        tickets: confirmed,
        waiting: at(events, i).waiting.length,
      });
    }
  }
}

const expected = (booking: ModelBooking, now: number) => ({
  person: booking.person,
  quantity: booking.quantity,
  status: readStatus(booking, now),
  amount: booking.amount,
  currency: booking.amount > 0 ? CURRENCY : null,
  holdUntil: booking.holdUntil === null ? null : new Date(booking.holdUntil).toISOString(),
  tickets: booking.tickets.map(({ status }) => status),
});
