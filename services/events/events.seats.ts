import type { Call, Log } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import type { Contracts } from "../contracts";
import { CapacityBelowSold } from "./events.contract";
import type { Event } from "./events.rules";
import type { EventsStore } from "./events.store";

/** What a change of an event means for its seats, which are the business of bookings, in transactions of its own. */
export function eventsSeats(store: EventsStore, clock: Kernel["clock"]) {
  return {
    /**
     * An event after its free seats have gone to those who wait. Nobody else can take them before that, whenever it
     * happens: a booking looks for those who wait first.
     */
    async promoted(
      event: Event,
      { call, log }: { call: Call<Contracts>; log: Log },
    ): Promise<Event> {
      try {
        await call("bookings.$tidyUp", { eventId: event.id });
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
      call: Call<Contracts>,
    ): Promise<T> {
      for (;;) {
        try {
          return await change();
        } catch (error) {
          if (!isError(error, CapacityBelowSold)) throw error;
          const { expired } = await call("bookings.$tidyUp", { eventId });
          if (expired === 0) throw error;
        }
      }
    },
  };
}
