import { EventEmitter, once } from "node:events";
import { isError, ServiceUnavailable } from "../../lib/errors";
import { createWorkQueue } from "../../lib/work-queue";

/** A piece of work that ends when it is told to. */
function piece(name: string, started: string[] = []) {
  const end = new EventEmitter();
  const ended = once(end, "end").then(() => name);
  return {
    work: () => {
      started.push(name);
      return ended;
    },
    succeeds: () => end.emit("end"),
    fails: () => end.emit("error", new Error(name)),
  };
}

type Piece = ReturnType<typeof piece>;

afterEach(() => jest.restoreAllMocks());

/** Lets everything that is ready to go on do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("runs a few at a time, the others in order of arrival", async () => {
  const queue = createWorkQueue({ concurrency: 2, waiting: 10 });
  const started: string[] = [];
  const pieces = ["a", "b", "c", "d", "e"].map((name) => piece(name, started));
  const results = pieces.map(({ work }) => queue.run(work));
  await settle();
  expect(started).toEqual(["a", "b"]);

  pieces[1]?.succeeds();
  await settle();
  expect(started).toEqual(["a", "b", "c"]);

  for (const { succeeds } of pieces) succeeds();
  expect(await Promise.all(results)).toEqual(["a", "b", "c", "d", "e"]);
});

test("gives a free place to who waits, not to who comes in the moment between", async () => {
  const queue = createWorkQueue({ concurrency: 1, waiting: 10 });
  const started: string[] = [];
  const [a, b, late] = [piece("a", started), piece("b", started), piece("late", started)];
  const results = [queue.run(a.work), queue.run(b.work)];
  await settle();
  a.succeeds();
  // After every step of the hand-over somebody new stands there.
  const latecomers: Promise<string>[] = [];
  for (let step = 0; step < 10; step++) {
    await Promise.resolve();
    latecomers.push(queue.run(late.work));
    expect(started).not.toContain("late");
  }
  expect(started).toEqual(["a", "b"]);
  b.succeeds();
  late.succeeds();
  await Promise.all([...results, ...latecomers]);
  expect(started).toEqual(["a", "b", ...latecomers.map(() => "late")]);
});

test("never runs more than it may, whatever comes when", async () => {
  const queue = createWorkQueue({ concurrency: 3, waiting: 1000 });
  let running = 0;
  let most = 0;
  let pieces = 0;
  const work = async () => {
    most = Math.max(most, ++running);
    for (let turns = (++pieces * 7) % 5; turns > 0; turns--) await settle();
    running--;
  };
  const worker = async () => {
    for (let i = 0; i < 20; i++) await queue.run(work);
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  expect(most).toBe(3);
});

test("who had a turn already has every second place, however many come for the first time", async () => {
  const queue = createWorkQueue({ concurrency: 1, waiting: 10 });
  const started: string[] = [];
  let left = 4;
  /** Each of these sends the next one before it ends, so that there is always one that waits. */
  const comer = async (): Promise<void> => {
    const name = `first ${left}`;
    if (left-- > 0) others.push(queue.run(comer));
    started.push(name);
  };
  const others: Promise<void>[] = [];
  others.push(queue.run(comer));
  const again = ["again 1", "again 2"].map((name) =>
    queue.run(async () => void started.push(name), { again: true }),
  );
  await Promise.all(again);
  while (started.length < 7) await settle();
  await Promise.all(others);
  expect(started).toEqual([
    ...["first 4", "first 3", "again 1", "first 2", "again 2"],
    ...["first 1", "first 0"],
  ]);
});

test("refuses whoever has not had their turn in time, and all that wait when it is told to", async () => {
  const queue = createWorkQueue({ concurrency: 1, waiting: 10 });
  const started: string[] = [];
  const [a, late, refused, last] = ["a", "late", "refused", "last"].map((name) =>
    piece(name, started),
  ) as [Piece, Piece, Piece, Piece];
  const running = queue.run(a.work);
  const tooLate = queue.run(late.work, { until: performance.now() + 10 });
  await expect(tooLate).rejects.toMatchObject({ type: ServiceUnavailable.code });
  const waiting = [queue.run(refused.work), queue.run(refused.work, { again: true })];
  queue.refuseWaiting(new Error("No"));
  for (const one of waiting) await expect(one).rejects.toThrow("No");
  expect(queue.isIdle()).toBe(false);
  a.succeeds();
  await running;
  expect(queue.isIdle()).toBe(true);
  last.succeeds();
  await queue.run(last.work);
  expect(started).toEqual(["a", "last"]);
});

