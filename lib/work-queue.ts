import { ServiceUnavailable } from "./errors";

/** Work that runs a few at a time, with a bounded number waiting. */
export interface WorkQueue {
  /**
   * Runs `work` as soon as there is room, in order of arrival.
   *
   * @param when.until when it must have begun, by `performance.now()`; whenever its turn comes unless told
   * @param when.again whether it had a turn already: of those every second place is, however many come for the first time
   * @throws ServiceUnavailable at once when too many wait or it would take too long, with the seconds after
   *   which room is likely; or when its turn has not come by `until`. It is not done then
   */
  run<T>(work: () => Promise<T>, when?: { until?: number; again?: boolean }): Promise<T>;
  /** Refuses all that wait, with this. */
  refuseWaiting(reason: unknown): void;
  /** Whether nothing runs and nothing waits. */
  isIdle(): boolean;
}

interface Waiting {
  begin(): void;
  refuse(reason: unknown): void;
}

/** How fast the estimate of one piece's time follows new measurements. */
const SMOOTHING = 0.2;
/** Longer than this no timer of Node's waits; it would be over at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * @param limits.concurrency pieces that run at a time
 * @param limits.waiting pieces that may wait for their first turn; one more is refused
 * @param limits.retryAfter what whoever is refused is told, in seconds; by the time that pieces take now unless told
 * @param limits.waitMs how long the last that waits may have to, by the time that pieces take now
 */
export function createWorkQueue(limits: {
  concurrency: number;
  waiting: number;
  waitMs?: number;
  retryAfter?: number;
}): WorkQueue {
  const first: Waiting[] = [];
  const again: Waiting[] = [];
  let running = 0;
  let lastWasFirst = false;
  let typicalMs = 50;

  // The slot goes straight to who waits longest: were it free for a moment, a newcomer could take it as well.
  const release = () => {
    lastWasFirst = first.length > 0 && !(lastWasFirst && again.length > 0);
    const next = (lastWasFirst ? first : again).shift();
    if (next) next.begin();
    else running--;
  };
  const turn = (waiting: Waiting[], until: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const refuse = (reason: unknown) => {
        clearTimeout(timer);
        reject(reason);
      };
      const one: Waiting = {
        begin() {
          clearTimeout(timer);
          resolve();
        },
        refuse,
      };
      const leftMs = until - performance.now();
      const timer =
        leftMs > LONGEST_TIMER_MS
          ? undefined
          : setTimeout(() => {
              waiting.splice(waiting.indexOf(one), 1);
              refuse(new ServiceUnavailable({ retryAfter: 1 }));
            }, leftMs);
      waiting.push(one);
    });
  return {
    async run(work, when = {}) {
      if (running >= limits.concurrency) {
        const [own, others] = when.again ? [again, first] : [first, again];
        // By turns: of the others one more goes before it, at the most, than of its own kind.
        const ahead = own.length + Math.min(others.length, own.length + 1);
        const backlogMs = (ahead * typicalMs) / limits.concurrency;
        const tooLong = limits.waitMs !== undefined && backlogMs > limits.waitMs;
        // Who had a turn was let in once already: newcomers must not shut the door on them.
        const isFull = !when.again && first.length >= limits.waiting;
        if (isFull || tooLong) {
          const byBacklog = Math.max(1, Math.ceil(backlogMs / 1000));
          throw new ServiceUnavailable({ retryAfter: limits.retryAfter ?? byBacklog });
        }
        await turn(when.again ? again : first, when.until ?? Number.POSITIVE_INFINITY);
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
    refuseWaiting(reason) {
      for (const { refuse } of [...first.splice(0), ...again.splice(0)]) refuse(reason);
    },
    isIdle: () => running === 0,
  };
}
