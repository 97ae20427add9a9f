/**
 * events: what hosts publish and people find. Owns the table events, but for its seat counter, which the
 * booking transaction writes too.
 *
 * Invariants: seats never exceed the capacity; the status moves along the lifecycle alone; an event that
 * is cancelled or removed has no active booking left once the answer is out.
 */
import type { ServiceSchema } from "moleculer";
import type { Kernel } from "../../lib/kernel";
import { idempotencyKey, once } from "../../mixins/idempotency";
import { implement } from "../contracts";
import { announcements } from "./events.announcements";
import { calendarOf } from "./events.calendar";
import { events } from "./events.contract";
import { checkCatalogue, checkManaged, viewerOf, visibleEvent } from "./events.lookup";
import { eventsRemoval } from "./events.removal";
import * as rules from "./events.rules";
import { eventsSeats } from "./events.seats";
import { eventsStore } from "./events.store";

export default function eventsService({ clock, database }: Kernel): ServiceSchema {
  const store = eventsStore(database);

  const { remove, removeOfHost } = eventsRemoval(store, clock);
  const { promoted, withoutLapsedHolds } = eventsSeats(store, clock);

  return implement(events, {
    actions: {
      async $create({ params, meta, emit }) {
        const now = clock.now();
        const { hostId, ...asked } = params;
        const key = idempotencyKey(meta.idempotencyKey, hostId, "events.create", asked);
        const none = { saleStartsAt: null, saleEndsAt: null, currency: null };
        const { answer, replayed } = await once(database, key, now, async (_query, transaction) => {
          rules.checkSchedule({ ...none, ...params }, now);
          return store.create(rules.withTagsOnce(params), now, transaction);
        });
        meta.idempotencyReplayed = replayed;
        if (!replayed) announcements(emit, now).created(answer);
        return answer;
      },

      async $update({ params: { id, ifMatch, ...given }, call, emit, log }) {
        const now = clock.now();
        const changes = rules.withTagsOnce(given);
        const change = () =>
          store.change(id, now, (event) => {
            rules.checkSchedule({ ...event, ...changes }, now, event);
            rules.checkVersion(ifMatch, event.version);
            rules.checkChangeable(event);
            if (changes.capacity !== undefined) {
              rules.checkCapacity(changes.capacity, event.numberOfAttendees);
            }
            return rules.changesNothing(event, changes) ? null : changes;
          });
        const { before, after } = await withoutLapsedHolds(id, change, call);
        if (after.version !== before.version) announcements(emit, now).updated(before, after);
        return rules.mayBeFree(before, after) ? promoted(after, { call, log }) : after;
      },

      $delete: ({ params: { id, ifMatch }, ...ctx }) => remove(id, ifMatch, ctx),

      $deleteOfHost: ({ params: { hostId }, ...ctx }) => removeOfHost(hostId, ctx),

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

      async publish({ params: { id }, call, emit, log }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { before, after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "published", now);
          return { status: "published" };
        });
        const announce = announcements(emit, now);
        if (before.status === "draft") announce.created(after);
        else announce.updated(before, after);
        return promoted(after, { call, log });
      },

      async postpone({ params: { id, reason = null, ...times }, call, emit }, caller) {
        rules.checkChanges(times);
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { before, after } = await store.change(id, now, (event) => {
          rules.checkSchedule({ ...event, ...times }, now, event);
          rules.checkTransition(event, "postponed", now);
          return { ...times, status: "postponed" };
        });
        announcements(emit, now).updated(before, after, reason);
        return after;
      },

      async cancel({ params: { id, reason = null }, call, emit }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "cancelled", now);
          return rules.cancellation(event, now, reason);
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