describe("When too many wait", () => {
  test("the next one is refused at once and told when to come again", async () => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 2 });
    const pieces = ["a", "b", "c"].map((name) => piece(name));
    const results = pieces.map(({ work }) => queue.run(work));
    const refused = piece("d");
    const refusal = await queue.run(refused.work).catch((error: unknown) => error);
    expect(isError(refusal, ServiceUnavailable)).toBe(true);
    const { retryAfter } = (refusal as { data: { retryAfter: number } }).data;
    expect(Number.isInteger(retryAfter) && retryAfter >= 1).toBe(true);

    for (const { succeeds } of pieces) succeeds();
    expect(await Promise.all(results)).toEqual(["a", "b", "c"]);
    refused.succeeds();
    expect(await queue.run(refused.work)).toBe("d");
  });

  test("whoever would wait too long is refused, though few wait", async () => {
    let now = 0;
    jest.spyOn(performance, "now").mockImplementation(() => now);
    const queue = createWorkQueue({ concurrency: 1, waiting: 1000, waitMs: 5000 });
    const slow = piece("slow");
    const result = queue.run(slow.work);
    now += 60_000;
    slow.succeeds();
    await result;

    const pieces = ["a", "b"].map((name) => piece(name));
    const results = pieces.map(({ work }) => queue.run(work));
    const refusal = await queue.run(piece("c").work).catch((error: unknown) => error);
    expect(isError(refusal, ServiceUnavailable)).toBe(true);
    // One waits, and a piece is taken to last 50 ms and a fifth of the way to a minute.
    expect((refusal as { data: unknown }).data).toEqual({ retryAfter: 13 });

    for (const { succeeds } of pieces) succeeds();
    expect(await Promise.all(results)).toEqual(["a", "b"]);
    const quick = piece("quick");
    quick.succeeds();
    expect(await queue.run(quick.work)).toBe("quick");
  });

  test("a short wait is nobody's refusal", async () => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 1000, waitMs: 5000 });
    const pieces = ["a", "b", "c", "d"].map((name) => piece(name));
    const results = pieces.map(({ work }) => queue.run(work));
    for (const { succeeds } of pieces) succeeds();
    expect(await Promise.all(results)).toEqual(["a", "b", "c", "d"]);
  });

  test("whoever would wait is refused where nobody may", async () => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 0 });
    const only = piece("a");
    const result = queue.run(only.work);
    await expect(queue.run(only.work)).rejects.toMatchObject({ type: ServiceUnavailable.code });
    only.succeeds();
    expect(await result).toBe("a");
  });
});

describe("Whoever had a turn already", () => {
  /** Pieces take 50 ms, as long as none has been measured, and the last may wait for so long. */
  const queueWith = (...firsts: string[]) => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 3, waitMs: 100 });
    const started: string[] = [];
    const pieces = ["running", ...firsts].map((name) => piece(name, started));
    const results = pieces.map(({ work }) => queue.run(work));
    return { queue, started, pieces, results };
  };

  test("comes in where so many wait for their first turn that no more of those do", async () => {
    const { queue, started, pieces, results } = queueWith("a", "b", "c");
    await expect(queue.run(piece("d").work)).rejects.toMatchObject({
      type: ServiceUnavailable.code,
    });
    const back = piece("back", started);
    const result = queue.run(back.work, { again: true });
    for (const { succeeds } of [...pieces, back]) succeeds();
    expect(await Promise.all([...results, result])).toEqual(["running", "a", "b", "c", "back"]);
    expect(started).toEqual(["running", "a", "back", "b", "c"]);
  });

  test("counts for whoever comes for the first time, as far as they go before", async () => {
    const { queue, pieces, results } = queueWith("a");
    const back = ["x", "y", "z"].map((name) => piece(name));
    const again = back.slice(0, 2).map(({ work }) => queue.run(work, { again: true }));
    // Before the next one there go a, and x and y by turns: 150 ms.
    await expect(queue.run(piece("b").work)).rejects.toMatchObject({
      type: ServiceUnavailable.code,
    });
    // And before z there go x, y and a.
    await expect(queue.run(back[2]?.work as never, { again: true })).rejects.toMatchObject({
      type: ServiceUnavailable.code,
    });
    for (const { succeeds } of [...pieces, ...back]) succeeds();
    expect(await Promise.all([...results, ...again])).toEqual(["running", "a", "x", "y"]);
  });
});

describe("A failure", () => {
  test("goes to whoever asked for the work and frees its place", async () => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 5 });
    const [bad, good] = [piece("bad"), piece("good")];
    const results = Promise.allSettled([queue.run(bad.work), queue.run(good.work)]);
    bad.fails();
    good.succeeds();
    expect(await results).toEqual([
      { status: "rejected", reason: new Error("bad") },
      { status: "fulfilled", value: "good" },
    ]);
  });

  test("may as well be thrown before anything is waited for", async () => {
    const queue = createWorkQueue({ concurrency: 1, waiting: 0 });
    const throwing = () => {
      throw new Error("at once");
    };
    await expect(queue.run(throwing)).rejects.toThrow("at once");
    expect(await queue.run(async () => "next")).toBe("next");
  });
});
