/** Check-in: a ticket lets somebody in once, however many doors scan it at the same time. */
import type { Clock } from "../../lib/clock";
import type { Database } from "../../lib/database";
import { EventNotFound } from "../events/events.contract";
import type { BookingsActions } from "./bookings.actions";
import {
  AlreadyCheckedIn,
  NotCheckedIn,
  type TICKET_STATUSES,
  TicketNotFound,
} from "./bookings.contract";
import { checkHosts, ownTicket } from "./bookings.rules";
import type { BookingsStore } from "./bookings.store";
import { qrOf, ticketOf } from "./bookings.tickets";

interface TicketRow {
  id: string;
  status: (typeof TICKET_STATUSES)[number];
  bookingId: string;
  checkedInAt: Date | null;
  attendeeId: string;
  attendeeName: string;
}

const COLUMNS = `t.id, t.status, t.booking_id AS "bookingId", t.checked_in_at AS "checkedInAt",
  u.id AS "attendeeId", u.name AS "attendeeName"`;

// The condition on the status is looked at again under the row's lock: of two doors one finds it fulfilled. A
// cancellation sets the ticket's status, too, so it comes before or after and never in between.
const CHANGE = `
  UPDATE tickets t SET status = $to, checked_in_at = $at::timestamptz
    FROM bookings b JOIN users u ON u.id = b.user_id
   WHERE t.id = $ticketId::uuid AND t.status = $from AND b.id = t.booking_id AND b.event_id = $eventId::uuid
  RETURNING ${COLUMNS}`;

const FIND = `
  SELECT ${COLUMNS} FROM tickets t JOIN bookings b ON b.id = t.booking_id JOIN users u ON u.id = b.user_id
   WHERE t.id = $ticketId::uuid AND b.event_id = $eventId::uuid`;

export function doorStore(database: Database, clock: Clock) {
  /** @throws EventNotFound */
  const keyOf = async (eventId: string): Promise<Buffer> => {
    const [event] = await database.query<{ key: Buffer }>(
      "SELECT ticket_key AS key FROM events WHERE id = $eventId AND deleted_at IS NULL",
      { eventId },
    );
    if (!event) throw new EventNotFound({ eventId });
    return event.key;
  };

  const change = async (eventId: string, code: string, to: "checked_in" | "valid") => {
    const ticketId = ticketOf(code, await keyOf(eventId));
    if (ticketId === undefined) throw new TicketNotFound({});
    const checkingIn = to === "checked_in";
    const from = checkingIn ? "valid" : "checked_in";
    const at = checkingIn ? clock.now() : null;
    const [changed] = await database.query<TicketRow>(CHANGE, { eventId, ticketId, from, to, at });
    if (changed) return shown(changed, code);
    const [ticket] = await database.query<TicketRow>(FIND, { eventId, ticketId });
    if (!ticket || ticket.status === "cancelled") throw new TicketNotFound({});
    if (!checkingIn) throw new NotCheckedIn({});
    const since = ticket.checkedInAt ?? clock.now();
    throw new AlreadyCheckedIn({ checkedInAt: since.toISOString() });
  };

  const shown = (
    { attendeeId, attendeeName, checkedInAt, ...ticket }: TicketRow,
    code: string,
  ) => ({
    ...ticket,
    code,
    checkedInAt: checkedInAt?.toISOString() ?? null,
    attendee: { id: attendeeId, name: attendeeName },
  });

  return {
    keyOf,
    /** @throws EventNotFound, TicketNotFound, AlreadyCheckedIn */
    checkIn: (eventId: string, code: string) => change(eventId, code, "checked_in"),
    /** @throws EventNotFound, TicketNotFound, NotCheckedIn */
    undoCheckIn: (eventId: string, code: string) => change(eventId, code, "valid"),
  };
}

export type DoorStore = ReturnType<typeof doorStore>;

/** The door's part of the service's face. */
export const doorActions = (
  door: DoorStore,
  store: BookingsStore,
): BookingsActions<"checkIn" | "undoCheckIn" | "gateKey" | "ticketQr"> => ({
  async checkIn({ params: { id, code }, call }, caller) {
    checkHosts(await call("events.$find", { id }), caller);
    return door.checkIn(id, code);
  },

  async undoCheckIn({ params: { id, code }, call }, caller) {
    checkHosts(await call("events.$find", { id }), caller);
    return door.undoCheckIn(id, code);
  },

  async gateKey({ params: { id }, call }, caller) {
    checkHosts(await call("events.$find", { id }), caller);
    return { eventId: id, key: (await door.keyOf(id)).toString("hex") };
  },

  async ticketQr({ params: { id, ticketId } }, caller) {
    return qrOf(ownTicket(await store.find(id), ticketId, caller).code);
  },
});
