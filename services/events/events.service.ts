/**
 * events: what hosts publish and people find. Owns the table events, but for its seat counter, which the
 * booking transaction writes too.
 *
 * Invariants: seats never exceed the capacity; the status moves along the lifecycle alone; an event that
 * is cancelled or removed has no active booking left once the answer is out.
 */
import type { ServiceSchema } from "moleculer";
import type { Call, Caller, Emit } from "../../lib/contract/define";
import { isError, ValidationFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import type { Kernel } from "../../lib/kernel";
import { AvailableEventNotFound } from "../available-events/available-events.contract";
import { type Contracts, implement } from "../contracts";
import { calendarOf } from "./events.calendar";
import { EventNotFound, events } from "./events.contract";
import * as rules from "./events.rules";
import { eventsStore, NOT_IN_CATALOGUE } from "./events.store";

/** The newer a retry of a removal, the fewer events are left; more rounds than this mean something is stuck. */
const MOST_ROUNDS = 10_000;

/**
 * The occurrence id of an event's cancellation: its own id as a UUID of version 8. An event is cancelled
 * once, however often that is asked for or taken up again, and so nobody is told twice.
 */
const cancellationId = (eventId: string) => `${eventId.slice(0, 14)}8${eventId.slice(15)}`;

export default function eventsService({ clock, database }: Kernel): ServiceSchema {
  const store = eventsStore(database);

  const occurrence = (event: rules.Event) => ({
    id: newId(),
    schemaVersion: 1,
    occurredAt: clock.now().toISOString(),
    eventId: event.id,
    version: event.version,
    hostId: event.hostId,
    title: event.title,
    startDateTime: event.startDateTime,
    endDateTime: event.endDateTime,
    timeZone: event.timeZone,
    location: event.location,
  });
  const announceUpdate = (emit: Emit<Contracts>, event: rules.Event, reason: string | null) => {
    if (event.status === "draft") return;
    emit("events.updated", { ...occurrence(event), status: event.status, reason });
  };

  /**
   * Looks an entry up before anything else is found wrong with a change. That it goes between now and then
   * shows as a foreign key that refuses.
   *
   * @throws ValidationFailed for one that the catalogue lacks
   */
  const checkCatalogue = async (call: Call<Contracts>, id: string | null | undefined) => {
    if (!id) return;
    try {
      await call("available-events.$find", { id });
    } catch (error) {
      if (!isError(error, AvailableEventNotFound)) throw error;
      throw new ValidationFailed({ errors: [NOT_IN_CATALOGUE] });
    }
  };

  /** Loads an event that the caller may see. */
  const visible = async (call: Call<Contracts>, id: string, caller: Caller | null) => {
    const event = await call("events.$find", { id });
    if (!rules.isVisibleTo(event, caller)) throw new EventNotFound({});
    return event;
  };

  /** Loads an event that the caller manages. */
  const managed = async (call: Call<Contracts>, id: string, caller: Caller) => {
    const event = await call("events.$find", { id });
    rules.checkManages(event, caller);
    return event;
  };

  const remove = async (
    id: string,
    ifMatch: string | undefined,
    { call, emit }: { call: Call<Contracts>; emit: Emit<Contracts> },
  ) => {
    const now = clock.now();
    // Three steps, each of which may be repeated: nobody books any more; nobody has a booking; it is gone.
    const { before, after } = await store.change(id, now, (event) => {
      rules.checkVersion(ifMatch, event.version);
      return event.status === "cancelled" ? null : { status: "cancelled" };
    });
    await call("bookings.$delete", { eventId: id, reason: "event_deleted" });
    // Of those who remove it at once one does it, and one tells of it.
    if (!(await store.remove(id, now))) throw new EventNotFound({});
    // Nobody has heard of a draft.
    if (before.status !== "draft") emit("events.deleted", occurrence(after));
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
        if (event.status === "published") emit("events.created", occurrence(event));
        return event;
      },

      async $update({ params: { id, ifMatch, ...changes }, emit }) {
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkSchedule({ ...event, ...changes }, now, event);
          rules.checkVersion(ifMatch, event.version);
          rules.checkChangeable(event);
          if (changes.capacity !== undefined) {
            rules.checkCapacity(changes.capacity, event.numberOfAttendees);
          }
          return changes;
        });
        announceUpdate(emit, after, null);
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

      list: ({ params, call }, caller) =>
        call("events.$list", {
          ...params,
          ...(caller ? { viewerId: caller.id, viewerIsAdmin: caller.role === "admin" } : {}),
        }),

      search: ({ params }, caller) =>
        store.search(
          {
            ...params,
            ...(caller ? { viewerId: caller.id, viewerIsAdmin: caller.role === "admin" } : {}),
          },
          clock.now(),
        ),

      find: ({ params, call }, caller) => visible(call, params.id, caller),

      async update({ params, call }, caller) {
        const { id, ifMatch: _ifMatch, ...changes } = params;
        rules.checkChanges(changes);
        await checkCatalogue(call, changes.availableEventId);
        await managed(call, id, caller);
        return call("events.$update", params);
      },

      async delete({ params, call }, caller) {
        await managed(call, params.id, caller);
        await call("events.$delete", params);
      },

      async publish({ params: { id }, call, emit }, caller) {
        await managed(call, id, caller);
        const now = clock.now();
        const { before, after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "published", now);
          return { status: "published" };
        });
        if (before.status === "draft") emit("events.created", occurrence(after));
        else announceUpdate(emit, after, null);
        return after;
      },

      async postpone({ params: { id, reason = null, ...times }, call, emit }, caller) {
        rules.checkChanges(times);
        await managed(call, id, caller);
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkSchedule({ ...event, ...times }, now, event);
          rules.checkTransition(event, "postponed", now);
          return { ...times, status: "postponed" };
        });
        announceUpdate(emit, after, reason);
        return after;
      },

      async cancel({ params: { id, reason = null }, call, emit }, caller) {
        await managed(call, id, caller);
        const now = clock.now();
        const { after } = await store.change(id, now, (event) => {
          rules.checkTransition(event, "cancelled", now);
          return event.status === "cancelled" ? null : { status: "cancelled" };
        });
        await call("bookings.$delete", { eventId: id, reason: "event_cancelled" });
        // Not read again: nobody can book it any more, and whoever removes it meanwhile must not keep its
        // attendees from being told.
        const event = { ...after, numberOfAttendees: 0, availableTickets: after.capacity };
        emit("events.cancelled", { ...occurrence(event), id: cancellationId(id), reason });
        return event;
      },

      async calendar({ params, call }, caller) {
        return calendarOf(await visible(call, params.id, caller));
      },
    },
  });
}
