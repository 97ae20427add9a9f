/** Holds open sockets as browsers do, in a process of its own: see `sockets.ts`. */
import { createSecretKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { answerOrders } from "./asked-process";
import { openConnection } from "./connection";
import { tokenOf } from "./people";
import { clockMs, type SocketOrder, type SocketReport } from "./sockets";

/** Sockets that are opened at a time. */
const AT_ONCE = 50;
/** A notification that takes longer is lost. */
const PATIENCE_MS = 20_000;
/** Connections over which people book. */
const CONNECTIONS = 16;

interface Person {
  token: string;
  socket: WebSocket;
  /** Hears of each frame, parsed. */
  hears: (frame: { type: string; action?: string; notification?: { type: string } }) => void;
}

const people: Person[] = [];

async function openOne(
  { origin, eventId }: Extract<SocketOrder, { kind: "open" }>,
  n: number,
  key: KeyObject,
): Promise<Person> {
  const token = tokenOf(n, key);
  const socket = new WebSocket(`${origin.replace("http", "ws")}/ws?token=${token}`, {
    perMessageDeflate: false,
  });
  const person: Person = { token, socket, hears: () => {} };
  socket.on("message", (data) => person.hears(JSON.parse(data.toString())));
  await once(socket, "open");
  // One that breaks is missed by whoever waits for it.
  socket.on("error", () => {});
  if (eventId !== undefined) {
    const subscribed = new Promise<void>((resolve) => {
      person.hears = ({ type }) => type === "subscribed" && resolve();
    });
    socket.send(JSON.stringify({ action: "subscribe", eventId }));
    await subscribed;
  }
  return person;
}

async function open(order: Extract<SocketOrder, { kind: "open" }>): Promise<SocketReport> {
  const key = createSecretKey(Buffer.from(order.secret));
  let next = order.first;
  const some = async () => {
    while (next < order.first + order.count) people.push(await openOne(order, next++, key));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  return { latencies: [], toldAt: [], faults: [] };
}

/** Settles when the person has been told that they have booked, with the moment; undefined when they are not told. */
const confirmed = (person: Person): Promise<number | undefined> =>
  new Promise((resolve) => {
    const late = setTimeout(() => resolve(undefined), PATIENCE_MS);
    person.hears = ({ type, notification }) => {
      if (type !== "notification" || notification?.type !== "booking.confirmed") return;
      clearTimeout(late);
      resolve(performance.now());
    };
  });

async function book({
  origin,
  eventId,
  aSecond,
}: Extract<SocketOrder, { kind: "book" }>): Promise<SocketReport> {
  const connections = Array.from({ length: CONNECTIONS }, () => openConnection(origin));
  const free = [...connections];
  const report: SocketReport = { latencies: [], toldAt: [], faults: [] };
  const body = JSON.stringify({ eventId });
  const one = async (person: Person) => {
    const connection = free.pop() ?? openConnection(origin);
    const told = confirmed(person);
    const askedAt = performance.now();
    const headers = ["authorization", `Bearer ${person.token}`, "content-type", "application/json"];
    const { status, body: refusal } = await connection.post("/api/bookings", headers, body);
    free.push(connection);
    if (status !== 201) report.faults.push(`${status} ${refusal}`);
    else {
      const at = await told;
      if (at === undefined) report.faults.push("somebody was not told");
      else report.latencies.push(at - askedAt);
    }
  };
  const startedAt = performance.now();
  const all: Promise<void>[] = [];
  for (const [i, person] of people.entries()) {
    await sleep(startedAt + (i * 1000) / aSecond - performance.now());
    all.push(one(person));
  }
  await Promise.all(all);
  await Promise.all(free.map((connection) => connection.close()));
  return report;
}

async function updated({
  withinMs,
}: Extract<SocketOrder, { kind: "updated" }>): Promise<SocketReport> {
  const report: SocketReport = { latencies: [], toldAt: [], faults: [] };
  const all = people.map(
    (person) =>
      new Promise<void>((resolve) => {
        person.hears = ({ type, action }) => {
          if (type !== "event" || action !== "updated") return;
          person.hears = () => {};
          report.toldAt.push(clockMs());
          resolve();
        };
      }),
  );
  await Promise.race([Promise.all(all), sleep(withinMs, undefined, { ref: false })]);
  const missing = people.length - report.toldAt.length;
  if (missing > 0) report.faults.push(`${missing} sockets were not told`);
  return report;
}

answerOrders((order: SocketOrder) => {
  if (order.kind === "open") return open(order);
  return order.kind === "book" ? book(order) : updated(order);
});
