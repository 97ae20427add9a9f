import { backOffMs, storableWords } from "../../lib/attempts";
import type { Log } from "../../lib/contract/define";
import { nameOf, type OutboxEvent, payloadOf } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
import { isError, ServiceUnavailable } from "../../lib/errors";
import type { Consumer, Told } from "./consumer";

/** Then an event is dead: some twenty minutes after it was first tried. */
const MOST_ATTEMPTS = 12;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 300_000;
/** Longer than any call takes (LONG_WORK_MS), and a node that dies over it is missed for no longer. */
export const LEASE_MS = 180_000;

const PUT_ASIDE = `
  INSERT INTO undelivered (consumer, event_id, name, payload, attempts, error, next_try_at)
  VALUES ($consumer, $id, $name, $payload, $attempts, $error, now() + $afterMs * interval '1 millisecond')
      ON CONFLICT (consumer, event_id) DO UPDATE SET error = excluded.error, next_try_at = excluded.next_try_at
  RETURNING event_id`;

const DUE = `
  SELECT event_id AS id, name, payload, attempts FROM undelivered
   WHERE consumer = $consumer AND name = ANY ($names::text[]) AND dead_at IS NULL AND next_try_at <= now()
   ORDER BY next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED`;
/** Nobody else tries it for so long as whoever does may take. */
const CLAIM = `
  UPDATE undelivered u SET next_try_at = now() + $leaseMs * interval '1 millisecond'
    FROM (${DUE}) AS due WHERE u.consumer = $consumer AND u.event_id = due.id
  RETURNING due.id, due.name, due.payload, due.attempts`;
const DELIVERED =
  "DELETE FROM undelivered WHERE consumer = $consumer AND event_id = $id RETURNING event_id";
// Not twice where two nodes have tried it one after the other.
const FAILED_AGAIN = `
  UPDATE undelivered SET attempts = attempts + 1, error = $error,
         next_try_at = now() + $afterMs * interval '1 millisecond',
         dead_at = CASE WHEN $mayDie AND attempts + 1 >= ${MOST_ATTEMPTS} THEN now() END
   WHERE consumer = $consumer AND event_id = $id AND attempts = $attempts RETURNING dead_at AS "deadAt"`;

/** How long until an event is tried again that has failed so often: twice as long each time, and never all at once. */
export const retryAfterMs = (attempts: number, random = Math.random()): number =>
  backOffMs(attempts, { firstMs: FIRST_RETRY_MS, longestMs: LONGEST_RETRY_MS }, random);

export const wordsOf = (error: unknown): string =>
  storableWords(error instanceof Error ? `${error.name}: ${error.message}` : String(error));

/** Codes of Moleculer's own for a service that is not there at the moment. */
const AWAY = new Set(["SERVICE_NOT_FOUND", "SERVICE_NOT_AVAILABLE", "REQUEST_TIMEOUT"]);

/** Whether it may be done once something is there again, however long that takes. */
const isAway = (error: unknown): boolean =>
  isError(error, ServiceUnavailable) || AWAY.has(String((error as { type?: unknown })?.type));

/** What was put aside and is to be tried again. */
export interface Due extends Told {
  readonly id: string;
  readonly attempts: number;
}

/** How something is put aside: tried so often, with this error, to be tried in so many milliseconds. */
export interface Aside {
  readonly attempts: number;
  readonly error: string;
  readonly afterMs: number;
}

/** What one consumer has put aside; each takes the transaction, or none, in which it is to be done. */
export function undeliveredOf({ name: consumer, handlers }: Consumer, log: Log) {
  const names = [...handlers.keys()];
  return {
    async add(query: Query, event: OutboxEvent, how: Aside): Promise<void> {
      const payload = JSON.stringify(payloadOf(event));
      await query(PUT_ASIDE, { consumer, id: event.id, name: nameOf(event), payload, ...how });
    },
    /** One that is due, held until the transaction ends. */
    async due(query: Query): Promise<Due | undefined> {
      const [due] = await query<Due>(DUE, { consumer, names });
      return due;
    },
    /** One that is due, and nobody else's for as long as it may take. */
    async claim(query: Query): Promise<Due | undefined> {
      const [due] = await query<Due>(CLAIM, { consumer, names, leaseMs: LEASE_MS });
      return due;
    },
    async delivered(query: Query, { id }: Due): Promise<void> {
      await query(DELIVERED, { consumer, id });
    },
    async failedAgain(query: Query, { id, attempts }: Due, error: unknown): Promise<void> {
      const bind = { consumer, id, attempts, error: wordsOf(error), mayDie: !isAway(error) };
      const [row] = await query<{ deadAt: Date | null }>(FAILED_AGAIN, {
        ...bind,
        afterMs: retryAfterMs(attempts + 1),
      });
      if (row?.deadAt) {
        log.error(`${consumer} has given up event ${id} after ${attempts + 1} attempts`, error);
      } else if (attempts === 0) {
        log.warn(`${consumer} could not handle event ${id}; it is tried again`, error);
      }
    },
  };
}
export type Undelivered = ReturnType<typeof undeliveredOf>;
