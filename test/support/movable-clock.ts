import type { Clock } from "../../lib/clock";

/** A clock that runs with the real one until a test makes it stand at a moment. */
export class MovableClock implements Clock {
  private standsAt: Date | undefined;

  now = (): Date => new Date(this.standsAt ?? Date.now());

  /** Stands still at a moment. Access tokens live for an hour: who is sent further has to sign in again. */
  moveTo(moment: string | Date): void {
    this.standsAt = new Date(moment);
  }

  moveBack(): void {
    this.standsAt = undefined;
  }

  /** A moment so many minutes from what the clock shows. */
  inMinutes = (minutes: number): string =>
    new Date(this.now().getTime() + minutes * 60_000).toISOString();
}

/** The moment so many milliseconds before or after another one. */
export const shifted = (moment: string, ms: number): string =>
  new Date(Date.parse(moment) + ms).toISOString();
