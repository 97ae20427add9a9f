import { repeat } from "../../lib/repeated";

const log = { debug() {}, info() {}, warn: jest.fn(), error() {} };

/** When the work began, in milliseconds from the start; it takes as long as it is told. */
function follow(options: { pauseMs: number; restMs?: number; takesMs?: number }) {
  const begun: number[] = [];
  const startedAt = performance.now();
  const { pauseMs, restMs, takesMs } = options;
  const repeated = repeat({
    pauseMs,
    log,
    failed: "It failed",
    async work() {
      begun.push(performance.now() - startedAt);
      if (takesMs) await new Promise((resolve) => setTimeout(resolve, takesMs));
      return { pauseMs, ...(restMs ? { restMs } : {}) };
    },
  });
  return { repeated, begun };
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test("comes again after each pause, until it is stopped", async () => {
  const { repeated, begun } = follow({ pauseMs: 100 });
  await jest.advanceTimersByTimeAsync(350);
  expect(begun).toEqual([100, 200, 300]);
  await repeated.stop();
  await jest.advanceTimersByTimeAsync(1_000);
  expect(begun).toHaveLength(3);
});

test("a failure is logged and the next time comes", async () => {
  let times = 0;
  const repeated = repeat({
    pauseMs: 100,
    log,
    failed: "It failed",
    async work() {
      times++;
      throw new Error("no");
    },
  });
  await jest.advanceTimersByTimeAsync(250);
  expect(times).toBe(2);
  expect(log.warn).toHaveBeenCalledWith("It failed", new Error("no"));
  await repeated.stop();
});

test("comes sooner when it is asked to, and never later", async () => {
  const { repeated, begun } = follow({ pauseMs: 100 });
  repeated.soon(20);
  repeated.soon(60);
  await jest.advanceTimersByTimeAsync(110);
  repeated.soon(500);
  await jest.advanceTimersByTimeAsync(100);
  expect(begun).toEqual([20, 120]);
  await repeated.stop();
});

test("who asks while it is at work gets a time after that", async () => {
  const { repeated, begun } = follow({ pauseMs: 100, takesMs: 40 });
  await jest.advanceTimersByTimeAsync(110);
  repeated.soon(10);
  await jest.advanceTimersByTimeAsync(80);
  // A timer that is due already comes a millisecond later.
  expect(begun).toEqual([100, 141]);
  await repeated.stop();
});

test("rests as long as it wishes, whoever asks for it sooner", async () => {
  const { repeated, begun } = follow({ pauseMs: 500, restMs: 80, takesMs: 40 });
  repeated.soon(0);
  await jest.advanceTimersByTimeAsync(50);
  repeated.soon(0);
  await jest.advanceTimersByTimeAsync(150);
  expect(begun).toEqual([0, 120]);
  await repeated.stop();
});
