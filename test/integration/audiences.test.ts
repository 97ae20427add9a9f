import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { Api } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";

/** More than are told in one transaction. */
const ATTENDEES = 4_321;

let system: TestSystem;
let api: Api;
beforeAll(async () => {
  // The smallest there may be: what is told must not wait for a place of those who listen, nor they for its.
  system = await startTestSystem({ environment: { DATABASE_POOL: "3" } });
  api = await Api.at(system.origin);
});
afterAll(() => system.stop());

test("The attendees of an event are each told of a change, however many they are, and only those who still are", async () => {
  const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
  const [event, other] = [
    await hanna.createsEvent({ capacity: 9_999 }),
    await hanna.createsEvent(),
  ];
  await alice.books(other);
  const people = await crowd(system, api, ATTENDEES);
  await system.database.query(
    `INSERT INTO bookings (id, event_id, user_id, host_id, quantity, status, amount, created_at, updated_at)
     SELECT gen_random_uuid(), e.id, user_id, e.host_id, 1,
            CASE n % 3 WHEN 0 THEN 'expired' ELSE 'confirmed' END, 0, now(), now()
       FROM events e, unnest($2::uuid[]) WITH ORDINALITY AS made (user_id, n) WHERE e.id = $1`,
    [event.id, people.map(({ who }) => who.id)],
  );
  await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Elsewhere" });
  const stillComing = people.filter((_, i) => (i + 1) % 3 !== 0).map(({ who }) => who.id);
  await eventually(async () => {
    const told = await system.database.query(
      "SELECT user_id AS id FROM notifications WHERE type = 'event.updated' ORDER BY user_id",
    );
    expect(told.map(({ id }) => id)).toEqual(stillComing.toSorted());
  });
});
