/** Drives a system over HTTP from a process of its own: see `load.ts`. */
import { createSecretKey, type KeyObject } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { newId } from "../lib/ids";
import { answerOrders } from "./asked-process";
import { type Answer, type Connection, openConnection } from "./connection";
import { percentile } from "./figures";
import type { LoadOrder, LoadReport } from "./load";
import { attendeeAt, tokenOf } from "./people";
import { retryAfterMs } from "./retry-after";

/** Lets a system that does not answer at all have a moment. */
const AFTER_FAILURE_MS = 100;
/** Whoever is told to come back more often than this has been given no answer. */
const MOST_TRIES = 20;
/** Nobody waits longer than this at a stretch without looking whether it is enough. */
const LOOK_EVERY_MS = 50;

/** Signing costs more than sending, so everybody is signed once, before anything is measured. */
const tokens = new Map<number, string>();

/** The tokens of those who will book, in the order in which they do. */
function tokensOf({ people, secret }: LoadOrder): string[] {
  const key: KeyObject = createSecretKey(Buffer.from(secret));
  return Array.from({ length: people.most }, (_, i) => {
    const n = attendeeAt(people.first + i, people.crowd);
    const token = tokens.get(n) ?? tokenOf(n, key);
    tokens.set(n, token);
    return token;
  });
}

const kindOf = ({ status, body }: Answer): string => {
  const code = /"code":"([A-Z_]+)"/.exec(body)?.[1];
  return code ? `${status} ${code}` : String(status);
};

let enough = false;
let stopNow = () => {};

async function pause(ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (!enough && performance.now() < until) {
    await sleep(Math.min(LOOK_EVERY_MS, Math.max(1, until - performance.now())));
  }
}

async function drive(order: LoadOrder): Promise<LoadReport> {
  const people = tokensOf(order);
  const name = newId();
  const report: LoadReport = {
    seconds: 0,
    answers: {},
    asked: 0,
    accepted: 0,
    answered: 0,
    latency: { p50: Number.NaN, p99: Number.NaN },
    bookings: [],
  };
  const latencies: number[] = [];
  const bookings = new Set<string>();
  enough = false;
  let next = 0;

  const count = (kind: string) => {
    report.answers[kind] = (report.answers[kind] ?? 0) + 1;
  };
  const note = (answer: Answer, tookMs: number) => {
    count(kindOf(answer));
    if (!enough) report.answered++;
    if (answer.status !== 201) return;
    if (!enough) report.accepted++;
    latencies.push(tookMs);
    // …/bookings/<id>
    bookings.add(answer.location?.split("/").at(-1) ?? "nowhere");
  };

  /** One person books, and tries again for as long as told to come back later. */
  const book = async (connection: Connection, i: number) => {
    const headers = [
      "authorization",
      `Bearer ${people[i]}`,
      "content-type",
      "application/json",
      "idempotency-key",
      `${name}-${i}`,
    ];
    const body = `{"eventId":"${order.events[i % order.events.length]}"}`;
    // Also after the end: what became of a request shall be known of each.
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const startedAt = performance.now();
      const answer = await connection.post("/api/bookings", headers, body);
      const waitMs = retryAfterMs(answer.status, answer.retryAfter, Date.now());
      if (waitMs === undefined) {
        note(answer, performance.now() - startedAt);
        return;
      }
      count(kindOf(answer));
      await sleep(waitMs);
    }
    throw new Error(`told to come back ${MOST_TRIES} times`);
  };

  const work = async (connection: Connection) => {
    while (!enough && next < people.length) {
      const i = next++;
      try {
        await book(connection, i);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        count(`no answer: ${code ?? message}`);
        await pause(AFTER_FAILURE_MS);
      }
      if (order.pauseMs > 0) await pause(order.pauseMs);
    }
  };

  const connections = Array.from({ length: order.connections }, () => openConnection(order.origin));
  const startedAt = performance.now();
  const stop = () => {
    if (enough) return;
    enough = true;
    report.seconds = (performance.now() - startedAt) / 1000;
  };
  const timer = setTimeout(stop, order.seconds * 1000);
  stopNow = stop;
  await Promise.all(connections.map(work));
  stop();
  clearTimeout(timer);
  await Promise.all(connections.map((connection) => connection.close()));
  report.latency = { p50: percentile(latencies, 50), p99: percentile(latencies, 99) };
  report.asked = next;
  report.bookings = [...bookings];
  return report;
}

answerOrders((message: LoadOrder | "enough") => {
  if (message !== "enough") return drive(message);
  stopNow();
  return undefined;
});
