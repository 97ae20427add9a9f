/**
 * The floor: the best that one client does with one booking a commit, on the same database and tables. One
 * statement, prepared: count up if a seat is left, insert booking, ticket and outbox row.
 */
import { newId } from "../lib/ids";
import { addEvents, type BenchDatabase, withClient } from "./database";
import { attendeeAt, userId } from "./people";
import { recount } from "./recount";

const CAPACITY = 1_000_000;

const BOOK = {
  name: "floor",
  text: `
    WITH seat AS (
      UPDATE events SET number_of_attendees = number_of_attendees + 1
       WHERE id = $1 AND status = 'published' AND deleted_at IS NULL AND number_of_attendees < capacity
      RETURNING id, host_id),
    made AS (
      INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
      SELECT $2, id, $3, host_id, 1, 'confirmed', 0, now(), now() FROM seat
      RETURNING id),
    seated AS (
      INSERT INTO tickets (id, booking_id, status, created_at) SELECT $4, id, 'valid', now() FROM made)
    INSERT INTO outbox (id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data)
    SELECT $5, 'booking', 'confirmed', id, 1, now(), $6, $7 FROM made
    RETURNING aggregate_id`,
};

/** What the system writes of a booking, with the same fields. */
const outboxData = (bookingId: string, eventId: string, user: string) =>
  JSON.stringify({
    bookingId,
    eventId,
    userId: user,
    quantity: 1,
    eventTitle: "An evening of the bench",
    eventStartDateTime: new Date().toISOString(),
    eventTimeZone: "UTC",
    holdExpiresAt: null,
    fromWaitlist: false,
  });

/**
 * Measures the floor; nothing else may be running. Nobody is told of its bookings.
 *
 * @returns bookings a second
 * @throws Error when its own counts do not agree
 */
export async function measureFloor(
  database: Pick<BenchDatabase, "url" | "query" | "settle">,
  { seconds, attendees, stopping }: { seconds: number; attendees: number; stopping: AbortSignal },
): Promise<number> {
  const events = await addEvents(database, 1, CAPACITY);
  const eventId = events[0] ?? "";
  await database.settle();
  const { bookings, took } = await withClient(database.url, async (client) => {
    const made: string[] = [];
    const startedAt = performance.now();
    const endAt = startedAt + seconds * 1000;
    while (performance.now() < endAt && made.length < attendees) {
      stopping.throwIfAborted();
      const [id, user] = [newId(), userId(attendeeAt(made.length, attendees))];
      const values = [eventId, id, user, newId(), newId(), newId(), outboxData(id, eventId, user)];
      const { rowCount } = await client.query({ ...BOOK, values });
      if (rowCount !== 1) throw new Error("The floor found no seat");
      made.push(id);
    }
    return { bookings: made, took: (performance.now() - startedAt) / 1000 };
  });
  const faults = await recount(database, events, bookings);
  if (faults.length > 0) throw new Error(`The floor: ${faults.join("; ")}`);
  await database.query("DELETE FROM outbox");
  await database.query("VACUUM outbox");
  return bookings.length / took;
}
