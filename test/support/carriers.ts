import { randomBytes } from "node:crypto";
import { connect as connectAmqp } from "amqplib";
import { connect as connectNats } from "nats";
import type { Queue } from "../../mixins/channels/brokers/session";
import { NATS_URL } from "./nats";

/** What can carry events from the outbox to those who hear of them. */
export const CARRIERS = ["PostgreSQL", "NATS JetStream", "RabbitMQ"] as const;
export type Carrier = (typeof CARRIERS)[number];
export type MessageBroker = Exclude<Carrier, "PostgreSQL">;

/** As `CHANNELS_URL` takes them, on their usual local ports. */
export const CARRIER_URLS: Readonly<Record<Carrier, string>> = {
  PostgreSQL: "postgres:",
  "NATS JetStream": NATS_URL,
  RabbitMQ: "amqp://guest:guest@127.0.0.1:5672",
};

/** A namespace that no other test has. */
export const ownNamespace = (): string => `test-${process.pid}-${randomBytes(4).toString("hex")}`;

/** Those that can be used here; PostgreSQL always. */
export async function carriersThatAnswer(): Promise<Carrier[]> {
  const answers = (carrier: Carrier) =>
    removeNamespace(carrier, ownNamespace(), []).then(
      () => true,
      () => false,
    );
  const found = await Promise.all(
    CARRIERS.map(async (carrier) => ((await answers(carrier)) ? [carrier] : [])),
  );
  return found.flat();
}

/** Found by the global setup. */
export const carriersHere = (): readonly Carrier[] =>
  CARRIERS.filter((carrier) => process.env.MARQUEE_TEST_CARRIERS?.split(",").includes(carrier));
export const brokersHere = (): readonly MessageBroker[] =>
  carriersHere().filter((carrier): carrier is MessageBroker => carrier !== "PostgreSQL");

/** Takes away what a broker keeps of a namespace: as if it had lost its data. */
export async function removeNamespace(
  carrier: Carrier,
  namespace: string,
  queues: readonly Queue[],
): Promise<void> {
  if (carrier === "NATS JetStream") {
    const connection = await connectNats({ servers: new URL(NATS_URL).host, timeout: 2_000 });
    try {
      const manager = await connection.jetstreamManager();
      const names = await manager.streams.names(`channels.${namespace}.>`).next();
      for (const name of names) await manager.streams.delete(name);
    } finally {
      await connection.close();
    }
  }
  if (carrier === "RabbitMQ") {
    const connection = await connectAmqp(CARRIER_URLS.RabbitMQ, { timeout: 2_000 });
    try {
      const channel = await connection.createChannel();
      for (const { consumer, event } of queues) {
        await channel.deleteQueue(`${namespace}.${consumer}.${event}`);
      }
      await channel.deleteExchange(`${namespace}.channels`);
    } finally {
      await connection.close();
    }
  }
}

/** Puts a message into a broker that no relay has sent. */
export async function smuggle(
  carrier: MessageBroker,
  namespace: string,
  event: string,
  body: string,
): Promise<void> {
  if (carrier === "NATS JetStream") {
    const connection = await connectNats({ servers: new URL(NATS_URL).host });
    await connection.jetstream().publish(`channels.${namespace}.${event}`, body);
    await connection.close();
    return;
  }
  const connection = await connectAmqp(CARRIER_URLS.RabbitMQ);
  const channel = await connection.createConfirmChannel();
  channel.publish(`${namespace}.channels`, event, Buffer.from(body));
  await channel.waitForConfirms();
  await connection.close();
}
