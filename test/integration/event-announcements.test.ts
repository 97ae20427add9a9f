import type { Database } from "../../lib/database";
import { type Announced, watchOutbox } from "../support/announced";
import { eventually } from "../support/eventually";
import { Api, type Event, inDays, type Person } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";

/** What happens to an event and what is told of it are one transaction: neither is without the other. */
let system: TestSystem;
let api: Api;
let hanna: Person;
let alice: Person;
/** What the outbox does not take: what has become of a thing by this word, or anything. */
let refused: string | undefined;
let announced: Announced;

/** A database that takes everything but what is to be told, when it is told so. */
const withoutOutbox = (database: Database): Database => ({
  ...database,
  query(sql, bind, transaction) {
    const actions = sql.includes("INSERT INTO outbox") ? (bind?.actions as string[]) : [];
    if (actions.some((action) => refused === "anything" || refused === action)) {
      return Promise.reject(new Error("The outbox does not take it"));
    }
    return database.query(sql, bind, transaction);
  },
});

beforeAll(async () => {
  system = await startTestSystem({ wrapDatabase: withoutOutbox });
  announced = await watchOutbox(system.database);
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  alice = await api.attendee("Alice");
});
afterAll(() => system.stop());
afterEach(() => {
  refused = undefined;
});

const stored = async ({ id }: Pick<Event, "id">) => {
  const rows = await system.database.query(
    "SELECT to_jsonb(e) AS event FROM events e WHERE id = $1",
    [id],
  );
  return rows[0]?.event;
};
const told = (event: Event, names: string[]) =>
  eventually(async () => expect(await announced.of(event)).toEqual(names));

/** Somebody does something to an event while nothing can be told of it. */
async function whileBroken(
  work: () => Promise<{ status: number }>,
  what = "anything",
): Promise<void> {
  refused = what;
  expect((await work()).status).toBe(500);
  refused = undefined;
}

describe("Of what cannot be told nothing happens:", () => {
  const newEvent = {
    title: "An evening",
    startDateTime: inDays(7),
    endDateTime: inDays(8),
    capacity: 5,
  };

  test("an event is not made, and its key is free", async () => {
    const headers = { "Idempotency-Key": "made once" };
    const make = () => hanna.tries("POST", "/events", newEvent, headers);
    const count = () => system.database.query("SELECT count(*)::int AS events FROM events");
    const before = await count();
    await whileBroken(make);
    expect(await count()).toEqual(before);
    const { status, body } = await make();
    expect(status).toBe(201);
    await told(body, ["events.created"]);
  });

  test.each<[what: string, method: string, path: string, body: object | undefined, name: string]>([
    ["changed", "PATCH", "", { title: "Another one" }, "events.updated"],
    ["postponed", "POST", "/postpone", undefined, "events.updated"],
    ["cancelled", "POST", "/cancel", { reason: "Rain" }, "events.cancelled"],
  ])("an event is not %s", async (_what, method, path, body, name) => {
    const event = await hanna.createsEvent();
    const before = await stored(event);
    await whileBroken(() => hanna.tries(method, `/events/${event.id}${path}`, body));
    expect(await stored(event)).toEqual(before);
    await hanna.does(200, method, `/events/${event.id}${path}`, body);
    await told(event, ["events.created", name]);
  });

  test("a draft is not published", async () => {
    const event = await hanna.createsEvent({ status: "draft" });
    const before = await stored(event);
    await whileBroken(() => hanna.tries("POST", `/events/${event.id}/publish`));
    expect(await stored(event)).toEqual(before);
    await hanna.does(200, "POST", `/events/${event.id}/publish`);
    await told(event, ["events.created"]);
  });

  test("an event is not removed", async () => {
    const event = await hanna.createsEvent();
    await alice.books(event);
    const before = await stored(event);
    await whileBroken(() => hanna.tries("DELETE", `/events/${event.id}`));
    expect(await stored(event)).toEqual(before);
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await told(event, ["events.created", "events.cancelled", "events.deleted"]);
  });

  test("nor when that is true of its end alone: it stays cancelled until somebody asks again", async () => {
    const event = await hanna.createsEvent();
    await alice.books(event);
    await whileBroken(() => hanna.tries("DELETE", `/events/${event.id}`), "deleted");
    expect((await api.get(`/events/${event.id}`)).body.status).toBe("cancelled");
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    await told(event, ["events.created", "events.cancelled", "events.deleted"]);
  });
});

test("A cancellation is told of once, whoever asks for it and how often", async () => {
  const event = await hanna.createsEvent();
  const cancel = () => hanna.tries("POST", `/events/${event.id}/cancel`);
  const answers = await Promise.all([cancel(), cancel(), cancel()]);
  expect(answers.map(({ status }) => status)).toContain(200);
  await hanna.does(204, "DELETE", `/events/${event.id}`);
  await told(event, ["events.created", "events.cancelled", "events.deleted"]);
});
