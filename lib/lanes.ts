import { createWorkQueue, type WorkQueue } from "./work-queue";

/** Work that needs one thing for itself, e.g. the row of one event: a piece at a time for each, in order of arrival. */
export interface Lanes {
  /**
   * @param until when it must have begun, by `performance.now()`
   * @throws ServiceUnavailable when too many wait in this lane, or its turn has not come by `until`: it is not done
   *   then; what `work` throws otherwise, and what whoever came first could not have
   */
  run<T>(lane: string, work: () => Promise<T>, until: number): Promise<T>;
}

/**
 * @param options.waiting pieces that may wait in one lane; one more is refused
 * @param options.cannotBeHad whether a piece failed because somebody else holds the thing: what could not be had for
 *   those who came first is not waited for again for those behind them
 */
export function createLanes(options: {
  waiting: number;
  cannotBeHad(error: unknown): boolean;
}): Lanes {
  const lanes = new Map<string, WorkQueue>();
  return {
    async run(lane, work, until) {
      const queue =
        lanes.get(lane) ??
        createWorkQueue({ concurrency: 1, waiting: options.waiting, retryAfter: 1 });
      lanes.set(lane, queue);
      try {
        return await queue.run(
          async () => {
            try {
              return await work();
            } catch (error) {
              if (options.cannotBeHad(error)) queue.refuseWaiting(error);
              throw error;
            }
          },
          { until },
        );
      } finally {
        // Another one may have come into its place meanwhile.
        if (queue.isIdle() && lanes.get(lane) === queue) lanes.delete(lane);
      }
    },
  };
}
