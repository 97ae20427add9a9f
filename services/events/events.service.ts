/**
 * events: what hosts publish and people find. Owns the table events, but for its seat counter, which the
 * booking transaction writes too.
 *
 * Invariants: seats never exceed the capacity; the status moves along the lifecycle alone; an event that
 * is cancelled or removed has no active booking left once the answer is out.
 */
import type { ServiceSchema } from "moleculer";
import type { Call, Emit } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { type Contracts, implement } from "../contracts";
import { announcements } from "./events.announcements";
import { calendarOf } from "./events.calendar";
import { EventNotFound, events } from "./events.contract";
import { checkCatalogue, checkManaged, viewerOf, visibleEvent } from "./events.lookup";
import * as rules from "./events.rules";
import { eventsStore } from "./events.store";

/** Each round removes a chunk of a host's events; more rounds than this mean that one will not go. */
const MOST_ROUNDS = 1_000;

export default function eventsService({ clock, database }: Kernel): ServiceSchema {
  const store = eventsStore(database);

  const remove = async (
    id: string,
    ifMatch: string | undefined,
    { call, emit }: { call: Call<Contracts>; emit: Emit<Contracts> },
  ) => {
    const now = clock.now();
    // A draft has no bookings and nobody has heard of it.
    const isDraft = (event: rules.Event) => {
      if (event.status !== "draft") return false;
      rules.checkVersion(ifMatch, event.version);
      return true;
    };
    if (await store.removeIf(id, now, isDraft)) return;
    // Three steps, each of which may be repeated: nobody books any more; nobody has a booking; it is gone.
    const { after } = await store.change(id, now, (event) => {
      // Whoever takes up a removal that broke off has seen the event as it was before.
      if (!rules.isUnfinished(event)) rules.checkVersion(ifMatch, event.version);
      return event.status === "cancelled" ? null : { status: "cancelled" };
    });
    await call("bookings.$delete", { eventId: id, reason: "event_deleted" });
    // Of those who remove it at once one does it, and one tells of it.
    if (!(await store.remove(id, now))) throw new EventNotFound({});
    announcements(emit, now).deleted(after);
  };

  /** Removes an event unless somebody else has done so meanwhile. */
  const removeIfThere = async (
    id: string,
    ctx: { call: Call<Contracts>; emit: Emit<Contracts> },
  ) => {
    try {
      await remove(id, undefined, ctx);
    } catch (error) {
      if (!isError(error, EventNotFound)) throw error;
    }
  };

  return implement(events, {
    actions: {
      async $create({ params, emit }) {
        const now = clock.now();
        rules.checkSchedule(
          { saleStartsAt: null, saleEndsAt: null, currency: null, ...params },
          now,
        );
        const event = await store.create(params, now);
        announcements(emit, now).created(event);
        return event;
      },

      async $update({ params: { id, ifMatch, ...changes }, emit }) {
        const now = clock.now();
        const { before, after } = await store.change(id, now, (event) => {
          rules.checkSchedule({ ...event, ...changes }, now, event);
          rules.checkVersion(ifMatch, event.version);
          rules.checkChangeable(event);
          if (changes.capacity !== undefined) {
            rules.checkCapacity(changes.capacity, event.numberOfAttendees);
          }
          return rules.changesNothing(event, changes) ? null : changes;
        });
        if (after.version !== before.version) announcements(emit, now).updated(after);
        return after;
      },

      $delete: ({ params: { id, ifMatch }, ...ctx }) => remove(id, ifMatch, ctx),

      async $deleteOfHost({ params: { hostId }, ...ctx }) {
        for (let round = 0; round < MOST_ROUNDS; round++) {
          const ids = await store.idsOfHost(hostId);
          if (ids.length === 0) return;
          for (const id of ids) await removeIfThere(id, ctx);
        }
        throw new Error(`Events of host ${hostId} keep coming`);
      },

      $find: ({ params }) => store.find(params.id, clock.now()),

      $list: ({ params }) => store.list(params, clock.now()),

      create: ({ params, call }, caller) =>
        call("events.$create", { ...params, hostId: caller.id }),

      list: ({ params, call }, caller) => call("events.$list", { ...params, ...viewerOf(caller) }),

      search: ({ params }, caller) => store.search({ ...params, ...viewerOf(caller) }, clock.now()),

      find: ({ params, call }, caller) => visibleEvent(call, params.id, caller),

      async update({ params, call }, caller) {
        const { id, ifMatch: _ifMatch, ...changes } = params;
        rules.checkChanges(changes);
        await checkCatalogue(call, changes.availableEventId);
        await checkManaged(call, id, caller);
        return call("events.$update", params);
      },

      async delete({ params, call }, caller) {
        await checkManaged(call, params.id, caller);
        await call("events.$delete", params);
      },

      async publish({ params: { id }, call, emit }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { before, after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "published", now);
          return { status: "published" };
        });
        const announce = announcements(emit, now);
        if (before.status === "draft") announce.created(after);
        else announce.updated(after);
        return after;
      },

      async postpone({ params: { id, reason = null, ...times }, call, emit }, caller) {
        rules.checkChanges(times);
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkSchedule({ ...event, ...times }, now, event);
          rules.checkTransition(event, "postponed", now);
          return { ...times, status: "postponed" };
        });
        announcements(emit, now).updated(after, reason);
        return after;
      },

      async cancel({ params: { id, reason = null }, call, emit }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "cancelled", now);
          return event.status === "cancelled" ? null : { status: "cancelled" };
        });
        await call("bookings.$delete", { eventId: id, reason: "event_cancelled" });
        // Not read again: nobody can book it any more, and whoever removes it meanwhile must not keep its
        // attendees from being told.
        const event = { ...after, numberOfAttendees: 0, availableTickets: after.capacity };
        announcements(emit, now).cancelled(event, reason);
        return event;
      },

      async calendar({ params, call }, caller) {
        return calendarOf(await visibleEvent(call, params.id, caller));
      },
    },
  });
}
