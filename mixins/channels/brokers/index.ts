import { jetStream } from "./jetstream";
import { rabbitMq } from "./rabbitmq";
import type { Broker } from "./session";

/** The message broker of a URL of `CHANNELS_URL`; undefined where PostgreSQL alone carries events. */
export function brokerAt(url: string, namespace: string): Broker | undefined {
  if (/^(nats|tls):/.test(url)) return jetStream(url, namespace);
  if (/^amqps?:/.test(url)) return rabbitMq(url, namespace);
  return undefined;
}
