import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Log } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { brokerAt } from "../../mixins/channels";
import { keepConnected } from "../../mixins/channels/brokers/connection";
import { bodyOf, eventOf } from "../../mixins/channels/brokers/envelope";
import { relay } from "../../mixins/channels/brokers/relay";
import type { Session } from "../../mixins/channels/brokers/session";
import { eventually } from "../support/eventually";
import { outboxEvent } from "../support/outbox-event";
import { silent } from "../support/silent";

const PASSWORD = "p@ss/wörd %1";
const ACCOUNT = `box%40office:${encodeURIComponent(PASSWORD)}`;

/** RabbitMQ's first words: connection.start, with PLAIN as the only way to sign in. */
function connectionStart(): Buffer {
  const text = (words: string) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(words.length);
    return Buffer.concat([length, Buffer.from(words)]);
  };
  const payload = Buffer.concat([
    Buffer.from([0, 10, 0, 10, 0, 9, 0, 0, 0, 0]),
    text("PLAIN"),
    text("en_US"),
  ]);
  const head = Buffer.from([1, 0, 0, 0, 0, 0, payload.length]);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
}

/** A server that says its first words and hears how somebody signs in. */
async function withServer(
  greet: (socket: Socket) => void,
  work: (port: number, heard: () => string) => Promise<void>,
): Promise<void> {
  let heard = "";
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => {
      heard += data.toString();
    });
    greet(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await work((server.address() as AddressInfo).port, () => heard);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

const INFO = 'INFO {"server_id":"x","version":"2.9.10","proto":1,"max_payload":1048576}\r\n';

describe("The account of CHANNELS_URL", () => {
  test.each([
    [
      "nats",
      (socket: Socket) => socket.write(INFO),
      [`"user":"box@office"`, `"pass":"${PASSWORD}"`],
    ],
    [
      "amqp",
      (socket: Socket) => socket.once("data", () => socket.write(connectionStart())),
      [`\u0000box@office\u0000${PASSWORD}`],
    ],
  ])(
    "%s: arrives as it was meant, and is in no line of the log",
    async (protocol, greet, words) => {
      const lines: string[] = [];
      const line = (...said: unknown[]) => void lines.push(said.map(String).join(" "));
      const log: Log = { debug: line, info: line, warn: line, error: line };
      await withServer(greet, async (port, heard) => {
        const broker = brokerAt(`${protocol}://${ACCOUNT}@127.0.0.1:${port}`, "test");
        if (!broker) throw new Error("There is no message broker for it");
        expect(broker.servers).toBe(`127.0.0.1:${port}`);
        const connection = keepConnected(broker, [], log);
        await eventually(async () => {
          for (const one of words) expect(heard()).toContain(one);
        });
        // It never answers, which keeps nobody from stopping.
        await connection.close();
      });
      const told = lines.join();
      for (const secret of ["box", PASSWORD, encodeURIComponent(PASSWORD)]) {
        expect(told).not.toContain(secret);
      }
    },
  );
});

test("Without a message broker PostgreSQL carries events", () => {
  expect(brokerAt("postgres:", "test")).toBeUndefined();
});

test("An event arrives as it was sent", () => {
  const event = { ...outboxEvent({ eventTitle: 'Größe «α» \u0000 "x"', seats: [1] }) };
  expect(eventOf(bodyOf(event))).toEqual(event);
  expect(Object.keys(JSON.parse(bodyOf(event).toString()))).toEqual([
    ...["id", "type", "action", "aggregateId", "aggregateVersion", "occurredAt"],
    ...["correlationId", "data"],
  ]);
  // PostgreSQL gives ids back in small letters, and by them it is known what is new.
  const shouted = { ...JSON.parse(bodyOf(event).toString()), id: event.id.toUpperCase() };
  expect(eventOf(Buffer.from(JSON.stringify(shouted)))).toEqual(event);
});

test("A message broker that refuses everything is asked later and later", async () => {
  jest.useFakeTimers();
  const askedAt: number[] = [];
  const query = async (sql: string) =>
    sql.includes("INTO publications") ? [outboxEvent({ what: "refused" })] : [];
  const database = {
    query,
    transaction: (work: (none: undefined) => unknown) => work(undefined),
  } as unknown as Database;
  const session = {
    async publish() {
      askedAt.push(performance.now());
      throw new Error("message nacked");
    },
    isDrained: async () => false,
  } as unknown as Session;
  const connection = { session: () => session, onSession: () => () => {}, close: async () => {} };
  const publishing = relay({
    ...{ database, connection, log: silent },
    queues: [{ consumer: "mail", event: "bookings.confirmed" }],
  });
  await jest.advanceTimersByTimeAsync(130_000);
  const stopped = publishing.stop();
  await jest.advanceTimersByTimeAsync(1_000);
  await stopped;
  jest.useRealTimers();
  const gaps = askedAt.slice(1).map((at, i) => Math.round((at - (askedAt[i] ?? 0)) / 1_000));
  expect(gaps).toEqual([2, 4, 8, 16, 30, 30, 30]);
});

describe("A connection to a message broker", () => {
  const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
  const session = (): Session => {
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    return {
      ended,
      close: async () => end(),
      publish: async () => {},
      consume: async () => async () => {},
      isDrained: async () => true,
    };
  };

  test("is stopped also while somebody who would use it waits for an answer", async () => {
    const opened = session();
    const connection = keepConnected({ servers: "x", open: async () => opened }, [], silentLog);
    const asked = new Promise<void>((resolve) => {
      connection.onSession(() => {
        resolve();
        return new Promise(() => {});
      });
    });
    await asked;
    await connection.close();
    await opened.ended;
    expect(connection.session()).toBeUndefined();
  });

  test("is given to everybody again when it was lost", async () => {
    const sessions: Session[] = [];
    const open = async () => {
      sessions.push(session());
      return sessions.at(-1) as Session;
    };
    const given: number[] = [];
    const connection = keepConnected({ servers: "x", open }, [], silentLog);
    connection.onSession(async (one) => void given.push(sessions.indexOf(one)));
    await eventually(async () => expect(connection.session()).toBe(sessions[0]));
    await sessions[0]?.close();
    await eventually(async () => expect(given).toEqual([0, 1]));
    await eventually(async () => expect(connection.session()).toBe(sessions[1]));
    await connection.close();
  });
});
