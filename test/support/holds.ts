import type { Booking, Person } from "./people";
import type { TestSystem } from "./system";
import type { UnreliableDatabase } from "./unreliable-database";

/** Pays, for all that bookings know: what a payment service does once the money is there. */
export function confirmHold({ systems }: TestSystem, { id }: { id: string }): Promise<Booking> {
  const broker = systems[0]?.broker;
  if (!broker) throw new Error("The system has no broker");
  return broker.call<Booking, object>("bookings.$confirm", { id });
}

/** By which the sweeper finds events with lapsed holds. */
const SWEEPERS_QUESTION = /min\(hold_expires_at\)/;

/**
 * Runs `work` while nobody sweeps: the sweeper stands before its question until it is over. One that has asked before
 * has asked by an earlier time, so holds are to lapse within `work`.
 */
export async function withoutSweeper(
  database: UnreliableDatabase,
  work: () => Promise<void>,
): Promise<void> {
  const sweeper = database.holds(SWEEPERS_QUESTION);
  try {
    await work();
  } finally {
    database.works();
    sweeper.letGo();
  }
}

/** What somebody is told of one event, oldest first, but for what the clock brings. */
export async function toldOf(person: Person, event: { id: string }): Promise<string[]> {
  const { data } = await person.does(200, "GET", "/notifications?limit=100");
  return data
    .filter(
      ({ eventId, type }: { eventId: string; type: string }) =>
        eventId === event.id && type !== "event.reminder",
    )
    .map(({ type }: { type: string }) => type)
    .reverse();
}
