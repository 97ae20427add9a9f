/** What the benches rely on must fit the tables, and a recount that agrees with everything would be none. */
import { addPeople } from "../../bench/database";
import { measureFloor } from "../../bench/floor";
import { recount } from "../../bench/recount";
import { newId } from "../../lib/ids";
import { createTestDatabase, type TestDatabase } from "../support/database";

const ATTENDEES = 20;

let database: TestDatabase;
let eventId: string;
let bookings: string[];

beforeAll(async () => {
  database = await createTestDatabase();
  const never = new AbortController().signal;
  await addPeople(database, ATTENDEES, never);
  // It ends when everybody has booked.
  const order = { seconds: 60, attendees: ATTENDEES, stopping: never };
  const speed = await measureFloor({ ...database, settle: async () => {} }, order);
  expect(speed).toBeGreaterThan(0);
  const rows = await database.query('SELECT id, event_id AS "eventId" FROM bookings');
  eventId = rows[0].eventId;
  bookings = rows.map(({ id }) => id);
});
afterAll(() => database.drop());

const count = (told = bookings) => recount(database, [eventId], told);

/** Runs a statement, counts, and takes it back. */
async function countAfter(statement: string, undo: string): Promise<string[]> {
  await database.query(statement, [eventId]);
  try {
    return await count();
  } finally {
    await database.query(undo, [eventId]);
  }
}

test("The floor books one seat for each attendee, with ticket, counter and nothing left to tell", async () => {
  expect(bookings).toHaveLength(ATTENDEES);
  expect(await count()).toEqual([]);
  expect(await database.query("SELECT id FROM outbox")).toEqual([]);
});

describe("A recount finds", () => {
  test("a 201 without a booking", async () => {
    const faults = await count([...bookings.slice(1), newId()]);
    expect(faults).toEqual([`told is ${ATTENDEES - 1}, not ${ATTENDEES}`]);
  });

  test("a booking that nobody was told of", async () => {
    expect(await count(bookings.slice(1))).toContain(
      `bookings is ${ATTENDEES}, not ${ATTENDEES - 1}`,
    );
  });

  test("an event whose counter is off", async () => {
    const faults = await countAfter(
      "UPDATE events SET number_of_attendees = number_of_attendees + 1 WHERE id = $1",
      "UPDATE events SET number_of_attendees = number_of_attendees - 1 WHERE id = $1",
    );
    expect(faults).toEqual([
      `counted is ${ATTENDEES + 1}, not ${ATTENDEES}`,
      "eventsThatDisagree is 1, not 0",
    ]);
  });

  test("a seat without a ticket", async () => {
    const ticket =
      "(SELECT min(t.id::text)::uuid FROM tickets t JOIN bookings b ON b.id = t.booking_id WHERE b.event_id = $1)";
    const faults = await countAfter(
      `UPDATE tickets SET status = 'cancelled' WHERE id = ${ticket}`,
      `UPDATE tickets SET status = 'valid' WHERE id = ${ticket}`,
    );
    expect(faults).toEqual([`tickets is ${ATTENDEES - 1}, not ${ATTENDEES}`]);
  });
});
