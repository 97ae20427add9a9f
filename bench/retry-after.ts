const DEFAULT_MS = 1_000;
/** A bench must end. */
const MOST_MS = 30_000;

/** Answers after which one may try again (RFC 9110, 10.2.3); 409 is one where a first request is still under way. */
const MAY_RETRY = new Set([409, 429, 503]);

/**
 * How long a client that honours Retry-After (RFC 9110, 10.2.3: seconds, or a date) waits before it sends the same
 * request again; undefined when the answer is final. A 429 or 503 that names no time means a second.
 *
 * @param now milliseconds since 1970
 */
export function retryAfterMs(
  status: number,
  header: string | undefined,
  now: number,
): number | undefined {
  if (!MAY_RETRY.has(status)) return undefined;
  if (header === undefined) return status === 409 ? undefined : DEFAULT_MS;
  const named = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  if (Number.isNaN(named)) return DEFAULT_MS;
  return Math.min(Math.max(named, 0), MOST_MS);
}
