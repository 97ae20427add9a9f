/**
 * The people of a bench are numbered, so that a process that drives the system and the database agree on their
 * ids without telling each other: 0 is the host, the attendees count from 1.
 */
import type { KeyObject } from "node:crypto";
import jwt from "jsonwebtoken";

export const HOST = 0;

const numbered = (kind: string, n: number) =>
  `01900000-0000-7000-${kind}-${n.toString(16).padStart(12, "0")}`;
export const userId = (n: number): string => numbered("8000", n);
export const sessionId = (n: number): string => numbered("9000", n);

/** Prime, and greater than any crowd, so that multiples of it meet everybody once. */
const STRIDE = 7_368_787;

/**
 * The number of the attendee who comes as `i`-th (from 0): nobody twice, and not in the order of their ids, as in
 * life, so that indexes by user are not only appended to.
 */
export const attendeeAt = (i: number, attendees: number): number => 1 + ((i * STRIDE) % attendees);

const LIFE_SECONDS = 24 * 3600;

/** An access token as services/core signs it, for a session that lives. */
export function tokenOf(
  n: number,
  key: KeyObject,
  role: "host" | "attendee" = n === HOST ? "host" : "attendee",
): string {
  return jwt.sign({ role, sid: sessionId(n) }, key, {
    algorithm: "HS256",
    issuer: "marquee",
    audience: "marquee-api",
    subject: userId(n),
    expiresIn: LIFE_SECONDS,
  });
}
