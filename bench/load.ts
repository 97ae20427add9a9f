/** What the process that drives a system is asked for and what it tells; `load-process.ts` is that process. */
import { withProcess } from "./asked-process";

export interface LoadOrder {
  origin: string;
  /** Signs the tokens of those who book, as the system's own does. */
  secret: string;
  /** Each sends its next request when the answer to the one before is there. */
  connections: number;
  /** Booked in turn, one seat a request. */
  events: readonly string[];
  /** Who books, each once: `attendeeAt` of the numbers from `first` on, `most` of them, in a crowd of `crowd`. */
  people: { first: number; most: number; crowd: number };
  /** It ends after so long, or when everybody has booked. */
  seconds: number;
  /** Between an answer and the connection's next request. */
  pauseMs: number;
}

export interface LoadReport {
  /** How long it was, up to the moment at which no more requests were sent. */
  seconds: number;
  /** How many answers of each kind, by status and, of a refusal, code: `201`, `409 EVENT_SOLD_OUT`. */
  answers: Record<string, number>;
  /** How many people asked. */
  asked: number;
  /** 201s within those seconds. */
  accepted: number;
  /** Final answers within those seconds: what somebody was told to wait for is not one. */
  answered: number;
  /** Milliseconds from request to answer of the 201s; NaN without any. */
  latency: { p50: number; p99: number };
  /** Bookings that a 201 told of, each once, also those that came after the end. */
  bookings: string[];
}

/** A process that drives a system, one order at a time. */
export interface Load {
  readonly pid: number | undefined;
  /** @throws Error when the process cannot do it, or dies */
  run(order: LoadOrder): Promise<LoadReport>;
  /** Ends the order under way before its time. */
  enough(): void;
}

/** Brackets a process that drives a system. */
export const withLoad = <T>(stopping: AbortSignal, work: (load: Load) => Promise<T>): Promise<T> =>
  withProcess<LoadOrder, LoadReport, T>("load-process.js", stopping, ({ child, ask }) =>
    work({ pid: child.pid, run: ask, enough: () => void child.send("enough") }),
  );
