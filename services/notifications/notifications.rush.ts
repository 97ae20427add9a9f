import { onWritten } from "../../mixins/outbox";

/** So much that happens or is told in a second is a rush. */
const RUSH_A_SECOND = 50;
const MEASURED_MS = 500;

/** Whether this process has so much to do at the moment that what can wait is to wait. */
export interface Rush {
  /** So many notices were stored. */
  note(count: number): void;
  isOn(): boolean;
  stop(): void;
}

/** Measures what this process writes to the outbox, and what it tells. */
export function rushOf(): Rush {
  let count = 0;
  let since = performance.now();
  let isOn = false;
  const note = (more: number) => {
    count += more;
  };
  const stop = onWritten((events) => note(events.length));
  return {
    note,
    stop,
    isOn() {
      const elapsedMs = performance.now() - since;
      const isMuch = count > (RUSH_A_SECOND * Math.max(elapsedMs, MEASURED_MS)) / 1000;
      if (isMuch || elapsedMs > MEASURED_MS) {
        isOn = isMuch;
        count = 0;
        since = performance.now();
      }
      return isOn;
    },
  };
}
