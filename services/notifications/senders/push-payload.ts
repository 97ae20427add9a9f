import { cut } from "./cut";
import type { Message } from "./sender";

/** A push service must take 4 KiB with all that encryption adds (RFC 8030, 7.2); not all take more. */
const MOST_BYTES = 3072;
/** Of what is cut, so that the rest has room. */
const TITLE_BYTES = 500;
const REASON_BYTES = 500;

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));
/** Within a document, without the quotation marks. */
const bytesInside = (text: string): number => bytesOf(text) - 2;

/** What a browser's service worker is given: JSON that fits; first the text gives way, then title and reason. */
export function pushPayload({ notificationId, notice, link }: Message): string {
  const { type, title, body, eventId, data } = notice;
  const whole = { id: notificationId, type, title, body, eventId, data, link };
  if (bytesOf(whole) <= MOST_BYTES) return JSON.stringify(whole);
  const { reason } = data;
  const shorter = {
    ...whole,
    title: cut(title, TITLE_BYTES, bytesInside),
    data: { ...data, reason: reason === null ? null : cut(reason, REASON_BYTES, bytesInside) },
  };
  const room = MOST_BYTES - bytesOf({ ...shorter, body: "" });
  return JSON.stringify({ ...shorter, body: cut(body, room, bytesInside) });
}
