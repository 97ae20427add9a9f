import type { Call, Meta } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import type { Contracts } from "../contracts";
import { announcements } from "./events.announcements";
import { EventNotFound } from "./events.contract";
import * as rules from "./events.rules";
import type { EventsStore } from "./events.store";

/** Each round removes a chunk of a host's events; more rounds than this mean that one will not go. */
const MOST_ROUNDS = 1_000;

interface Ways {
  call: Call<Contracts>;
  meta: Meta;
}

/** How events are taken away: bookings first, so that nobody is left with a seat at what is gone. */
export function eventsRemoval(store: EventsStore, clock: Kernel["clock"]) {
  /** @throws EventNotFound; PreconditionFailed for a stale `ifMatch` */
  const remove = async (id: string, ifMatch: string | undefined, { call, meta }: Ways) => {
    const now = clock.now();
    // A draft has no bookings and nobody has heard of it.
    const isDraft = (event: rules.Event) => {
      if (event.status !== "draft") return false;
      rules.checkVersion(ifMatch, event.version);
      return true;
    };
    if (await store.removeIf(id, now, isDraft)) return;
    const told = announcements(now, meta.requestId ?? null);
    // Three steps, each of which may be repeated: nobody books any more; nobody has a booking or waits; it is gone.
    const { after } = await store.change(
      id,
      now,
      (event) => {
        // Whoever takes up a removal that broke off has seen the event as it was before.
        if (!rules.isUnfinished(event)) rules.checkVersion(ifMatch, event.version);
        return rules.cancellation(event, now, null);
      },
      (before, after) => told.cancelled(before, after, null),
    );
    await call("bookings.$delete", { eventId: id, reason: "event_deleted" });
    // Of those who remove it at once one does it, and one tells of it.
    if (!(await store.remove(id, now, told.deleted(after)))) throw new EventNotFound({});
  };

  /** Removes an event unless somebody else has done so meanwhile. */
  const removeIfThere = async (id: string, ways: Ways) => {
    try {
      await remove(id, undefined, ways);
    } catch (error) {
      if (!isError(error, EventNotFound)) throw error;
    }
  };

  /** Removes events of a host until there is none. */
  const removeOfHost = async (hostId: string, ways: Ways) => {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const ids = await store.idsOfHost(hostId);
      if (ids.length === 0) return;
      for (const id of ids) await removeIfThere(id, ways);
    }
    throw new Error(`Events of host ${hostId} keep coming`);
  };

  return { remove, removeOfHost };
}
