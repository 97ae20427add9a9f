import type { Clock } from "../../lib/clock";

/** A clock that a test puts forward; from there it runs on. */
export class MovableClock implements Clock {
  private aheadMs = 0;

  now = (): Date => new Date(Date.now() + this.aheadMs);

  /** Stands at a moment. Access tokens live for an hour: who is sent further has to sign in again. */
  moveTo(moment: string | Date): void {
    this.aheadMs = new Date(moment).getTime() - Date.now();
  }

  moveBack(): void {
    this.aheadMs = 0;
  }

  /** A moment so many minutes from where the clock stands. */
  inMinutes = (minutes: number): string =>
    new Date(this.now().getTime() + minutes * 60_000).toISOString();
}
