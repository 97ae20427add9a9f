import type { Context } from "moleculer";
import type { System } from "../../system";
import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { Api, type Event, type Person } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";

/** So many that two nodes share them: all on one of them once in eight million runs. */
const EVENTS = 24;

let system: TestSystem;
let api: Api;
let host: Person;
let people: readonly Person[];
/** The nodes that run bookings, in the order in which they were started. */
let nodes: readonly System[];

beforeAll(async () => {
  system = await startTestSystem({ spread: "a broker each over TCP", twice: ["bookings"] });
  nodes = system.systems.filter(({ broker }) => broker.getLocalService("bookings"));
  api = await Api.at(system.origin);
  host = await api.host("Hanna");
  people = await crowd(system, api, 4);
});
afterAll(() => system.stop());

/** Which of the nodes handled each call of an action while the work was done, by a parameter's value. */
async function handledBy(
  name: string,
  parameter: string,
  work: () => Promise<unknown>,
): Promise<Map<unknown, Set<System>>> {
  const seen = new Map<unknown, Set<System>>();
  const restored = nodes.map((node) => {
    const endpoint = node.broker.registry.getActionEndpointByNodeId(name, node.broker.nodeID);
    if (!endpoint) throw new Error(`${name} is not on ${node.broker.nodeID}`);
    // By now it is the service's own with all that Moleculer has put around it, which it never does without.
    const action = endpoint.action as {
      handler: (ctx: Context<Record<string, unknown>>) => unknown;
    };
    const { handler } = action;
    action.handler = (ctx) => {
      const value = ctx.params[parameter];
      seen.set(value, (seen.get(value) ?? new Set()).add(node));
      return handler(ctx);
    };
    return () => {
      action.handler = handler;
    };
  });
  try {
    await work();
  } finally {
    for (const restore of restored) restore();
  }
  return seen;
}

const severalEvents = () => Promise.all(Array.from({ length: EVENTS }, () => host.createsEvent()));

const allBook = (events: readonly Event[]) =>
  Promise.all(events.flatMap((event) => people.map((person) => person.books(event))));

describe("Two nodes of bookings behind a gateway", () => {
  test("share the events: what is booked of one event comes to one of them", async () => {
    const events = await severalEvents();
    const seen = await handledBy("bookings.create", "eventId", () => allBook(events));
    expect([...seen.keys()].sort()).toEqual(events.map(({ id }) => id).sort());
    for (const at of seen.values()) expect(at.size).toBe(1);
    expect(new Set([...seen.values()].flatMap((at) => [...at])).size).toBe(2);
  });

  test("know an event by its id however that is written", async () => {
    const events = await severalEvents();
    const seen = await handledBy("bookings.create", "eventId", () =>
      Promise.all(
        events.flatMap(({ id }) => [
          people[0]?.books({ id }),
          people[1]?.books({ id: id.toUpperCase() }),
        ]),
      ),
    );
    for (const { id } of events) {
      expect(new Set([...(seen.get(id) ?? []), ...(seen.get(id.toUpperCase()) ?? [])]).size).toBe(
        1,
      );
    }
  });

  test("both hear what is not spread by event, which shows that the count can tell them apart", async () => {
    const [person] = people;
    const booking = await person?.books(await host.createsEvent());
    const seen = await handledBy("bookings.find", "id", () =>
      Promise.all(
        Array.from({ length: 20 }, () => person?.does(200, "GET", `/bookings/${booking?.id}`)),
      ),
    );
    expect(seen.get(booking?.id)?.size).toBe(2);
  });

  test("take each other's events over when one of them stops", async () => {
    const events = await severalEvents();
    const [first, second] = nodes;
    await second?.stop();
    const gateway = system.systems.find(({ address }) => address)?.broker;
    await eventually(async () => {
      expect(gateway?.registry.actions.get("bookings.create")?.endpoints).toHaveLength(1);
    });
    const seen = await handledBy("bookings.create", "eventId", () => allBook(events));
    for (const at of seen.values()) expect([...at]).toEqual([first]);
  });
});
