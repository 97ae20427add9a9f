import type { BookingsStore, Chunk } from "../../services/bookings/bookings.store";
import { sweepHolds } from "../../services/bookings/bookings.sweeper";
import { silent } from "../support/silent";

/** How often a sweeper asks for events within three seconds, when each of a full round has this to be said of it. */
async function questions(chunk: Chunk): Promise<number> {
  jest.useFakeTimers();
  let asked = 0;
  const store: Pick<BookingsStore, "eventsWithLapsedHolds" | "expireSomeOfEvent"> = {
    async eventsWithLapsedHolds(limit) {
      asked++;
      return Array.from({ length: limit }, (_, i) => String(i));
    },
    expireSomeOfEvent: async () => chunk,
  };
  // The sweeper of holds uses nothing else of it.
  const sweeper = sweepHolds(store as BookingsStore, silent);
  await jest.advanceTimersByTimeAsync(3_500);
  const stopped = sweeper.stop();
  jest.useRealTimers();
  await stopped;
  return asked;
}

test("A full round is followed by the next at once", async () => {
  expect(await questions({ more: false, held: false })).toBeGreaterThan(100);
});

test("A full round of events that others hold is not: it would only be repeated", async () => {
  expect(await questions({ more: false, held: true })).toBe(3);
});
