import { eventually } from "../support/eventually";
import { toldOf } from "../support/holds";
import { Api, type Person } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";
import { UnreliableDatabase } from "../support/unreliable-database";

/** What an operator sees and does where a service cannot handle what has happened. */
const database = new UnreliableDatabase();
let system: TestSystem;
let hanna: Person;
let alice: Person;
beforeAll(async () => {
  system = await startTestSystem({ wrapDatabase: database.wrap });
  const api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  alice = await api.attendee("Alice");
});
afterEach(() => database.works());
afterAll(() => system.stop());

const call = (action: string, params: object = {}): Promise<unknown> => {
  const [node] = system.systems;
  if (!node) throw new Error("The system has no node");
  return node.broker.call(action, params);
};

test("What a service cannot handle is listed with its error, and done once when it is replayed", async () => {
  const event = await hanna.createsEvent();
  database.fails(
    /json_array_elements[\s\S]*INSERT INTO notifications/,
    new Error("No room for Alice"),
  );
  await alice.books(event);
  const aside = { consumer: "notifications", name: "bookings.confirmed", deadAt: null };
  await eventually(async () =>
    expect(await call("core.$listUndelivered", { consumer: "notifications" })).toEqual([
      {
        ...aside,
        ...{ eventId: expect.any(String), attempts: expect.any(Number) },
        ...{ error: "Error: No room for Alice", nextTryAt: expect.any(String) },
      },
    ]),
  );
  expect(await call("core.$listUndelivered", { dead: true })).toEqual([]);
  expect(await call("core.$listUndelivered", { consumer: "bookings" })).toEqual([]);

  // Its last attempt.
  await eventually(async () => {
    await system.database.query(
      "UPDATE undelivered SET attempts = 11, next_try_at = now() WHERE dead_at IS NULL",
    );
    expect(await call("core.$listUndelivered", { dead: true })).toMatchObject([
      { attempts: 12, nextTryAt: null, deadAt: expect.any(String) },
    ]);
  });
  expect(await toldOf(alice, event)).toEqual([]);

  database.works();
  expect(await call("core.$replay", { consumer: "notifications" })).toEqual({ replayed: 1 });
  await eventually(async () => expect(await toldOf(alice, event)).toEqual(["booking.confirmed"]));
  expect(await call("core.$listUndelivered")).toEqual([]);
  expect(await call("core.$replay", { consumer: "notifications" })).toEqual({ replayed: 0 });
});

test.each([
  ["core.$replay", {}],
  ["core.$replay", { consumer: "notifications", eventId: "all" }],
  ["core.$listUndelivered", { limit: 0 }],
  ["core.$listUndelivered", { dead: "perhaps" }],
])("%s refuses %j", async (action, params) => {
  await expect(call(action, params)).rejects.toMatchObject({ type: "VALIDATION_FAILED" });
});
