/**
 * events: what hosts publish and people find, and who is interested in it. Owns the tables events, but for its seat
 * counter, which the booking transaction writes too, interests, awaited_sales and told_moments.
 *
 * Invariants: seats never exceed the capacity; the status moves along the lifecycle alone; an event that
 * is cancelled or removed has no active booking left once the answer is out; that a sale has started or an event is
 * near is told once, by whichever node comes first.
 */
import type { ServiceSchema } from "moleculer";
import { DONE_WITHIN_MS } from "../../lib/database";
import type { Kernel } from "../../lib/kernel";
import { idempotencyKey, once } from "../../mixins/idempotency";
import { implement } from "../contracts";
import { announcements } from "./events.announcements";
import { calendarOf } from "./events.calendar";
import { events } from "./events.contract";
import { eventsInterest } from "./events.interest";
import { checkCatalogue, checkManaged, viewerOf, visibleEvent } from "./events.lookup";
import { tellMoments } from "./events.moments";
import { eventsRemoval } from "./events.removal";
import * as rules from "./events.rules";
import { eventsSeats } from "./events.seats";
import { eventsStore } from "./events.store";

export default function eventsService({ config, clock, database }: Kernel): ServiceSchema {
  const store = eventsStore(database);

  const { remove, removeOfHost } = eventsRemoval(store, clock);
  const { promoted, withoutLapsedHolds } = eventsSeats(store, clock);
  const interest = eventsInterest(database, clock);
  let inBackground: { stop(): Promise<void> }[] = [];

  return implement(events, {
    actions: {
      async $create({ params, meta }) {
        const now = clock.now();
        const { created } = announcements(now, meta.requestId ?? null);
        const { hostId, ...asked } = params;
        const key = idempotencyKey(meta.idempotencyKey, hostId, "events.create", asked);
        const none = { saleStartsAt: null, saleEndsAt: null, currency: null };
        const { answer, replayed } = await once(database, key, now, async (_query, transaction) => {
          rules.checkSchedule({ ...none, ...params }, now);
          return store.create(rules.withTagsOnce(params), now, transaction, created);
        });
        meta.idempotencyReplayed = replayed;
        return answer;
      },

      async $update({ params: { id, ifMatch, ...given }, meta, call, log }) {
        const now = clock.now();
        const { updated } = announcements(now, meta.requestId ?? null);
        const changes = rules.withTagsOnce(given);
        const decide = (event: rules.EventWithin) => {
          rules.checkSchedule({ ...event, ...changes }, now, event);
          rules.checkVersion(ifMatch, event.version);
          rules.checkChangeable(event);
          if (changes.capacity !== undefined) {
            rules.checkCapacity(changes.capacity, event.numberOfAttendees);
          }
          return rules.changesNothing(event, changes) ? null : changes;
        };
        const until = performance.now() + DONE_WITHIN_MS;
        const change = () => store.change(id, now, decide, updated, until);
        const { before, after } = await withoutLapsedHolds(id, change, { call, until });
        return rules.mayBeFree(before, after) ? promoted(after, { call, log, until }) : after;
      },

      $delete: ({ params: { id, ifMatch }, ...ctx }) => remove(id, ifMatch, ctx),

      $deleteOfHost: ({ params: { hostId }, ...ctx }) => removeOfHost(hostId, ctx),

      $find: ({ params }) => store.find(params.id, clock.now()),

      $list: ({ params }) => store.list(params, clock.now()),

      async $liveStates({ params: { ids, hostIds } }) {
        return { states: await store.liveStates(ids, hostIds, clock.now()) };
      },

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

      async publish({ params: { id }, meta, call, log }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { created, updated } = announcements(now, meta.requestId ?? null);
        const until = performance.now() + DONE_WITHIN_MS;
        const { after } = await store.change(
          id,
          now,
          (event) => {
            rules.checkTransition(event, "published", now);
            return { status: "published" };
          },
          (before, after) => (before.status === "draft" ? created(after) : updated(before, after)),
          until,
        );
        return promoted(after, { call, log, until });
      },

      async postpone({ params: { id, reason = null, ...times }, meta, call }, caller) {
        rules.checkChanges(times);
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { updated } = announcements(now, meta.requestId ?? null);
        const { after } = await store.change(
          id,
          now,
          (event) => {
            rules.checkSchedule({ ...event, ...times }, now, event);
            rules.checkTransition(event, "postponed", now);
            return { ...times, status: "postponed" };
          },
          (before, after) => updated(before, after, reason),
        );
        return after;
      },

      async cancel({ params: { id, reason = null }, meta, call }, caller) {
        await checkManaged(call, id, caller);
        const now = clock.now();
        const { cancelled } = announcements(now, meta.requestId ?? null);
        const { after } = await store.change(
          id,
          now,
          (event) => {
            rules.checkTransition(event, "cancelled", now);
            return rules.cancellation(event, now, reason);
          },
          (before, after) => cancelled(before, after, reason),
        );
        await call("bookings.$delete", { eventId: id, reason: "event_cancelled" });
        // Not read again: nobody can book it any more, and somebody may have removed it meanwhile.
        return { ...after, numberOfAttendees: 0, availableTickets: after.capacity };
      },

      $forgetInterest: ({ params }) => interest.forget(params.userId),

      async expressInterest({ params: { id }, call }, caller) {
        await visibleEvent(call, id, caller);
        await interest.express(id, caller.id);
      },

      async withdrawInterest({ params: { id }, call }, caller) {
        await visibleEvent(call, id, caller);
        await interest.withdraw(id, caller.id);
      },

      async calendar({ params, call }, caller) {
        return calendarOf(await visibleEvent(call, params.id, caller));
      },
    },

    async started({ log }) {
      inBackground = [tellMoments(store, database, { clock, config, log })];
    },

    async stopped() {
      await Promise.all(inBackground.map((work) => work.stop()));
    },
  });
}
