import { type Channel, type ChannelModel, type ConfirmChannel, connect } from "amqplib";
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

/** A connection that falls silent is missed after two of these. */
const HEARTBEAT_SECONDS = 10;

/** What ends a session, with the reason. */
type End = (why?: unknown) => void;

/** An address for amqplib, which would take a URL apart as well, but with rules of its own. */
function optionsOf(address: string) {
  const { protocol, hostname, port, username, password, pathname } = new URL(address);
  const account = {
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
  };
  return {
    protocol: protocol.slice(0, -1),
    // Of an address of version 6 without its brackets.
    hostname: hostname.replace(/^\[|\]$/g, ""),
    ...(port ? { port: Number(port) } : {}),
    ...(username ? account : {}),
    vhost: decodeURIComponent(pathname.slice(1)) || "/",
    heartbeat: HEARTBEAT_SECONDS,
  };
}

/**
 * Ends a connection whose other end may have fallen silent: amqplib would wait for an answer, and look for signs of life
 * meanwhile. Its types do not know these parts.
 */
async function closed(model: ChannelModel): Promise<void> {
  try {
    await inTime(model.close(), "No answer", FAREWELL_MS);
  } catch {
    const { stream, heartbeater } = model.connection as unknown as {
      stream: { destroy(): void };
      heartbeater: { clear(): void } | null;
    };
    heartbeater?.clear();
    stream.destroy();
  }
}

/** A channel whose end is the end of the session. */
function watched<C extends Channel>(channel: C, end: End): C {
  channel.on("error", end);
  channel.on("close", () => end(new Error("A channel was closed")));
  return channel;
}

function publisher(
  model: ChannelModel,
  channel: ConfirmChannel,
  exchange: string,
  end: End,
): Session["publish"] {
  /** Why the broker takes nothing at the moment. */
  let blocked: string | undefined;
  model.on("blocked", (reason: string) => {
    blocked = reason;
  });
  model.on("unblocked", () => {
    blocked = undefined;
  });
  /** Messages that came back: no queue was there for them. */
  const returned = new Set<unknown>();
  channel.on("return", ({ properties }: { properties: { messageId?: unknown } }) =>
    returned.add(properties.messageId),
  );
  const how = { persistent: true, mandatory: true, contentType: "application/json" };
  return async ({ id, event, body }) => {
    if (blocked !== undefined) throw new Error(`It takes nothing at the moment: ${blocked}`);
    let isRefused = false;
    const confirmed = new Promise<void>((resolve, reject) => {
      channel.publish(exchange, event, body, { ...how, messageId: id }, (refusal) => {
        // Whatever is returned is so before it is confirmed.
        if (returned.delete(id)) reject(new Error(`There is no queue for ${event}`));
        else if (refusal) {
          // A queue is full: the session is as sound as before.
          isRefused = true;
          reject(refusal);
        } else resolve();
      });
    });
    try {
      await inTime(confirmed, "Nothing was confirmed");
    } catch (error) {
      if (blocked === undefined && !isRefused) end(error);
      throw error;
    }
  };
}

async function consume(
  model: ChannelModel,
  { queue, most }: { queue: string; most: number },
  receive: (message: Incoming) => void,
  end: End,
): Promise<() => Promise<void>> {
  let isOver = false;
  // What is acknowledged then is had again.
  const over = (why?: unknown) => {
    if (!isOver) end(why);
    isOver = true;
  };
  const channel = watched(await model.createChannel(), over);
  await channel.prefetch(most);
  await channel.consume(queue, (message) => {
    // Whose queue has been removed is told so by none.
    if (!message) return over(new Error(`The queue ${queue} is gone`));
    receive({
      body: message.content,
      acknowledge() {
        if (!isOver) channel.ack(message);
      },
    });
  });
  return async () => {
    if (isOver) return;
    isOver = true;
    // With it what was not acknowledged goes back.
    await inTime(channel.close(), "No answer", FAREWELL_MS).catch(() => {});
  };
}

/**
 * RabbitMQ: a topic exchange for each namespace, and a quorum queue for each consumer and event, which is replicated
 * where there is a cluster.
 */
export function rabbitMq(url: string, namespace: string): Broker {
  const exchange = `${namespace}.channels`;
  const nameOf = ({ consumer, event }: Queue) => `${namespace}.${consumer}.${event}`;

  const declare = async (channel: Channel, queues: readonly Queue[]) => {
    await channel.assertExchange(exchange, "topic", { durable: true });
    for (const queue of queues) {
      const how = { "x-queue-type": "quorum", "x-expires": UNUSED_MS };
      await channel.assertQueue(nameOf(queue), { durable: true, arguments: how });
      await channel.bindQueue(nameOf(queue), exchange, queue.event);
    }
  };

  const connected = async (end: End): Promise<ChannelModel> => {
    const model = await connect(optionsOf(url), {
      timeout: PATIENCE_MS,
      noDelay: true,
      clientProperties: { connection_name: exchange },
    });
    model.on("error", end);
    model.on("close", end);
    return model;
  };

  return {
    servers: new URL(url).host,
    async open(queues) {
      let end: End = () => {};
      const ended = new Promise<unknown>((resolve) => {
        end = resolve;
      });
      const models: ChannelModel[] = [];
      const close = async () => {
        end();
        await Promise.all(models.splice(0).map(closed));
      };
      try {
        // One for each direction: a broker that is short of memory or disk does not read from who publishes, not even
        // acknowledgements.
        const publishing = await connected(end);
        models.push(publishing);
        const consuming = await connected(end);
        models.push(consuming);
        const channel = watched(
          await inTime(publishing.createConfirmChannel(), "There was no channel"),
          end,
        );
        await inTime(declare(channel, queues), "Queues were not declared");
        const looking = watched(
          await inTime(consuming.createChannel(), "There was no channel"),
          end,
        );
        return {
          ended,
          close,
          publish: publisher(publishing, channel, exchange, end),
          consume: (queue, most, receive) =>
            consume(consuming, { queue: nameOf(queue), most }, receive, end),
          async isDrained(queue) {
            try {
              // amqplib would wait for ever, also once the connection is gone.
              const asked = looking.checkQueue(nameOf(queue));
              return (await inTime(asked, "Nothing was said of a queue")).messageCount === 0;
            } catch (error) {
              end(error);
              throw error;
            }
          },
        };
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
