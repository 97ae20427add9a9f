import { ServiceUnavailable } from "./errors";

/** Work that needs one thing for itself, e.g. the row of one event: a piece at a time for each, in order of arrival. */
export interface Lanes {
  /**
   * @throws ServiceUnavailable when too many wait in this lane, or it has waited for too long itself: it is not done
   *   then; what `work` throws otherwise, and what whoever came first could not have
   */
  run<T>(lane: string, work: () => Promise<T>): Promise<T>;
}

interface Waiting {
  begin(): void;
  giveUp(reason: unknown): void;
}

/**
 * @param options.waiting pieces that may wait in one lane; one more is refused
 * @param options.waitMs how long a piece waits in its lane at the most
 * @param options.cannotBeHad whether a piece failed because somebody else holds the thing: what could not be had for
 *   those who came first is not waited for again for those behind them
 */
export function createLanes(options: {
  waiting: number;
  waitMs: number;
  cannotBeHad(error: unknown): boolean;
}): Lanes {
  const lanes = new Map<string, Waiting[]>();

  const turnIn = (waiting: Waiting[]): Promise<void> =>
    new Promise((resolve, reject) => {
      const one: Waiting = {
        begin() {
          clearTimeout(timer);
          resolve();
        },
        giveUp(reason) {
          clearTimeout(timer);
          reject(reason);
        },
      };
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(one), 1);
        reject(new ServiceUnavailable({ retryAfter: 1 }));
      }, options.waitMs);
      waiting.push(one);
    });

  const goOn = (lane: string) => {
    const next = lanes.get(lane)?.shift();
    if (next) next.begin();
    else lanes.delete(lane);
  };
  return {
    async run(lane, work) {
      const waiting = lanes.get(lane);
      if (!waiting) lanes.set(lane, []);
      else if (waiting.length >= options.waiting) throw new ServiceUnavailable({ retryAfter: 1 });
      else await turnIn(waiting);
      try {
        return await work();
      } catch (error) {
        if (options.cannotBeHad(error)) {
          for (const { giveUp } of lanes.get(lane)?.splice(0) ?? []) giveUp(error);
        }
        throw error;
      } finally {
        goOn(lane);
      }
    },
  };
}
