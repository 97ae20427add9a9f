import { nameOf } from "../../lib/contract/outbox-event";
import { onWritten } from "../outbox";

/** What this process writes is committed by then as a rule, and together with what else is written meanwhile. */
const AFTER_WRITING_MS = 50;
/**
 * In a rush, while this process writes more than it handles, it rests twelve times as long as it works: what is booked
 * must not wait for what is told. Else it does not rest until it has handled all.
 */
const REST_FACTOR = 12;
const LONGEST_REST_MS = 1_000;
/** Of so few events a second nobody has to wait for what is told, so it is told at once. */
const RUSH_PER_SECOND = 400;

export interface Pacing {
  /** How long to rest after so many were handled in so many milliseconds. */
  restMs(handled: number, tookMs: number): number;
  stop(): void;
}

/** Keeps count of what this process writes of some events, and says when it is time for them. */
export function pacing(
  concerns: (name: string) => boolean,
  wake: (withinMs: number) => void,
): Pacing {
  /** Since it was last asked. */
  let written = 0;
  let countedFrom = performance.now();
  const stop = onWritten((events) => {
    const some = events.filter((event) => concerns(nameOf(event))).length;
    if (some === 0) return;
    written += some;
    wake(AFTER_WRITING_MS);
  });
  return {
    stop,
    restMs(handled, tookMs) {
      const perSecond = (written * 1_000) / (performance.now() - countedFrom);
      const isRush = written > handled && perSecond > RUSH_PER_SECOND;
      written = 0;
      countedFrom = performance.now();
      return isRush ? Math.min(REST_FACTOR * tookMs, LONGEST_REST_MS) : 0;
    },
  };
}
