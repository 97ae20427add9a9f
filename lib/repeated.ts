import type { Log } from "./contract/define";

export interface RepeatedWork {
  /** Finishes what is under way; nothing begins after that. */
  stop(): Promise<void>;
}

/**
 * Does something again and again, with a pause after each time. A failure is logged and the next time comes all
 * the same.
 *
 * @param firstPauseMs before the first time; as long as the others unless told
 * @param work is told by `stopping` to come to an end; may give a pause of its own, in milliseconds
 * @param failed says in the log what could not be done
 */
export function repeat(options: {
  pauseMs: number;
  firstPauseMs?: number;
  // biome-ignore lint/suspicious/noConfusingVoidType: work without a wish of its own may simply end
  work: (stopping: AbortSignal) => Promise<number | void>;
  log: Log;
  failed: string;
}): RepeatedWork {
  const stopping = new AbortController();
  const { signal } = stopping;
  let timer: NodeJS.Timeout | undefined;
  let underWay = Promise.resolve();

  const once = async () => {
    let pauseMs: number | undefined;
    try {
      pauseMs = (await options.work(signal)) ?? undefined;
    } catch (error) {
      if (!signal.aborted) options.log.warn(options.failed, error);
    }
    next(pauseMs ?? options.pauseMs);
  };
  const next = (pauseMs: number) => {
    if (signal.aborted) return;
    timer = setTimeout(() => {
      underWay = once();
    }, pauseMs);
  };
  next(options.firstPauseMs ?? options.pauseMs);
  return {
    async stop() {
      stopping.abort();
      clearTimeout(timer);
      await underWay;
    },
  };
}
