/**
 * Who of those that ask together gets seats. No input or output: the same facts give the same outcomes.
 */
import { type AppError, Unauthenticated } from "../../lib/errors";
import { type BookableEvent, refusal } from "./bookings.rules";

/** What is known of one request when its event's row is locked. */
export interface Applicant {
  /** As those decided before have left it. */
  event: BookableEvent;
  userId: string;
  quantity: number;
  /** Whether the user's row is there and not erased. */
  userExists: boolean;
  /** Whether the user had an active booking for the event before anybody in this batch was decided. */
  bookedAlready: boolean;
}

/**
 * Decides the requests of one batch, which come in order of arrival, each after what those before it have
 * taken: a small request is not refused because a large one before it was.
 *
 * @returns what decides one: the reason of its refusal, or undefined when it gets its seats, which are counted in
 *   its event then
 */
export function allocation(now: Date): (applicant: Applicant) => AppError | undefined {
  const taken = new Set<string>();
  return ({ event, userId, quantity, userExists, bookedAlready }) => {
    if (!userExists) return new Unauthenticated({});
    const booking = `${event.id} ${userId}`;
    const known = bookedAlready || taken.has(booking);
    const refused = refusal(event, { quantity, bookedAlready: known, now });
    if (refused) return refused;
    taken.add(booking);
    event.numberOfAttendees += quantity;
    return undefined;
  };
}
