import { ServiceUnavailable } from "./errors";

/** Work that needs one thing for itself, e.g. the row of one event: a piece at a time for each, in order of arrival. */
export interface Lanes {
  /**
   * @throws ServiceUnavailable at once when too many wait in this lane, and when the thing could not be had for whoever
   *   came first; what `work` throws otherwise
   */
  run<T>(lane: string, work: () => Promise<T>): Promise<T>;
}

interface Waiting {
  begin(): void;
  giveUp(reason: unknown): void;
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
  const lanes = new Map<string, Waiting[]>();

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
      else
        await new Promise<void>((begin, giveUp) => {
          waiting.push({ begin, giveUp });
        });
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
