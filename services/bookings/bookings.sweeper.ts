import type { Clock } from "../../lib/clock";
import type { Log } from "../../lib/contract/define";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { BookingsStore, Chunk } from "./bookings.store";

/** Free seats show within 5 s, says the API's contract; a round may have to wait for its turn. */
const PAUSE_MS = 1_000;
const EVENTS_A_ROUND = 100;

/**
 * Works on events one after the other; what goes wrong with one does not keep the others waiting.
 *
 * @param work says whether it could do it
 * @returns how many it has done
 */
async function eachOnItsOwn(
  eventIds: readonly string[],
  stopping: AbortSignal,
  log: Log,
  work: (eventId: string) => Promise<boolean>,
): Promise<number> {
  let done = 0;
  for (const eventId of eventIds) {
    if (stopping.aborted) break;
    try {
      if (await work(eventId)) done++;
    } catch (error) {
      log.warn(`Event ${eventId} could not be tidied up`, error);
    }
  }
  return done;
}

/** Does an event chunk by chunk; false when somebody else holds it, who may be doing the same. */
async function chunks(stopping: AbortSignal, some: () => Promise<Chunk>): Promise<boolean> {
  for (;;) {
    const { more, held } = await some();
    if (held) return false;
    if (!more || stopping.aborted) return true;
  }
}

/** After a full round there may be more; one in which nothing could be done would only be repeated. */
const pauseAfter = (done: number, pauseMs: number) => (done === EVENTS_A_ROUND ? 0 : pauseMs);

/**
 * Frees the seats of lapsed holds within moments, so that everybody sees them; whoever books does not depend on
 * it, because a batch that meets lapsed holds frees them itself. Any number of nodes may sweep.
 */
export const sweepHolds = (store: BookingsStore, log: Log): RepeatedWork =>
  repeat({
    pauseMs: PAUSE_MS,
    log,
    failed: "Lapsed holds could not be swept",
    async work(stopping) {
      const events = await store.eventsWithLapsedHolds(EVENTS_A_ROUND);
      const swept = await eachOnItsOwn(events, stopping, log, (eventId) =>
        chunks(stopping, () => store.expireSomeOfEvent(eventId)),
      );
      return pauseAfter(swept, PAUSE_MS);
    },
  });

/** Whoever raises a capacity or publishes asks for promotions at once; this finds what a crash has left. */
const LOOK_FOR_WAITING_MS = 60_000;

/** Gives free seats to those who wait where that was not done when the seats became free. */
export const promoteForgotten = (store: BookingsStore, log: Log): RepeatedWork =>
  repeat({
    pauseMs: LOOK_FOR_WAITING_MS,
    log,
    failed: "Free seats could not be given to those who wait",
    async work(stopping) {
      const events = await store.eventsThatMayPromote(EVENTS_A_ROUND);
      const promoted = await eachOnItsOwn(events, stopping, log, async (eventId) => {
        const { expired, promoted } = await store.tidyUpAll(eventId);
        return expired + promoted > 0;
      });
      return pauseAfter(promoted, LOOK_FOR_WAITING_MS);
    },
  });

/** So long a cancellation is left to whoever has begun it; a chunk of it takes a fraction of a second. */
const TAKE_UP_AFTER_MS = 30_000;
const LOOK_FOR_CANCELLATIONS_MS = 5_000;

/**
 * Comes to the end of cancellations that broke off: bookings and waiting lists of events that are cancelled. Any number
 * of nodes may, also beside whoever has begun one.
 */
export const finishCancellations = (store: BookingsStore, clock: Clock, log: Log): RepeatedWork =>
  repeat({
    pauseMs: LOOK_FOR_CANCELLATIONS_MS,
    log,
    failed: "Cancellations that broke off could not be finished",
    async work(stopping) {
      const before = new Date(clock.now().getTime() - TAKE_UP_AFTER_MS);
      const events = await store.eventsCancellingSince(before, EVENTS_A_ROUND);
      const finished = await eachOnItsOwn(events, stopping, log, (eventId) =>
        chunks(stopping, () => store.endSomeOfEvent(eventId)),
      );
      return pauseAfter(finished, LOOK_FOR_CANCELLATIONS_MS);
    },
  });
