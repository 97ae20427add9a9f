import { systemClock } from "../../lib/clock";
import { loadConfig } from "../../lib/config";
import { type Database, openDatabase } from "../../lib/database";
import { IdempotencyKeyReused } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { type BookingRequest, bookingBatches } from "../../services/bookings/bookings.batches";
import { NotEnoughTickets } from "../../services/bookings/bookings.contract";
import { createTestDatabase, type TestDatabase } from "../support/database";

/** What requests that are certainly of one batch do to each other. */
const CAPACITY = 10;

let files: TestDatabase;
let database: Database;
beforeAll(async () => {
  files = await createTestDatabase();
  database = openDatabase(files.url, { connections: 5 });
});
afterAll(async () => {
  await database?.close();
  await files?.drop();
});

const addUser = async (role: "host" | "attendee"): Promise<string> => {
  const id = newId();
  await files.query(
    `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
     VALUES ($1::uuid, 'Somebody', $1::text || '@example.org', $2, 'none', now(), now())`,
    [id, role],
  );
  return id;
};

const addEvent = async (hostId: string): Promise<string> => {
  const id = newId();
  await files.query(
    `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, status,
                         tags, created_at, updated_at)
     VALUES ($1, $2, 'Evening', now() + interval '1 day', now() + interval '2 days', 'UTC', ${CAPACITY}, 0,
             'published', '{}', now(), now())`,
    [id, hostId],
  );
  return id;
};

/** Decides requests in one batch, which waits for all of them behind one that holds nobody's seats. */
async function inOneBatch(requests: readonly BookingRequest[]) {
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  let sizes = 0;
  const gated: Database = {
    ...database,
    async prepared(work, options) {
      sizes++;
      await gate;
      return database.prepared(work, options);
    },
  };
  const batches = bookingBatches(gated, systemClock, loadConfig({}));
  const nobodys = { eventId: newId(), userId: newId(), quantity: 1, key: null, requestId: null };
  const first = batches.submit(nobodys).catch(() => {});
  const all = requests.map((request) => batches.submit(request));
  const settled = Promise.allSettled(all);
  open();
  await first;
  const outcomes = await settled;
  expect(sizes).toBe(2);
  return outcomes;
}

const keyOf = (userId: string, body: string) => ({
  userId,
  key: "a key",
  fingerprint: Buffer.from(body),
});

const soldOf = async (eventId: string) => {
  const [event] = await files.query(
    `SELECT number_of_attendees AS counted,
            (SELECT coalesce(sum(quantity), 0)::int FROM bookings WHERE event_id = $1) AS booked
       FROM events WHERE id = $1`,
    [eventId],
  );
  return event;
};

describe("Requests of one batch under one key", () => {
  test("have one effect: the same one its answer, another one a refusal", async () => {
    const [userId, eventId] = [await addUser("attendee"), await addEvent(await addUser("host"))];
    const request = { eventId, userId, requestId: null };
    const wishes = [
      { ...request, quantity: 2, key: keyOf(userId, "two") },
      { ...request, quantity: 2, key: keyOf(userId, "two") },
      { ...request, quantity: 3, key: keyOf(userId, "three") },
    ];
    const [booked, again, other] = await inOneBatch(wishes);
    if (booked?.status !== "fulfilled") throw new Error("Nothing was booked");
    expect(booked.value).toMatchObject({ replayed: false, booking: { quantity: 2 } });
    expect(again).toEqual({
      status: "fulfilled",
      value: { replayed: true, booking: booked.value.booking },
    });
    expect(other).toMatchObject({
      status: "rejected",
      reason: { type: IdempotencyKeyReused.code },
    });
    expect(await soldOf(eventId)).toEqual({ counted: 2, booked: 2 });
    // And the answer is kept for whoever asks later.
    const [later] = await inOneBatch(wishes.slice(0, 1));
    expect(later).toEqual(again);
  });

  test("are each decided by itself after one that was refused: a refusal is not kept", async () => {
    const [userId, eventId] = [await addUser("attendee"), await addEvent(await addUser("host"))];
    const request = { eventId, userId, requestId: null };
    const [refused, booked] = await inOneBatch([
      { ...request, quantity: CAPACITY + 1, key: keyOf(userId, "too many") },
      { ...request, quantity: CAPACITY, key: keyOf(userId, "all") },
    ]);
    expect(refused).toMatchObject({ status: "rejected", reason: { type: NotEnoughTickets.code } });
    expect(booked).toMatchObject({ status: "fulfilled", value: { replayed: false } });
    expect(await soldOf(eventId)).toEqual({ counted: CAPACITY, booked: CAPACITY });
  });
});
