/** Where the events of one name wait for one consumer: durable, and shared by the nodes that run the consumer. */
export interface Queue {
  readonly consumer: string;
  /** `bookings.confirmed` */
  readonly event: string;
}

export interface Outgoing {
  readonly id: string;
  /** `bookings.confirmed` */
  readonly event: string;
  readonly body: Buffer;
}

/** A message, which comes again until it is acknowledged. */
export interface Incoming {
  readonly body: Uint8Array;
  /** Without effect once the session is over: then it comes again. */
  acknowledge(): void;
}

/** One connection to a message broker. Whatever goes wrong with it ends it; another one declares everything anew. */
export interface Session {
  /**
   * Ends when the broker has confirmed that it keeps the message for every queue of its event.
   *
   * @throws where it did not, or not in time; it may have the message all the same
   */
  publish(message: Outgoing): Promise<void>;
  /**
   * Gives messages to `receive`, no more than `most` that are not acknowledged.
   *
   * @returns ends that, and gives back what was not acknowledged
   */
  consume(
    queue: Queue,
    most: number,
    receive: (message: Incoming) => void,
  ): Promise<() => Promise<void>>;
  /**
   * Whether nothing waits in a queue.
   *
   * @throws where that is not known in time, or the queue is gone; the session ends with it
   */
  isDrained(queue: Queue): Promise<boolean>;
  close(): Promise<void>;
  /** Comes when it is over, with the reason. */
  readonly ended: Promise<unknown>;
}

/** A message broker that can be reached. */
export interface Broker {
  /** Its servers as a log may name them, without account and password. */
  readonly servers: string;
  /**
   * Opens a session, with all queues there.
   *
   * @throws when that did not work within seconds
   */
  open(queues: readonly Queue[]): Promise<Session>;
}

/** Connections, declarations and confirmations are waited for so long. */
export const PATIENCE_MS = 5_000;
/** What is to end ends after so long also where nobody answers. */
export const FAREWELL_MS = 2_000;
/** What nobody has used for so long goes by itself: what was in it is in the outbox, and published again. */
export const UNUSED_MS = 7 * 86_400_000;

/** @throws Error when it takes longer; its message begins with `what` did not happen */
export async function inTime<T>(
  work: Promise<T>,
  what: string,
  withinMs = PATIENCE_MS,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} in ${withinMs / 1000} s`)), withinMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
