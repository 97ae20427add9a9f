/**
 * The time by which the product decides: sale windows, ended events, expiring sessions. One place,
 * so that a test can stand at the minute after an event without waiting for it.
 */
export interface Clock {
  /** The present moment. */
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };
