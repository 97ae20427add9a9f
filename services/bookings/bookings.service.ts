/**
 * bookings: who has which seats. Owns the tables bookings, tickets and waitlist, and writes the seat counter of
 * events inside its transactions.
 *
 * Invariants: seats of active bookings are what the event's counter says and never more than its capacity;
 * a user has one active booking for an event at most; a booking moves along its lifecycle alone; a freed seat
 * goes to those who wait before anybody else; a ticket lets somebody in once.
 */
import type { ServiceSchema } from "moleculer";
import type { Meta } from "../../lib/contract/define";
import { ValidationFailed } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import type { RepeatedWork } from "../../lib/repeated";
import { forgetOldKeys, idempotencyKey } from "../../mixins/idempotency";
import { implement } from "../contracts";
import { type BookingRequest, bookingBatches } from "./bookings.batches";
import { bookings } from "./bookings.contract";
import { doorActions, doorStore } from "./bookings.door";
import * as rules from "./bookings.rules";
import { bookingsStore } from "./bookings.store";
import { finishCancellations, promoteForgotten, sweepHolds } from "./bookings.sweeper";
import { waitlistActions, waitlistStore } from "./bookings.waitlist";

type Asked = Pick<BookingRequest, "eventId" | "quantity">;

export default function bookingsService({ config, clock, database }: Kernel): ServiceSchema {
  const store = bookingsStore(database, clock, config);
  const batches = bookingBatches(database, clock, config);
  const waitlist = waitlistStore(database, clock, store);
  const door = doorStore(database, clock);
  let inBackground: { stop(): Promise<void> }[] = [];
  let promoting: RepeatedWork | undefined;

  const requestOf = ({ requestId = null }: { requestId?: string | null }) => requestId;
  const book = async (asked: Asked, userId: string, meta: Meta) => {
    rules.checkQuantity(asked.quantity, config.maxTicketsPerBooking);
    const { booking, replayed } = await batches.submit({
      ...asked,
      userId,
      key: idempotencyKey(meta.idempotencyKey, userId, "bookings.create", asked),
      requestId: requestOf(meta),
    });
    meta.idempotencyReplayed = replayed;
    return booking;
  };
  return implement(bookings, {
    actions: {
      $create: ({ params: { userId, ...asked }, meta }) => book(asked, userId, meta),

      async $confirm({ params: { id }, meta }) {
        return rules.withoutAttendee(await store.confirm(id, requestOf(meta)));
      },

      async $update({ params: { id, reason }, meta }) {
        const why = { reason, requestId: requestOf(meta) };
        return rules.withoutAttendee(await store.cancel(id, why));
      },

      async $delete({ params: { eventId, userId, reason }, meta }) {
        const why = { reason, requestId: requestOf(meta) };
        if (eventId !== undefined && userId === undefined) {
          return { cancelled: await store.endAllOfEvent(eventId, why) };
        }
        if (userId !== undefined && eventId === undefined) {
          await waitlist.leaveAll(userId);
          return { cancelled: await store.cancelAllOfUser(userId, why) };
        }
        throw new ValidationFailed({
          errors: [{ field: "eventId", message: "or userId is required, one of the two" }],
        });
      },

      $tidyUp: ({ params: { eventId, withinMs } }) =>
        store.tidyUpAll(eventId, withinMs === undefined ? undefined : performance.now() + withinMs),

      async $find({ params }) {
        return rules.withoutAttendee(await store.find(params.id));
      },

      $list: ({ params }) => store.list(params),

      // Not by way of the internal action: where thousands book in a second, a call more is one too many.
      create: ({ params, meta }, caller) => book(params, caller.id, meta),

      async list({ params, call }, caller) {
        const scope = {
          attendee: { userId: caller.id },
          host: { hostId: caller.id },
          admin: {},
        }[caller.role];
        const page = await call("bookings.$list", { ...params, ...scope });
        return { ...page, data: page.data.map(rules.withoutAttendee) };
      },

      async listMine({ params, call }, caller) {
        const page = await call("bookings.$list", { ...params, userId: caller.id });
        return { ...page, data: page.data.map(rules.withoutAttendee) };
      },

      async find({ params }, caller) {
        const booking = await store.find(params.id);
        rules.checkMayRead(booking, caller);
        return rules.withoutAttendee(booking);
      },

      async cancel({ params: { id }, call }, caller) {
        const booking = await store.find(id);
        rules.checkMayCancel(booking, caller);
        const reason = caller.id === booking.userId ? "attendee" : "admin";
        await call("bookings.$update", { id, status: "cancelled", reason });
      },

      async listOfEvent({ params: { id, ...request }, call }, caller) {
        rules.checkHosts(await call("events.$find", { id }), caller);
        return call("bookings.$list", { ...request, eventId: id });
      },

      ...waitlistActions(waitlist, config),

      ...doorActions(door, store),
    },

    channels: {
      // Whoever makes more seats asks for this as well, and answers with what is left; where that broke off, those who
      // wait have their seats by this. In the background: what is heard of next does not wait for it.
      async "events.updated"(events) {
        const frees = ({ changed }: (typeof events)[number]) =>
          changed.includes("capacity") || changed.includes("status");
        if (events.some(frees)) promoting?.soon(0);
      },
    },

    async started({ log }) {
      promoting = promoteForgotten(store, log);
      inBackground = [
        sweepHolds(store, log),
        finishCancellations(store, clock, log),
        promoting,
        forgetOldKeys(database, clock, log),
      ];
    },

    async stopped() {
      await Promise.all([...inBackground.map((work) => work.stop()), batches.idle()]);
    },
  });
}
