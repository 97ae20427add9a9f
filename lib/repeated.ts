import type { Log } from "./contract/define";

export interface RepeatedWork {
  /** Asks for the next time within so many milliseconds; one that is under way is followed by another one. */
  soon(withinMs: number): void;
  /** Finishes what is under way; nothing begins after that. */
  stop(): Promise<void>;
}

/** How long until the next time, in milliseconds. */
export interface Pause {
  pauseMs: number;
  /** So long it rests whoever asks for it sooner; not at all unless told. */
  restMs?: number;
}

/**
 * Does something again and again, with a pause after each time. A failure is logged and the next time comes all
 * the same.
 *
 * @param pauseMs after each time, unless it gives a pause of its own or is asked for sooner
 * @param firstPauseMs before the first time; as long as the others unless told
 * @param work is told by `stopping` to come to an end; may give a pause of its own
 * @param failed says in the log what could not be done
 */
export function repeat(options: {
  pauseMs: number;
  firstPauseMs?: number;
  // biome-ignore lint/suspicious/noConfusingVoidType: work without a wish of its own may simply end
  work: (stopping: AbortSignal) => Promise<number | Pause | void>;
  log: Log;
  failed: string;
}): RepeatedWork {
  const { pauseMs, firstPauseMs = pauseMs } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  let timer: NodeJS.Timeout | undefined;
  let working = false;
  let underWay = Promise.resolve();
  /** When the next time comes, and when somebody wants it at the latest, by the process's own clock. */
  let nextAt = Number.POSITIVE_INFINITY;
  let wantedAt = Number.POSITIVE_INFINITY;
  let restsUntil = 0;

  const once = async () => {
    wantedAt = Number.POSITIVE_INFINITY;
    working = true;
    let pause: Pause = { pauseMs };
    try {
      const own = await options.work(signal);
      if (own !== undefined) pause = typeof own === "number" ? { pauseMs: own } : own;
    } catch (error) {
      if (!signal.aborted) options.log.warn(options.failed, error);
    }
    working = false;
    const endedAt = performance.now();
    restsUntil = endedAt + (pause.restMs ?? 0);
    plan(endedAt + pause.pauseMs);
  };
  const plan = (at: number) => {
    clearTimeout(timer);
    if (signal.aborted) return;
    nextAt = Math.max(Math.min(at, wantedAt), restsUntil);
    timer = setTimeout(() => {
      underWay = once();
    }, nextAt - performance.now());
  };
  plan(performance.now() + firstPauseMs);
  return {
    soon(withinMs) {
      wantedAt = Math.min(wantedAt, performance.now() + withinMs);
      if (!working && wantedAt < nextAt) plan(nextAt);
    },
    async stop() {
      stopping.abort();
      clearTimeout(timer);
      await underWay;
    },
  };
}
