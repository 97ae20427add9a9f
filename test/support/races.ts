import { crowd } from "./crowd";
import { createTestDatabase, type TestDatabase } from "./database";
import { type Answer, Api, Person } from "./people";
import { startTestSystem, type TestSystem, type TestSystemOptions } from "./system";
import { type Rewrite, rewriting } from "./unguarded";

/**
 * Processes with all services each on one database. They do not reach each other: whatever keeps them from
 * selling a seat twice is in the database.
 */
export interface Nodes {
  readonly database: TestDatabase;
  readonly systems: readonly TestSystem[];
  /** Of the first node. */
  readonly api: Api;
  readonly hanna: Person;
  /** New attendees, who come to so many of the nodes by turns; to all unless told. */
  crowd(size: number, nodes?: number): Promise<Person[]>;
  /** The same person with the same token at another node, counted from 0. */
  elsewhere(person: Person, node?: number): Person;
  /** One person so many times, at so many of the nodes by turns; at all unless told. */
  times(person: Person, size: number, nodes?: number): Person[];
  /** Does `work` while all nodes do without a guard. */
  without<T>(guard: Rewrite, work: () => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

type NodeOptions = Omit<TestSystemOptions, "database" | "wrapDatabase">;

/** @param options of each node, one after the other */
export async function startNodes(...options: NodeOptions[]): Promise<Nodes> {
  const database = await createTestDatabase();
  const systems: TestSystem[] = [];
  let rewrite: Rewrite = (sql) => sql;
  const stop = async () => {
    await Promise.all(systems.map((system) => system.stop()));
    await database.drop();
  };
  try {
    for (const one of options) {
      const wrapDatabase = rewriting((sql) => rewrite(sql));
      systems.push(await startTestSystem({ ...one, wrapDatabase, database }));
    }
    const apis = await Promise.all(systems.map(({ origin }) => Api.at(origin)));
    const [[first], [api]] = [systems, apis];
    if (!first || !api) throw new Error("There is no node");
    const elsewhere = ({ who, token, refreshToken }: Person, node = 1) => {
      const there = apis[node];
      if (!there) throw new Error(`There is no node ${node}`);
      return new Person(there, who, token, refreshToken);
    };
    return {
      database,
      systems,
      api,
      hanna: await api.host("Hanna"),
      crowd: async (size, nodes = apis.length) =>
        (await crowd(first, api, size)).map((person, i) => elsewhere(person, i % nodes)),
      elsewhere,
      times: (person, size, nodes = apis.length) =>
        Array.from({ length: size }, (_, i) => elsewhere(person, i % nodes)),
      async without(guard, work) {
        rewrite = guard;
        try {
          return await work();
        } finally {
          rewrite = (sql) => sql;
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

export const bookAtOnce = (
  people: Person[],
  event: { id: string },
  quantity?: number,
): Promise<Answer[]> => Promise.all(people.map((person) => person.triesToBook(event, quantity)));

/** Books again and again until there are seats, or something else is over; gives everybody's last answer. */
export async function insistUntil(
  over: Promise<unknown>,
  people: Person[],
  event: { id: string },
): Promise<Answer[]> {
  let isOver = false;
  const ending = over.finally(() => {
    isOver = true;
  });
  const answers = await Promise.all(
    people.map(async (person) => {
      for (;;) {
        const answer = await person.triesToBook(event);
        if (answer.status === 201 || isOver) return answer;
      }
    }),
  );
  await ending;
  return answers;
}

export interface HeldBooking {
  readonly id: string;
  readonly holder: Person;
}

/** Holders who give back what they booked, all at once. */
export const cancelAtOnce = (bookings: HeldBooking[]): Promise<Answer[]> =>
  Promise.all(bookings.map(({ holder, id }) => holder.tries("DELETE", `/bookings/${id}`)));

/** Each of them books; all get their seats. */
export const allBook = (
  people: Person[],
  event: { id: string },
  quantityOf: (i: number) => number = () => 1,
): Promise<HeldBooking[]> =>
  Promise.all(
    people.map(async (holder, i) => {
      const { id } = await holder.books(event, quantityOf(i));
      return { holder, id };
    }),
  );

/** How often each answer came: `201`, `409 EVENT_SOLD_OUT`, … */
export function tally(answers: Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, body } of answers) {
    const outcome = status < 400 ? String(status) : `${status} ${body?.code}`;
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

export interface Seats {
  capacity: number;
  /** What the event's row says. */
  counted: number;
  /** Seats of active bookings. */
  sold: number;
  /** Active bookings. */
  bookings: number;
  /** Tickets that let somebody in, or have. */
  tickets: number;
}

export async function seatsOf(
  { database }: { database: TestDatabase },
  event: { id: string },
): Promise<Seats & { confirmed: number; several: number }> {
  const [row] = await database.query(
    `SELECT e.capacity, e.number_of_attendees AS counted,
            coalesce(sum(b.quantity), 0)::int AS sold, count(b.id)::int AS bookings,
            coalesce(sum(b.quantity) FILTER (WHERE b.status = 'confirmed'), 0)::int AS confirmed,
            (count(b.id) - count(DISTINCT b.user_id))::int AS several,
            (SELECT count(*)::int FROM tickets t JOIN bookings o ON o.id = t.booking_id
              WHERE o.event_id = e.id AND t.status <> 'cancelled') AS tickets
       FROM events e LEFT JOIN bookings b ON b.event_id = e.id AND b.status IN ('pending', 'confirmed')
      WHERE e.id = $1 GROUP BY e.id`,
    [event.id],
  );
  return row;
}

/** What must hold after every race: the row says what is sold, and no seat was sold twice. */
export async function expectSound(
  where: { database: TestDatabase },
  event: { id: string },
): Promise<Seats> {
  const { confirmed, several, ...seats } = await seatsOf(where, event);
  expect(seats.counted).toBe(seats.sold);
  expect(seats.tickets).toBe(confirmed);
  expect(several).toBe(0);
  expect(seats.counted).toBeGreaterThanOrEqual(0);
  expect(seats.counted).toBeLessThanOrEqual(seats.capacity);
  return seats;
}
