import { ServiceUnavailable } from "./errors";

/** Work that runs a few at a time, with a bounded number waiting. */
export interface WorkQueue {
  /**
   * Runs `work` as soon as there is room, in order of arrival.
   *
   * @throws ServiceUnavailable at once when too many wait or it would take too long, with the seconds after
   *   which room is likely
   */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** How fast the estimate of one piece's time follows new measurements. */
const SMOOTHING = 0.2;

/**
 * @param limits.concurrency pieces that run at a time
 * @param limits.waiting pieces that may wait; one more is refused
 * @param limits.waitMs how long the last that waits may have to, by the time that pieces take now
 */
export function createWorkQueue(limits: {
  concurrency: number;
  waiting: number;
  waitMs?: number;
}): WorkQueue {
  const waiting: (() => void)[] = [];
  let running = 0;
  let typicalMs = 50;

  // The slot goes straight to who waits longest: were it free for a moment, a newcomer could take it as well.
  const release = () => {
    const next = waiting.shift();
    if (next) next();
    else running--;
  };
  return {
    async run(work) {
      if (running >= limits.concurrency) {
        const backlogMs = (waiting.length * typicalMs) / limits.concurrency;
        const tooLong = limits.waitMs !== undefined && backlogMs > limits.waitMs;
        if (waiting.length >= limits.waiting || tooLong) {
          throw new ServiceUnavailable({ retryAfter: Math.max(1, Math.ceil(backlogMs / 1000)) });
        }
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else {
        running++;
      }
      const startedAt = performance.now();
      try {
        return await work();
      } finally {
        typicalMs += SMOOTHING * (performance.now() - startedAt - typicalMs);
        release();
      }
    },
  };
}
