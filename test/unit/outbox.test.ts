import { setImmediate as nextTurn } from "node:timers/promises";
import type { Database, Query } from "../../lib/database";
import { outboxCommands, relayOutbox, sharedRelay } from "../../mixins/outbox";
import { outboxEvent } from "../support/outbox-event";
import { silent } from "../support/silent";

const TELLING_MS = 100;

/** A database in whose outbox lies more than can be told, and when each portion of it was taken, in milliseconds. */
function backlog() {
  const takenAt: number[] = [];
  const startedAt = performance.now();
  const query = async (sql: string, bind: { most?: number }) => {
    if (!sql.includes("SELECT")) return [];
    takenAt.push(performance.now() - startedAt);
    return Array.from({ length: bind.most ?? 0 }, () => outboxEvent());
  };
  const database = {
    prepared: (work: (transaction: { query: Query; nothingWritten(): void }) => unknown) =>
      work({ query: query as unknown as Query, nothingWritten() {} }),
  };
  // Of a database the relay uses this alone.
  return { database: database as unknown as Database, takenAt };
}

/** Each portion takes as long: all of its events at once. */
const tell = () => new Promise<void>((resolve) => setTimeout(resolve, TELLING_MS));

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** Lets time go by, and after each bit of it the turns of the event loop that a portion takes. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) {
    await jest.advanceTimersByTimeAsync(10);
    for (let turn = 0; turn < 40; turn++) await nextTurn();
  }
}

/** How long after the start of each portion the next one starts. */
const gapsOf = (takenAt: readonly number[]) =>
  takenAt.slice(1).map((at, i) => at - (takenAt[i] ?? 0));

describe("What has piled up in the outbox", () => {
  /** Gaps between the portions while so many events are written each 20 ms, from the second one on. */
  const gapsWhile = async (written: number): Promise<number[]> => {
    const { database, takenAt } = backlog();
    const relay = relayOutbox(database, tell, silent);
    const write = () => outboxCommands(Array.from({ length: written }, () => outboxEvent()));
    const writing = setInterval(write, 20);
    await pass(4_000);
    clearInterval(writing);
    const stopped = relay.stop();
    await pass(1_000);
    await stopped;
    return gapsOf(takenAt).slice(1);
  };

  test("is told with pauses of four times the work while more is written than told", async () => {
    const gaps = await gapsWhile(50);
    expect(gaps.length).toBeGreaterThanOrEqual(5);
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(5 * TELLING_MS);
  });

  test.each([0, 1, 10])(
    "is told without any pause while %d events are written each 20 ms",
    async (written) => {
      const gaps = await gapsWhile(written);
      expect(gaps.length).toBeGreaterThanOrEqual(25);
      for (const gap of gaps) expect(gap).toBeLessThan(1.2 * TELLING_MS);
    },
  );
});

test("Services of one process share a relay, which ends with the last of them", async () => {
  const { database, takenAt } = backlog();
  const handles = [sharedRelay(database, tell, silent), sharedRelay(database, tell, silent)];
  const stopped: Promise<void>[] = [];
  const grows = async () => {
    const before = takenAt.length;
    await pass(1_000);
    return takenAt.length - before;
  };
  const alone = await grows();
  expect(alone).toBeGreaterThan(0);
  // To stop twice is to stop once.
  stopped.push(handles[0]?.stop() ?? Promise.reject(), handles[0]?.stop() ?? Promise.reject());
  expect(await grows()).toBeGreaterThan(0);
  stopped.push(handles[1]?.stop() ?? Promise.reject());
  await pass(1_000);
  await Promise.all(stopped);
  expect(await grows()).toBe(0);
  const again = sharedRelay(database, tell, silent);
  await pass(1_000);
  expect(await grows()).toBeGreaterThan(0);
  const end = again.stop();
  await pass(1_000);
  await end;
});
