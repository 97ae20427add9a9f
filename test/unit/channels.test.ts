import type { Database } from "../../lib/database";
import { hear, retryAfterMs } from "../../mixins/channels";
import { outboxCommands } from "../../mixins/outbox";
import { outboxEvent } from "../support/outbox-event";
import { silent } from "../support/silent";

const HANDLING_MS = 50;
const AT_ONCE = 200;
const EVENT = "bookings.confirmed";

/** A database in whose outbox lies more than can be handled, and when each portion of it was taken, in milliseconds. */
function backlog() {
  const takenAt: number[] = [];
  const startedAt = performance.now();
  const query = async (sql: string, bind: { most?: number; ids?: string[] }) => {
    if (sql.includes("INSERT INTO inbox")) return (bind.ids ?? []).map((id) => ({ id }));
    if (bind.most === undefined) return [];
    takenAt.push(performance.now() - startedAt);
    return Array.from({ length: bind.most }, () => outboxEvent());
  };
  const database = { query, transaction: (work: (none: undefined) => unknown) => work(undefined) };
  // Of a database a channel uses these alone.
  return { database: database as unknown as Database, takenAt };
}

/** Each portion takes as long: all of its events at once. */
const handling = () => new Promise<void>((resolve) => setTimeout(resolve, HANDLING_MS));

const hearAll = (database: Database, handle = handling) =>
  hear(
    database,
    {
      name: "listeners",
      atOnce: AT_ONCE,
      handlers: new Map([[EVENT, handle]]),
      consumersOf: () => ["listeners"],
    },
    silent,
  );

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** How long after the start of each portion the next one starts. */
const gapsOf = (takenAt: readonly number[]) =>
  takenAt.slice(1).map((at, i) => at - (takenAt[i] ?? 0));

describe("What has piled up in the outbox", () => {
  /** Gaps between the portions while so many events are written each 20 ms, from the second one on. */
  const gapsWhile = async (written: number, event = outboxEvent()): Promise<number[]> => {
    const { database, takenAt } = backlog();
    const hearing = hearAll(database);
    const write = () => outboxCommands(Array.from({ length: written }, () => event));
    const writing = setInterval(write, 20);
    await jest.advanceTimersByTimeAsync(4_000);
    clearInterval(writing);
    const stopped = hearing.stop();
    await jest.advanceTimersByTimeAsync(1_000);
    await stopped;
    return gapsOf(takenAt).slice(1);
  };

  test("is handled with pauses of twelve times the work while more is written than handled", async () => {
    const gaps = await gapsWhile(50);
    expect(gaps.length).toBeGreaterThanOrEqual(2);
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(13 * HANDLING_MS);
  });

  const isQuick = (gaps: number[]) => {
    expect(gaps.length).toBeGreaterThanOrEqual(25);
    for (const gap of gaps) expect(gap).toBeLessThan(1.2 * HANDLING_MS);
  };

  test.each([0, 1, 10])(
    "is handled without any pause while %d events are written each 20 ms",
    async (written) => isQuick(await gapsWhile(written)),
  );

  test("is never left for more than a second, however long a portion has taken", async () => {
    const { database, takenAt } = backlog();
    const hearing = hearAll(database, () => new Promise((resolve) => setTimeout(resolve, 400)));
    const write = () => outboxCommands(Array.from({ length: 50 }, () => outboxEvent()));
    const writing = setInterval(write, 20);
    await jest.advanceTimersByTimeAsync(8_000);
    clearInterval(writing);
    const stopped = hearing.stop();
    await jest.advanceTimersByTimeAsync(2_000);
    await stopped;
    const gaps = gapsOf(takenAt).slice(1);
    expect(gaps.length).toBeGreaterThanOrEqual(3);
    for (const gap of gaps) expect(gap).toBeLessThan(1_500);
  });

  test("is handled without any pause while much is written that others hear of", async () => {
    isQuick(await gapsWhile(50, { ...outboxEvent(), action: "lost" }));
  });
});

test("An event is tried again later and later, by half of that more or less", () => {
  const times = Array.from({ length: 12 }, (_, i) => retryAfterMs(i + 1, 0.5));
  expect(times.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
  expect(times.at(-1)).toBe(300_000);
  expect([retryAfterMs(3, 0), retryAfterMs(3, 0.999)]).toEqual([2_000, 5_996]);
  const drawn = new Set(Array.from({ length: 50 }, () => retryAfterMs(10)));
  expect(drawn.size).toBeGreaterThan(10);
});
