import { newId } from "../../lib/ids";
import type { Message, Recipient } from "../../services/notifications/senders/sender";

const ID = "01890000-0000-7000-8000-000000000001";

/** A message to somebody, as it is sent. */
export function messageTo(
  to: Partial<Recipient>,
  { deliveryId = newId(), ...notice }: Partial<Message["notice"]> & { deliveryId?: string } = {},
): Message {
  return {
    deliveryId,
    notificationId: ID,
    userId: ID,
    to: { name: "Alice", email: "alice@example.org", phone: null, pushSubscriptions: [], ...to },
    notice: {
      type: "event.updated",
      title: "Changed: Recital",
      body: "«Recital» has changed. New place: «Hall».",
      data: { eventId: ID, bookingId: null, reason: null },
      eventId: ID,
      createdAt: new Date(),
      ...notice,
    },
    unsubscribeUrl: "https://example.org/unsubscribe",
    muteUrl: "https://example.org/mute",
    link: `https://example.org/events/${ID}`,
  };
}
