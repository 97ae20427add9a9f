/**
 * Channels: services hear of what is in the outbox, each of every event once. On PostgreSQL the outbox is the queue:
 * consumers take their events from there, so there is nothing that could be lost between the two.
 *
 * What a consumer does about an event and that it has heard of it (its inbox) are one transaction, so an event that is
 * handed to it twice is handled once. An event leaves the outbox when every consumer has it. What a consumer cannot
 * handle is put aside, so that nothing waits behind it: tried again, later and later, and in the end dead until
 * somebody replays it.
 */
import type { Middleware, Service } from "moleculer";
import type { Consumers } from "../lib/contract/channels";
import type { Log } from "../lib/contract/define";
import type { ChannelSchema } from "../lib/contract/implement";
import { nameOf, type OutboxEvent, payloadOf } from "../lib/contract/outbox-event";
import type { Database, Query } from "../lib/database";
import { isError, ServiceUnavailable } from "../lib/errors";
import { leastIdAt } from "../lib/ids";
import { removeInChunks } from "../lib/remove-in-chunks";
import { type RepeatedWork, repeat } from "../lib/repeated";
import { onWritten } from "./outbox";

/** Events that other nodes have written are looked for so often. */
const LOOK_EVERY_MS = 250;
/** What this process writes is committed by then as a rule, and together with what else is written meanwhile. */
const AFTER_WRITING_MS = 50;
/**
 * In a rush, while this process writes more than it handles, it rests twelve times as long as it works: what is booked
 * must not wait for what is told. Else it does not rest until it has handled all.
 */
const REST_FACTOR = 12;
const LONGEST_REST_MS = 1_000;

/** Then an event is dead: some twenty minutes after it was first tried. */
const MOST_ATTEMPTS = 12;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 300_000;
/** Characters of an error that are kept. */
const MOST_OF_ERROR = 1_000;
/** So long a round tries again what is due; then what is new has its turn. */
const RETRY_FOR_MS = 200;
/** What is due again is looked for so often, also in a rush. */
const RETRY_EVERY_MS = 500;
/** Longer than any call takes (LONG_WORK_MS), and a node that dies over it is missed for no longer. */
const LEASE_MS = 180_000;

/** So long it is remembered that an event was heard of; a broker that redelivers does so within days. */
const REMEMBERED_MS = 7 * 86_400_000;
const FORGET_EVERY_MS = 3_600_000;
const SWEEP_EVERY_MS = 1_000;
/** It looks at all that is in the outbox, of which there may be much. */
const SWEEP_SETTLED_EVERY_MS = 300_000;

const NAME = "o.type || 's.' || o.action";
const COLUMNS = `o.id, o.type, o.action, o.aggregate_id AS "aggregateId", o.aggregate_version AS "aggregateVersion",
         o.occurred_at AS "occurredAt", o.correlation_id AS "correlationId", o.data`;
// A single value with a LIMIT, not EXISTS: for that the planner may read the whole inbox into a hash table.
const IS_NEW = `coalesce((SELECT false FROM inbox i WHERE i.consumer = $consumer AND i.event_id = o.id LIMIT 1), true)`;

// The planner knows nothing of how many events of a name there are, nor of how many are new: where it thinks there are
// few it would read and sort all of the outbox for every batch.
const planning = (value: "on" | "off") =>
  ["enable_seqscan", "enable_bitmapscan", "enable_sort"]
    .map((setting) => `set_config('${setting}', '${value}', true)`)
    .join();
/** To be said before {@link TAKE}: it walks the outbox in its order, and ends when it has enough. */
export const IN_ORDER = `SELECT ${planning("off")}`;
const AS_USUAL = `SELECT ${planning("on")}`;

/** Some of what is new to a consumer, oldest first. */
export const TAKE = `
  SELECT ${COLUMNS} FROM outbox o
   WHERE ${NAME} = ANY ($names::text[]) AND ${IS_NEW}
   ORDER BY o.id LIMIT $most FOR UPDATE SKIP LOCKED`;
