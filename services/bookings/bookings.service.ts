/**
 * bookings: who has which seats. Owns the tables bookings and tickets, and writes the seat counter of
 * events inside its transactions.
 *
 * Invariants: seats of active bookings are what the event's counter says and never more than its capacity;
 * a user has one active booking for an event at most; a booking moves along its lifecycle alone.
 */
import type { ServiceSchema } from "moleculer";
import { isError, ValidationFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import type { Kernel } from "../../lib/kernel";
import { implement } from "../contracts";
import { BookingNotActive, bookings } from "./bookings.contract";
import * as rules from "./bookings.rules";
import { bookingsStore } from "./bookings.store";

export default function bookingsService({ config, clock, database }: Kernel): ServiceSchema {
  const store = bookingsStore(database);

  const occurrence = (booking: rules.Booking) => ({
    id: newId(),
    schemaVersion: 1,
    occurredAt: clock.now().toISOString(),
    bookingId: booking.id,
    eventId: booking.eventId,
    userId: booking.userId,
    quantity: booking.quantity,
    eventTitle: booking.event.title,
    eventStartDateTime: booking.event.startDateTime,
  });

  return implement(bookings, {
    actions: {
      async $create({ params, emit }) {
        rules.checkQuantity(params.quantity, config.maxTicketsPerBooking);
        const booking = await store.create(params, clock);
        emit("bookings.confirmed", occurrence(booking));
        return rules.withoutAttendee(booking);
      },

      async $update({ params: { id, reason }, emit }) {
        const booking = await store.cancel(id, reason, clock.now());
        emit("bookings.cancelled", { ...occurrence(booking), reason });
        return rules.withoutAttendee(booking);
      },

      async $delete({ params: { eventId, userId, reason }, emit }) {
        if ((eventId === undefined) === (userId === undefined)) {
          throw new ValidationFailed({
            errors: [{ field: "eventId", message: "or userId is required, one of the two" }],
          });
        }
        let cancelled = 0;
        const announce = (booking: rules.Booking) => {
          cancelled++;
          emit("bookings.cancelled", { ...occurrence(booking), reason });
        };
        // What somebody else cancels meanwhile is what we want.
        const cancelIfActive = async (id: string) => {
          try {
            announce(await store.cancel(id, reason, clock.now()));
          } catch (error) {
            if (!isError(error, BookingNotActive)) throw error;
          }
        };
        if (userId !== undefined) {
          for (const id of await store.activeOfUser(userId)) await cancelIfActive(id);
        }
        if (eventId !== undefined) {
          let chunk: rules.Booking[];
          do {
            chunk = await store.cancelSomeOfEvent(eventId, reason, clock.now());
            chunk.forEach(announce);
          } while (chunk.length > 0);
        }
        return { cancelled };
      },

      async $find({ params }) {
        return rules.withoutAttendee(await store.find(params.id, clock.now()));
      },

      $list: ({ params }) => store.list(params, clock.now()),

      async $attendees({ params: { eventId, booked, after, limit } }) {
        return { userIds: await store.attendees(eventId, booked, after, limit) };
      },

      async create({ params, call }, caller) {
        rules.checkQuantity(params.quantity, config.maxTicketsPerBooking);
        return call("bookings.$create", { ...params, userId: caller.id });
      },

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
        const booking = await store.find(params.id, clock.now());
        rules.checkMayRead(booking, caller);
        return rules.withoutAttendee(booking);
      },

      async cancel({ params: { id }, call }, caller) {
        const booking = await store.find(id, clock.now());
        rules.checkMayCancel(booking, caller);
        const reason = caller.id === booking.userId ? "attendee" : "admin";
        await call("bookings.$update", { id, status: "cancelled", reason });
      },

      async listOfEvent({ params: { id, ...request }, call }, caller) {
        const event = await call("events.$find", { id });
        rules.checkHosts(event, caller);
        return call("bookings.$list", { ...request, eventId: id });
      },
    },
  });
}
