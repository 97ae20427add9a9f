import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../lib/clock";
import type { Call, ResultOf } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import { BookingNotFound, type bookings } from "../bookings/bookings.contract";
import type { Contracts } from "../contracts";
import { EventNotFound } from "../events/events.contract";
import { qrPicture } from "./mail/qr-picture";
import type { Outgoing } from "./notifications.deliveries";
import type { NotificationType } from "./notifications.rules";
import { whyOutdated } from "./outdated.rules";
import type { Attachment, Message } from "./senders/sender";

type Booking = ResultOf<(typeof bookings)["actions"]["$find"]>;

/** Notices of seats that somebody has. */
const OF_SEATS: readonly NotificationType[] = ["booking.confirmed", "waitlist.promoted"];
/** Of more tickets than these a mail has the codes alone: it would become too large for mailboxes. */
const MOST_PICTURES = 50;

/** Why there is no message: what it would tell is not so any more. */
export interface Outdated {
  outdated: string;
}

export interface Messages {
  call: Call<Contracts>;
  clock: Clock;
  publicUrl: string;
  unsubscribeUrl(of: { userId: string; type: NotificationType | null }): string;
}

async function unlessMissing<T>(found: Promise<T>, kind: { code: string }): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isError(error, kind)) return undefined;
    throw error;
  }
}

/** What lets somebody in, as codes and pictures, and the event for their calendar. */
async function admission(
  { tickets, eventId }: Booking,
  call: Call<Contracts>,
): Promise<Pick<Message, "tickets" | "attachments">> {
  const attachments: Attachment[] = [];
  const shown: { code: string; cid?: string }[] = [];
  for (const { id, code } of tickets) {
    const number = shown.length + 1;
    if (number > MOST_PICTURES) {
      shown.push({ code });
      continue;
    }
    const content = qrPicture(code);
    const cid = `${id}@marquee`;
    attachments.push({ filename: `ticket-${number}.png`, contentType: "image/png", content, cid });
    shown.push({ code, cid });
    // Drawing is the dear part of a mail: whoever else wants the process has it in between.
    await nextTurn();
  }
  const calendar = await unlessMissing(call("events.calendar", { id: eventId }), EventNotFound);
  if (calendar !== undefined) {
    const contentType = "text/calendar; charset=utf-8; method=PUBLISH";
    attachments.push({ filename: "event.ics", contentType, content: Buffer.from(calendar) });
  }
  return { tickets: shown, attachments };
}

/** Makes a message of a notice as things are now. Of what is not so any more, like seats that are gone, there is none. */
export async function messageOf(
  outgoing: Outgoing,
  { call, clock, publicUrl, unsubscribeUrl }: Messages,
): Promise<Message | Outdated> {
  const why = whyOutdated(outgoing, clock.now());
  if (why !== undefined) return { outdated: why };
  const { deliveryId, notificationId, userId, channel, name, email, phone } = outgoing;
  const { type, title, body, data, eventId, createdAt, subscription } = outgoing;
  const message = {
    ...{ deliveryId, notificationId, userId },
    to: { name, email, phone, pushSubscriptions: subscription ? [subscription] : [] },
    notice: { type, title, body, data, eventId, createdAt },
    unsubscribeUrl: unsubscribeUrl({ userId, type: null }),
    muteUrl: unsubscribeUrl({ userId, type }),
    link: eventId === null ? publicUrl : `${publicUrl}/events/${eventId}`,
  };
  if (!OF_SEATS.includes(type) || data.bookingId === null) return message;
  const found = call("bookings.$find", { id: data.bookingId });
  const booking = await unlessMissing(found, BookingNotFound);
  if (booking?.status !== "confirmed" && booking?.status !== "pending") {
    return { outdated: "The booking is over." };
  }
  // Seats that are only held have no tickets yet.
  const withTickets = channel === "email" && booking.status === "confirmed";
  return withTickets ? { ...message, ...(await admission(booking, call)) } : message;
}