const TAKE_ONE = `SELECT ${COLUMNS} FROM outbox o WHERE o.id = $id AND ${IS_NEW} FOR UPDATE SKIP LOCKED`;

const HEARD = `
  INSERT INTO inbox (consumer, event_id) SELECT $consumer, unnest($ids::uuid[])
      ON CONFLICT DO NOTHING RETURNING event_id AS id`;

// Whoever handles an event holds its row, so of two consumers of one event the later sees what the earlier has noted.
const SETTLE = `
  DELETE FROM outbox o WHERE o.id = ANY ($ids::uuid[])
     AND NOT EXISTS (
       SELECT FROM unnest($shared::uuid[], $others::text[]) AS s (id, consumer)
        WHERE s.id = o.id
          AND (SELECT true FROM inbox i WHERE i.consumer = s.consumer AND i.event_id = s.id LIMIT 1) IS NULL)
  RETURNING o.id`;

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

const FORGET = `
  DELETE FROM inbox WHERE (consumer, event_id) IN (
    SELECT consumer, event_id FROM inbox i WHERE consumer = $consumer AND event_id < $before
       AND (SELECT true FROM outbox o WHERE o.id = i.event_id LIMIT 1) IS NULL
     LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

const SWEEP = `
  DELETE FROM outbox WHERE id IN (
    SELECT o.id FROM outbox o WHERE ${NAME} = ANY ($names::text[]) ORDER BY o.id LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

const SWEEP_SETTLED = `
  DELETE FROM outbox WHERE id IN (
    SELECT o.id FROM outbox o
     WHERE ${NAME} = ANY ($names::text[])
       AND NOT EXISTS (
         SELECT FROM unnest($events::text[], $consumers::text[]) AS c (event, consumer)
          WHERE c.event = ${NAME}
            AND (SELECT true FROM inbox i WHERE i.consumer = c.consumer AND i.event_id = o.id LIMIT 1) IS NULL)
     ORDER BY o.id LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

/** How long until an event is tried again that has failed so often: twice as long each time, and never all at once. */
export const retryAfterMs = (attempts: number, random = Math.random()): number =>
  Math.round(Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS) * (0.5 + random));

const wordsOf = (error: unknown): string =>
  (error instanceof Error ? `${error.name}: ${error.message}` : String(error))
    .slice(0, MOST_OF_ERROR)
    // Which PostgreSQL's texts cannot hold.
    .replaceAll("\u0000", "");

/** Codes of Moleculer's own for a service that is not there at the moment. */
const AWAY = new Set(["SERVICE_NOT_FOUND", "SERVICE_NOT_AVAILABLE", "REQUEST_TIMEOUT"]);

/** Whether it may be done once something is there again, however long that takes. */
const isAway = (error: unknown): boolean =>
  isError(error, ServiceUnavailable) || AWAY.has(String((error as { type?: unknown })?.type));

/** One way in which a consumer hears: events of these names, so many in one transaction. */
export interface Consumer {
  /** The service; nodes that run it share its events. */
  readonly name: string;
  readonly atOnce: number;
  /** Whether it calls others: without a transaction, which nobody may keep open for so long. Then what it does may be repeated. */
  readonly calls?: boolean;
  /** Handles payloads of one name. */
  readonly handlers: ReadonlyMap<
    string,
    (payloads: readonly object[], query: Query) => Promise<void>
  >;
  readonly consumersOf: Consumers;
}

/** Hears of events until it is stopped; any number of nodes may. */
export function hear(
  database: Database,
  { name: consumer, atOnce, calls = false, handlers, consumersOf }: Consumer,
  log: Log,
): RepeatedWork {
  const names = [...handlers.keys()];
  // A few at a time at most: they must not queue behind what people change, some of which waits for them.
  const inTransaction = <T>(work: (query: Query) => Promise<T>): Promise<T> =>
    database.transaction(
      (transaction) => work((sql, bind) => database.query(sql, bind, transaction)),
      { ahead: true },
    );

  const handle = async (events: readonly { name: string; payload: object }[], query: Query) => {
    for (const name of new Set(events.map((event) => event.name))) {
      const handler = handlers.get(name);
      if (!handler) throw new Error(`Nobody hears of ${name}`);
      const payloads = events.flatMap((event) => (event.name === name ? [event.payload] : []));
      await handler(payloads, query);
    }
  };

  /** Notes that events were heard of; gives those that were not before. */
  const note = async (events: readonly OutboxEvent[], query: Query): Promise<OutboxEvent[]> => {
    const ids = events.map(({ id }) => id);
    const rows = await query<{ id: string }>(HEARD, { consumer, ids });
    const fresh = new Set(rows.map(({ id }) => id));
    return events.filter(({ id }) => fresh.has(id));
  };
  const settle = async (events: readonly OutboxEvent[], query: Query) => {
    const pairs = events.flatMap((event) =>
      (consumersOf(nameOf(event)) ?? [])
        .filter((other) => other !== consumer)
        .map((other) => ({ id: event.id, other })),
    );
    await query(SETTLE, {
      ids: events.map(({ id }) => id),
      shared: pairs.map(({ id }) => id),
      others: pairs.map(({ other }) => other),
    });
  };
  const deliver = async (events: readonly OutboxEvent[], query: Query) => {
    const fresh = await note(events, query);
    await handle(
      fresh.map((event) => ({ name: nameOf(event), payload: payloadOf(event) })),
      query,
    );
    await settle(events, query);
  };

  /** Keeps an event for this consumer alone, to be tried then; nothing waits behind it. */
  const keep = async (
    query: Query,
    event: OutboxEvent,
    { attempts, error, afterMs }: { attempts: number; error: string; afterMs: number },
  ) => {
    if ((await note([event], query)).length > 0) {
      const payload = JSON.stringify(payloadOf(event));
      const about = { id: event.id, name: nameOf(event), payload };
      await query(PUT_ASIDE, { consumer, ...about, attempts, error, afterMs });
    }
    await settle([event], query);
  };
  const putAside = async ({ id }: OutboxEvent, error: unknown) => {
    const how = { attempts: 1, error: wordsOf(error), afterMs: retryAfterMs(1) };
    await inTransaction(async (query) => {
      const [event] = await query<OutboxEvent>(TAKE_ONE, { id, consumer });
      if (event) await keep(query, event, how);
    });
    log.warn(`${consumer} could not handle event ${id}; it is tried again`, error);
  };

  const take = async (query: Query, most: number): Promise<OutboxEvent[]> => {
    await query(IN_ORDER, {});
    const events = await query<OutboxEvent>(TAKE, { consumer, names, most });
    if (events.length > 0) await query(AS_USUAL, {});
    return events;
  };

  /** How long the last transaction took once there was a connection for it. */
  let tookMs = 0;
  const hearSome = async (stopping: AbortSignal): Promise<number> => {
    let taken: OutboxEvent[] = [];
    try {
      await inTransaction(async (query) => {
        const startedAt = performance.now();
        taken = await take(query, atOnce);
        if (taken.length > 0) await deliver(taken, query);
        tookMs = performance.now() - startedAt;
      });
    } catch (error) {
      // Whether it is the fault of one of them shows when each is tried alone.
      if (taken.length === 0) throw error;
      if (taken.length > 1) await eachAlone(taken, stopping);
      else for (const event of taken) await putAside(event, error);
    }
    return taken.length;
  };
  const eachAlone = async (events: readonly OutboxEvent[], stopping: AbortSignal) => {
    let failure: unknown;
    for (const { id } of events) {
      if (stopping.aborted) break;
      let taken: OutboxEvent | undefined;
      try {
        await inTransaction(async (query) => {
          [taken] = await query<OutboxEvent>(TAKE_ONE, { id, consumer });
          if (taken) await deliver([taken], query);
        });
      } catch (error) {
        // One that cannot even be put aside keeps none behind it waiting.
        await (taken ? putAside(taken, error) : Promise.reject(error)).catch((reason: unknown) => {
          failure ??= reason;
        });
      }
    }
    if (failure !== undefined) throw failure;
  };

  type Due = { id: string; name: string; payload: object; attempts: number };

  /** Takes over one event, so that it is this consumer's alone, and handles it without a transaction. */
  const hearOneCalling = async (): Promise<number> => {
    let taken: OutboxEvent | undefined;
    await inTransaction(async (query) => {
      [taken] = await take(query, 1);
      if (taken) await keep(query, taken, { attempts: 0, error: "", afterMs: LEASE_MS });
    });
    if (!taken) return 0;
    const { id } = taken;
    await tryCalling({ id, name: nameOf(taken), payload: payloadOf(taken), attempts: 0 });
    return 1;
  };
  const tryCalling = async (due: Due): Promise<void> => {
    const query: Query = (sql, bind) => database.query(sql, bind);
    try {
      await handle([due], query);
    } catch (error) {
      await failedAgain(due, error);
      return;
    }
    await query(DELIVERED, { consumer, id: due.id });
  };

  /** Tries one of what is due once more; gives whether there was one. */
  const retryOne = async (): Promise<boolean> => {
    if (calls) {
      const [claimed] = await database.query<Due>(CLAIM, { consumer, names, leaseMs: LEASE_MS });
      if (claimed) await tryCalling(claimed);
      return claimed !== undefined;
    }
    let due: Due | undefined;
    try {
      await inTransaction(async (query) => {
        [due] = await query<Due>(DUE, { consumer, names });
        if (!due) return;
        await handle([due], query);
        await query(DELIVERED, { consumer, id: due.id });
      });
    } catch (error) {
      if (!due) throw error;
      await failedAgain(due, error);
    }
    return due !== undefined;
  };
  /** Tries again for a while; gives whether there may be more. */
  const retrySome = async (stopping: AbortSignal): Promise<boolean> => {
    const until = performance.now() + RETRY_FOR_MS;
    while (performance.now() < until && !stopping.aborted) if (!(await retryOne())) return false;
    return true;
  };
  const failedAgain = async (due: { id: string; attempts: number }, error: unknown) => {
    const { id, attempts } = due;
    const bind = { consumer, id, attempts, error: wordsOf(error), mayDie: !isAway(error) };
    const [row] = await database.query<{ deadAt: Date | null }>(FAILED_AGAIN, {
      ...bind,
      afterMs: retryAfterMs(attempts + 1),
    });
    if (row?.deadAt) {
      log.error(`${consumer} has given up event ${id} after ${attempts + 1} attempts`, error);
    } else if (attempts === 0) {
      log.warn(`${consumer} could not handle event ${id}; it is tried again`, error);
    }
  };

  /** Events for it that this process has written since it last took some. */
  let written = 0;
  let retriesAt = 0;
  const hearing = repeat({
    pauseMs: LOOK_EVERY_MS,
    log,
    failed: "Events could not be heard of",
    async work(stopping) {
      const heard = calls ? await hearOneCalling() : await hearSome(stopping);
      // Of those that are handled one by one a few are no rush.
      const isRush = atOnce > 1 && written > heard;
      written = 0;
      let mayBeDue = false;
      if (performance.now() >= retriesAt) {
        mayBeDue = await retrySome(stopping);
        retriesAt = performance.now() + (mayBeDue ? 0 : RETRY_EVERY_MS);
      }
      return {
        pauseMs: heard === atOnce || mayBeDue ? 0 : LOOK_EVERY_MS,
        restMs: isRush ? Math.min(REST_FACTOR * tookMs, LONGEST_REST_MS) : 0,
      };
    },
  });
  const stopListening = onWritten((events) => {
    const some = events.filter((event) => handlers.has(nameOf(event))).length;
    if (some === 0) return;
    written += some;
    hearing.soon(AFTER_WRITING_MS);
  });
  return {
    ...hearing,
    async stop() {
      stopListening();
      await hearing.stop();
    },
  };
}

/** Forgets of events long past that they were heard of. */
const forgetHeard = (database: Database, consumer: string, log: Log): RepeatedWork =>
  repeat({
    pauseMs: FORGET_EVERY_MS,
    log,
    failed: "Old entries of the inbox could not be removed",
    work: (stopping) =>
      removeInChunks(
        database,
        // By the system's time, as ids are made.
        {
          sql: FORGET,
          bind: { consumer, before: leastIdAt(new Date(Date.now() - REMEMBERED_MS)) },
        },
        stopping,
      ),
  });

/**
 * Takes out of the outbox what nobody has to hear of any more: events without consumers, and now and then those that
 * wait for a consumer that they had in an older version. What a newer node has written, which is not known here, stays.
 *
 * @param hearers every event that is known, with its consumers
 */
export const sweepOutbox = (
  database: Database,
  hearers: readonly (readonly [event: string, readonly string[]])[],
  log: Log,
  settledEveryMs = SWEEP_SETTLED_EVERY_MS,
): RepeatedWork => {
  const unheard = hearers.flatMap(([event, consumers]) => (consumers.length ? [] : [event]));
  const pairs = hearers.flatMap(([event, consumers]) => consumers.map((one) => [event, one]));
  const settled = {
    names: hearers.flatMap(([event, consumers]) => (consumers.length ? [event] : [])),
    events: pairs.map(([event]) => event),
    consumers: pairs.map(([, consumer]) => consumer),
  };
  let settledAt = performance.now();
  return repeat({
    pauseMs: SWEEP_EVERY_MS,
    log,
    failed: "The outbox could not be swept",
    async work(stopping) {
      await removeInChunks(database, { sql: SWEEP, bind: { names: unheard } }, stopping);
      if (performance.now() < settledAt + settledEveryMs) return;
      settledAt = performance.now();
      await removeInChunks(database, { sql: SWEEP_SETTLED, bind: settled }, stopping);
    },
  });
};

/** What `implement` has put into the schema, which Moleculer's types do not know. */
const channelsOf = ({ schema }: Service): Record<string, ChannelSchema> =>
  (schema as { channels?: Record<string, ChannelSchema> }).channels ?? {};

type Check = (payload: object) => true | { field?: string; message?: string }[];

/** Lets the services of a broker hear of the events that their contracts name, from when they start until they stop. */
export function channels(database: Database, consumersOf: Consumers): Middleware {
  const running = new Map<Service, RepeatedWork[]>();

  const handlersOf = (service: Service, schemas: [string, ChannelSchema][]) =>
    new Map(
      schemas.map(([name, { params, handler }]) => {
        // Moleculer types checkers as possibly asynchronous; the one of lib/broker.ts never is.
        const check = service.broker.validator?.compile(params) as unknown as Check;
        const heard: typeof handler = (payloads, hearing) => {
          for (const payload of payloads) {
            const outcome = check(payload);
            if (outcome !== true) {
              const [fault] = outcome;
              throw new Error(`The payload's ${fault?.field} ${fault?.message}`);
            }
          }
          return handler(payloads, hearing);
        };
        const withLog = (payloads: readonly object[], query: Query) =>
          heard(payloads, { query, log: service.logger, broker: service.broker });
        return [name, withLog];
      }),
    );

  return {
    name: "Channels",
    async serviceStarted(service: Service) {
      const schemas = Object.entries(channelsOf(service));
      if (schemas.length === 0) return;
      const log: Log = service.logger;
      // Events that take long have a turn of their own, and keep nobody else's waiting.
      const kinds = new Map<string, [string, ChannelSchema][]>();
      for (const one of schemas) {
        const kind = `${one[1].atOnce} ${one[1].calls}`;
        kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
      }
      const consumers = [...kinds.values()].map((some) => {
        const [[, { atOnce, calls }] = schemas[0] as [string, ChannelSchema]] = some;
        const how = { atOnce, calls, handlers: handlersOf(service, some), consumersOf };
        return hear(database, { name: service.name, ...how }, log);
      });
      running.set(service, [...consumers, forgetHeard(database, service.name, log)]);
    },
    async serviceStopping(service: Service) {
      await Promise.all((running.get(service) ?? []).map((work) => work.stop()));
      running.delete(service);
    },
  };
}
