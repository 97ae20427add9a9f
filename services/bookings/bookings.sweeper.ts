import type { Log } from "../../lib/contract/define";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { BookingsStore } from "./bookings.store";

/** Free seats show within 5 s, says the API's contract; a round may have to wait for its turn. */
const PAUSE_MS = 1_000;
const EVENTS_A_ROUND = 100;

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
      for (const eventId of await store.eventsWithLapsedHolds(EVENTS_A_ROUND)) {
        while (!stopping.aborted && (await store.expireSomeOfEvent(eventId)).more);
      }
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
      for (const eventId of await store.eventsThatMayPromote(EVENTS_A_ROUND)) {
        if (!stopping.aborted) await store.promoteAll(eventId);
      }
    },
  });
