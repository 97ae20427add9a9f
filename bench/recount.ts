import type { Queries } from "./database";

const COUNT = `
  WITH active AS (
    SELECT id, event_id, quantity FROM bookings
     WHERE event_id = ANY ($1::uuid[]) AND status IN ('pending', 'confirmed'))
  SELECT (SELECT count(*)::int FROM active) AS bookings,
         (SELECT count(*)::int FROM active WHERE id = ANY ($2::uuid[])) AS told,
         (SELECT coalesce(sum(quantity), 0)::int FROM active) AS seats,
         (SELECT count(*)::int FROM tickets t JOIN active ON active.id = t.booking_id
           WHERE t.status = 'valid') AS tickets,
         (SELECT coalesce(sum(number_of_attendees), 0)::int FROM events
           WHERE id = ANY ($1::uuid[])) AS counted,
         (SELECT count(*)::int FROM events e
           WHERE id = ANY ($1::uuid[]) AND number_of_attendees <>
                 (SELECT coalesce(sum(quantity), 0) FROM active WHERE event_id = e.id)) AS "eventsThatDisagree"`;

/**
 * Counts in the database what was sold, against what people were told: seats sold = distinct 201s = seats of
 * active bookings = tickets = the events' own counters.
 *
 * @param told ids of the bookings that somebody was told of, one seat each
 * @returns what does not agree, in words
 */
export async function recount(
  { query }: Queries,
  events: readonly string[],
  told: readonly string[],
): Promise<string[]> {
  const [found] = await query<Record<string, number>>(COUNT, [events, told]);
  const expected = {
    bookings: told.length,
    told: told.length,
    seats: told.length,
    tickets: told.length,
    counted: told.length,
    eventsThatDisagree: 0,
  };
  return Object.entries(expected).flatMap(([what, count]) =>
    found?.[what] === count ? [] : [`${what} is ${found?.[what]}, not ${count}`],
  );
}
