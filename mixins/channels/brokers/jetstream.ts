import {
  AckPolicy,
  type ConsumerMessages,
  connect,
  DeliverPolicy,
  ErrorCode,
  type JetStreamManager,
  type JsMsg,
  type NatsConnection,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
} from "nats";
import { natsOptions, natsServers } from "../../../lib/nats-options";
import {
  type Broker,
  FAREWELL_MS,
  type Incoming,
  inTime,
  PATIENCE_MS,
  type Queue,
  type Session,
  UNUSED_MS,
} from "./session";

/** What a node that died has been sent is sent to another one after so long. */
const ACKNOWLEDGED_WITHIN_MS = 30_000;
/** A message that is sent again so soon is none; the inbox makes once of what comes later. */
const DUPLICATE_WITHIN_MS = 2_000;
/** How long one request for messages stands. */
const REQUEST_MS = 30_000;
/** A connection that falls silent is missed after three of these. */
const PING_EVERY_MS = 5_000;
const MOST_PINGS_OUT = 2;

const isMissing = (error: unknown): boolean =>
  error instanceof NatsError && error.api_error?.code === 404;
/** Whether the stream may be there, and only did not want this. */
const isRefusal = (error: unknown): boolean =>
  error instanceof NatsError &&
  (error.isJetStreamError() || error.code === ErrorCode.MaxPayloadExceeded);

/**
 * NATS JetStream: a stream for each namespace, from which a message goes when every consumer has acknowledged it, and a
 * durable consumer for each queue. A consumer hears of one subject, because servers before 2.10 know no more.
 */
export function jetStream(url: string, namespace: string): Broker {
  const stream = `${namespace}-channels`;
  const subjectOf = (event: string) => `channels.${namespace}.${event}`;
  // Names may hold no dots.
  const durableOf = ({ consumer, event }: Queue) => `${consumer}_${event.replaceAll(".", "_")}`;

  const declare = async (manager: JetStreamManager, queues: readonly Queue[]) => {
    try {
      // However its operator has changed it, with more replicas or other limits.
      await manager.streams.info(stream);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await manager.streams.add({
        name: stream,
        subjects: [subjectOf(">")],
        retention: RetentionPolicy.Interest,
        storage: StorageType.File,
        max_age: nanos(UNUSED_MS),
        duplicate_window: nanos(DUPLICATE_WITHIN_MS),
      });
    }
    for (const queue of queues) {
      await manager.consumers.add(stream, {
        durable_name: durableOf(queue),
        filter_subject: subjectOf(queue.event),
        deliver_policy: DeliverPolicy.All,
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(ACKNOWLEDGED_WITHIN_MS),
        max_deliver: -1,
        inactive_threshold: nanos(UNUSED_MS),
      });
    }
  };

  const sessionOf = (connection: NatsConnection, manager: JetStreamManager): Session => {
    const client = connection.jetstream({ timeout: PATIENCE_MS });
    let reason: unknown;
    const end = async (why?: unknown) => {
      reason ??= why;
      // What was acknowledged last is still to be sent.
      await inTime(connection.flush(), "No answer", FAREWELL_MS).catch(() => {});
      await connection.close();
    };
    return {
      ended: connection.closed().then((why) => reason ?? why ?? undefined),
      close: () => end(),

      async publish({ id, event, body }) {
        try {
          await client.publish(subjectOf(event), body, { msgID: id, timeout: PATIENCE_MS });
        } catch (error) {
          if (!isRefusal(error)) void end(error);
          throw error;
        }
      },

      async consume(queue, most, receive) {
        const consumer = await client.consumers.get(stream, durableOf(queue));
        const unacknowledged = new Set<JsMsg>();
        let isStopped = false;
        let request: ConsumerMessages | undefined;
        let roomMade = () => {};
        const take = (message: JsMsg) => {
          unacknowledged.add(message);
          const incoming: Incoming = {
            body: message.data,
            acknowledge() {
              if (!unacknowledged.delete(message)) return;
              if (!connection.isClosed()) message.ack();
              roomMade();
            },
          };
          receive(incoming);
        };
        // Not `consume`, which asks for more whether or not anything has been acknowledged.
        const asking = async () => {
          while (!isStopped) {
            const room = most - unacknowledged.size;
            // Half at a time: a request for each message would be as dear as the message.
            if (room < Math.ceil(most / 2)) {
              await new Promise<void>((resolve) => {
                roomMade = resolve;
              });
              continue;
            }
            request = await consumer.fetch({ max_messages: room, expires: REQUEST_MS });
            if (isStopped) return void request.close();
            for await (const message of request) take(message);
          }
        };
        asking().catch(end);
        return async () => {
          isStopped = true;
          roomMade();
          await request?.close();
          for (const message of unacknowledged) if (!connection.isClosed()) message.nak();
          unacknowledged.clear();
        };
      },

      async isDrained(queue) {
        try {
          const { num_pending, num_ack_pending } = await manager.consumers.info(
            stream,
            durableOf(queue),
          );
          return num_pending + num_ack_pending === 0;
        } catch (error) {
          // It may be gone: then the next session declares it anew.
          void end(error);
          throw error;
        }
      },
    };
  };

  return {
    servers: natsServers(url),
    async open(queues) {
      const connection = await connect({
        ...natsOptions(url),
        name: stream,
        timeout: PATIENCE_MS,
        // Whoever keeps the connection does that, and declares everything anew.
        reconnect: false,
        pingInterval: PING_EVERY_MS,
        maxPingOut: MOST_PINGS_OUT,
      });
      try {
        const manager = await connection.jetstreamManager({ timeout: PATIENCE_MS });
        await declare(manager, queues);
        return sessionOf(connection, manager);
      } catch (error) {
        await connection.close();
        throw error;
      }
    },
  };
}
