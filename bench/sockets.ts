/** What the process that holds open sockets is asked for and what it tells; `socket-process.ts` is that process. */
import { withProcess } from "./asked-process";

export type SocketOrder =
  /** Opens a socket for each of so many people, from number `first` on, a few at a time. */
  | {
      kind: "open";
      origin: string;
      secret: string;
      first: number;
      count: number;
      /** An event that each subscribes to. */
      eventId?: string;
    }
  /** Lets each of them book, so many a second. */
  | { kind: "book"; origin: string; eventId: string; aSecond: number }
  /** Waits until each has been sent an `updated` of the event. */
  | { kind: "updated"; withinMs: number };

export interface SocketReport {
  /** For `book`: milliseconds from the request to the notification on that person's socket, of each. */
  latencies: number[];
  /** For `updated`: when each socket was told, by the clock of {@link clockMs}. */
  toldAt: number[];
  /** What should not have been. */
  faults: string[];
}

/** Milliseconds since the epoch, finer than one: the same for all processes of a machine. */
export const clockMs = (): number => performance.timeOrigin + performance.now();

export type Sockets = (order: SocketOrder) => Promise<SocketReport>;

/** Brackets a process that holds open sockets, of one system. */
export const withSockets = <T>(
  stopping: AbortSignal,
  work: (sockets: Sockets) => Promise<T>,
): Promise<T> =>
  withProcess<SocketOrder, SocketReport, T>("socket-process.js", stopping, ({ ask }) => work(ask));
