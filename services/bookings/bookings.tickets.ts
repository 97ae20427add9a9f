/**
 * Ticket codes. A code is the ticket's id and its signature under the event's own key (HMAC-SHA256, cut to 128
 * bits), so that nobody guesses one and a gate with the event's key can tell a forged one without a network;
 * docs/check-in.md says how. Codes are made when they are shown and not stored, but for a day in the first answer
 * under an idempotency key.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { toString as drawQr } from "qrcode";

const ID_BYTES = 16;
const SIGNATURE_BYTES = 16;

const signatureOf = (id: Buffer, key: Buffer): Buffer =>
  createHmac("sha256", key).update(id).digest().subarray(0, SIGNATURE_BYTES);

const bytesOf = (id: string): Buffer => Buffer.from(id.replaceAll("-", ""), "hex");

/** The code of a ticket: 43 characters of base64url. */
export function codeOf(ticketId: string, key: Buffer): string {
  const id = bytesOf(ticketId);
  return Buffer.concat([id, signatureOf(id, key)]).toString("base64url");
}

/** The id of the ticket that a code was made for; undefined for a forged one, or one of another event. */
export function ticketOf(code: string, key: Buffer): string | undefined {
  const bytes = Buffer.from(code, "base64url");
  // The last character has bits to spare: of all its spellings one is the code.
  if (bytes.length !== ID_BYTES + SIGNATURE_BYTES || bytes.toString("base64url") !== code) {
    return undefined;
  }
  const id = bytes.subarray(0, ID_BYTES);
  if (!timingSafeEqual(bytes.subarray(ID_BYTES), signatureOf(id, key))) return undefined;
  const hex = id.toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A code as a QR code: an SVG picture, readable also where up to 15 % of it are damaged. */
export const qrOf = (code: string): Promise<string> =>
  drawQr(code, { type: "svg", errorCorrectionLevel: "M" });
