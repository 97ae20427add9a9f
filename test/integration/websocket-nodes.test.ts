import { createTestDatabase, type TestDatabase } from "../support/database";
import { Api, type Person } from "../support/people";
import { Line } from "../support/sockets";
import { SPREADS, startTestSystem, type TestSystem } from "../support/system";

interface Gateways {
  here: Api;
  there: Api;
  stop(): Promise<void>;
}

/** Two gateways of one system, with its services on other nodes. */
async function ofOneSystem(spread: (typeof SPREADS)[number]): Promise<Gateways> {
  const system = await startTestSystem({ spread, twice: ["api"] });
  const [here, there] = await Promise.all(
    system.systems
      .flatMap(({ address }) => address ?? [])
      .map(({ port }) => Api.at(`http://127.0.0.1:${port}`)),
  );
  if (!here || !there) throw new Error("There are not two gateways");
  return { here, there, stop: () => system.stop() };
}

/** Two whole systems that have nothing but a database in common. */
async function strangers(): Promise<Gateways> {
  const database: TestDatabase = await createTestDatabase();
  const both: TestSystem[] = [
    await startTestSystem({ database }),
    await startTestSystem({ database }),
  ];
  const [here, there] = await Promise.all(both.map(({ origin }) => Api.at(origin)));
  if (!here || !there) throw new Error("There are not two gateways");
  return {
    here,
    there,
    async stop() {
      await Promise.all(both.map((system) => system.stop()));
      await database.drop();
    },
  };
}

const overNats = SPREADS.filter((spread) => spread === "a broker each over NATS");

describe.each([
  ...overNats.map((spread) => ["of one system over NATS", () => ofOneSystem(spread), 500] as const),
  // Nobody nudges: they look every two seconds, and the events of the other one every quarter of one.
  ["that share a database alone", strangers, 4_000] as const,
])("Two gateways %s", (_words, starts, withinMs) => {
  let gateways: Gateways;
  let hanna: Person;
  let ben: Person;
  const lines: Line[] = [];
  beforeAll(async () => {
    gateways = await starts();
    hanna = await gateways.here.host("Hanna");
    ben = await gateways.here.attendee("Ben");
  });
  afterAll(async () => {
    for (const line of lines) line.hangsUp();
    await gateways.stop();
  });
  const connects = async (api: Api, person: Person) => {
    const line = await Line.to(api.origin, `?token=${person.token}`);
    lines.push(line);
    return line;
  };

  test("tell the same, wherever it happened", async () => {
    const event = await hanna.createsEvent({ capacity: 50 });
    const both = [await connects(gateways.here, ben), await connects(gateways.there, ben)];
    for (const line of both) {
      line.says(
        { action: "subscribe", eventId: event.id },
        { action: "subscribe", hostId: hanna.who.id },
      );
      await line.hears({ type: "subscribed", hostId: hanna.who.id });
    }
    await ben.books(event, 2);
    const bookedAt = performance.now();
    for (const line of both) {
      await line.hears((said) => said.notification?.type === "booking.confirmed");
      expect(performance.now() - bookedAt).toBeLessThan(withinMs);
    }
    const fresh = await hanna.createsEvent();
    for (const line of both) {
      await line.hears((said) => said.action === "created" && said.data.id === fresh.id);
      const seats = line.heard.filter(({ action }) => action === "availability");
      expect(seats.map(({ data }) => data.availableTickets)).toEqual([50, 48]);
    }
    const told = both.map(({ heard }) => heard.filter(({ type }) => type === "notification"));
    expect(told[0]).toHaveLength(1);
    expect(told[1]).toEqual(told[0]);
  });

  test("close the sockets of a session that ends, wherever it does", async () => {
    const cleo = await gateways.here.attendee("Cleo");
    const line = await connects(gateways.there, cleo);
    await cleo.does(204, "POST", "/auth/logout");
    expect(await line.isClosed()).toBe(4401);
  });
});
