import type { ServiceBroker, ServiceSchema } from "moleculer";
import { brokerOptions, createBroker, natsTransporter } from "../../lib/broker";
import { newId } from "../../lib/ids";
import { nudges, onNudge, outboxNudges } from "../../mixins/nudges";
import { outboxCommands } from "../../mixins/outbox";
import { consumersOf, happened } from "../../services/contracts";
import { eventually } from "../support/eventually";
import { NATS_URL } from "../support/nats";
import { testConfig } from "../support/system";

const cancelled = () =>
  happened(
    "bookings.cancelled",
    { aggregateId: newId(), aggregateVersion: 1, occurredAt: new Date(), correlationId: null },
    {
      bookingId: newId(),
      eventId: newId(),
      userId: newId(),
      quantity: 1,
      eventTitle: "Tea",
      eventStartDateTime: new Date().toISOString(),
      eventTimeZone: "UTC",
      holdExpiresAt: null,
      fromWaitlist: false,
      reason: "attendee",
    },
  );

// Without a NATS server there is nothing to cross; the run says aloud at its start that it tests nothing over it.
const overNats = process.env.MARQUEE_TEST_NATS === "yes" ? describe : describe.skip;

overNats("A node that writes to the outbox, over NATS,", () => {
  const nudged: string[] = [];
  let brokers: ServiceBroker[];
  const node = (name: string, services: string[]): ServiceBroker => {
    const transporter = natsTransporter({ natsUrl: NATS_URL });
    const { middlewares = [], ...options } = brokerOptions(testConfig("postgres://x/y"), {
      ...(transporter ? { transporter } : {}),
      nodeID: `${name}-${process.pid}`,
      namespace: `nudges-${process.pid}`,
    });
    return createBroker(
      { ...options, middlewares: [...middlewares, outboxNudges(consumersOf)] },
      services.map(
        (service) =>
          ({
            name: service,
            // What they hear of stands in the contracts.
            channels: { any: {} },
            async started() {
              onNudge(this, () => nudged.push(`${service} on ${name}`));
            },
          }) as ServiceSchema,
      ),
    );
  };
  beforeAll(async () => {
    brokers = [node("here", ["notifications"]), node("there", ["notifications", "users"])];
    await Promise.all(brokers.map((broker) => broker.start()));
    await Promise.all(brokers.map((broker) => broker.waitForServices(["notifications", "users"])));
  });
  afterAll(() => Promise.all(brokers.map((broker) => broker.stop())));

  test("nudges those who hear of it on other nodes, now and then", async () => {
    for (let i = 0; i < 100; i++) outboxCommands([cancelled()]);
    await eventually(async () => {
      expect(nudged).toEqual(
        // Both write, as far as a process can tell: each nudges the other.
        expect.arrayContaining(["notifications on here", "notifications on there"]),
      );
    });
    expect(nudged).toHaveLength(2);
    // Who has nothing to do with it is left alone.
    expect(consumersOf("bookings.cancelled")).not.toContain("users");
  });
});

test("A nudge that cannot be sent harms nobody", async () => {
  const broker = createBroker(brokerOptions(testConfig("postgres://x/y")), []);
  const toNobody = nudges("tests.news", ["api"]);
  broker.createService({ name: "teller", mixins: [toNobody.mixin] });
  await broker.start();
  const sent = jest.spyOn(broker, "broadcast").mockRejectedValue(new Error("No connection"));
  toNobody.about(["Ben"]);
  toNobody.about(["Ben", "Cleo"]);
  await eventually(async () =>
    expect(sent.mock.calls).toEqual([["tests.news", { whom: ["Ben", "Cleo"] }, ["api"]]]),
  );
  toNobody.about(Array.from({ length: 501 }, (_, i) => `Guest ${i}`));
  await eventually(async () =>
    expect(sent).toHaveBeenLastCalledWith("tests.news", { whom: "many" }, ["api"]),
  );
  await broker.stop();
});
