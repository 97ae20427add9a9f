import type { Call, Log } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import type { Contracts } from "../contracts";
import { CapacityBelowSold } from "./events.contract";
import type { Event } from "./events.rules";
import type { EventsStore } from "./events.store";

const msUntil = (until: number) => Math.max(0, Math.round(until - performance.now()));

/**
 * What a change of an event means for its seats, which are the business of bookings, in transactions of its own. All
 * of it has the time of one change, until a moment by `performance.now()`: whoever asked has gone after that.
 */
export function eventsSeats(store: EventsStore, clock: Kernel["clock"]) {
  return {
    /**
     * An event after its free seats have gone to those who wait. Nobody else can take them before that, whenever it
     * happens: a booking looks for those who wait first. As it was where that cannot be done in time.
     */
    async promoted(
      event: Event,
      { call, log, until }: { call: Call<Contracts>; log: Log; until: number },
    ): Promise<Event> {
      try {
        await call("bookings.$tidyUp", { eventId: event.id, withinMs: msUntil(until) });
        // Read again in any case: somebody else may have been faster with giving them.
        return await store.find(event.id, clock.now());
      } catch (error) {
        log.warn(`Those who wait for event ${event.id} get their seats later`, error);
        return event;
      }
    },

    /**
     * Makes a change that may give an event a smaller capacity. Where that is too small for holds that have lapsed,
     * their seats go back, to those who wait first, and it is tried again.
     *
     * @throws CapacityBelowSold for one that is too small for the seats that are taken, and what `change` throws
     */
    async withoutLapsedHolds<T>(
      eventId: string,
      change: () => Promise<T>,
      { call, until }: { call: Call<Contracts>; until: number },
    ): Promise<T> {
      for (;;) {
        try {
          return await change();
        } catch (error) {
          if (!isError(error, CapacityBelowSold)) throw error;
          const { expired } = await call("bookings.$tidyUp", {
            eventId,
            withinMs: msUntil(until),
          });
          if (expired === 0) throw error;
        }
      }
    },
  };
}
