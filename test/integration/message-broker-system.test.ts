import { hearers } from "../../services/contracts";
import { type Cable, cableTo } from "../support/cable";
import {
  brokersHere,
  CARRIER_URLS,
  type MessageBroker,
  ownNamespace,
  removeNamespace,
} from "../support/carriers";
import { eventually } from "../support/eventually";
import { toldOf } from "../support/holds";
import { Api } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";

/** The whole system with a message broker that goes and comes back. */
const QUEUES = hearers.flatMap(([event, all]) => all.map((consumer) => ({ consumer, event })));

test.each(brokersHere())(
  "%s: people book, and the system is ready, while it is away; they are told, once, when it is back",
  async (by: MessageBroker) => {
    const namespace = ownNamespace();
    let cable: Cable | undefined;
    let system: TestSystem | undefined;
    try {
      cable = await cableTo(CARRIER_URLS[by]);
      cable.cut();
      const { url } = cable;
      system = await startTestSystem({
        environment: { CHANNELS_URL: url, NAMESPACE: namespace },
      });
      const { origin, database } = system;
      const api = await Api.at(origin);
      const hanna = await api.host("Hanna");
      const people = await Promise.all(["Alice", "Ben"].map((name) => api.attendee(name)));
      const event = await hanna.createsEvent();
      for (const person of people) await person.books(event);
      expect((await fetch(`${origin}/health/ready`)).status).toBe(200);
      for (const person of people) expect(await toldOf(person, event)).toEqual([]);

      cable.mend();
      for (const person of people) {
        await eventually(async () =>
          expect(await toldOf(person, event)).toEqual(["booking.confirmed"]),
        );
      }
      await eventually(async () =>
        expect(
          await database.query("SELECT id FROM outbox UNION ALL SELECT id FROM publications"),
        ).toEqual([]),
      );
      const [first] = await database.query("SELECT count(*)::int AS told FROM notifications");
      expect(first).toEqual({ told: 2 });
    } finally {
      await system?.stop();
      await cable?.remove();
      await removeNamespace(by, namespace, QUEUES);
    }
  },
  60_000,
);
