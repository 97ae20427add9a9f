/**
 * The outbox: what happened is written in the transaction in which it happened, and told afterwards.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "../lib/contract/define";
import { nameOf, type OutboxEvent, payloadOf } from "../lib/contract/outbox-event";
import type { Command, Database, Query } from "../lib/database";
import { leastIdAt } from "../lib/ids";
import { type RepeatedWork, repeat } from "../lib/repeated";

const WRITE = `
  INSERT INTO outbox (id, type, action, aggregate_id, aggregate_version, occurred_at, correlation_id, data)
  SELECT * FROM ROWS FROM (
    unnest($ids::uuid[], $types::text[], $actions::text[], $aggregates::uuid[], $versions::int[],
           $times::timestamptz[], $correlations::text[]),
    json_array_elements($data::json))`;

/** What hears that this process has written something that is to be told. */
const relays = new Set<(events: readonly OutboxEvent[]) => void>();

/** Writes events; to be run at once. */
export function outboxCommands(events: readonly OutboxEvent[]): Command[] {
  if (events.length === 0) return [];
  for (const hearOf of relays) hearOf(events);
  const bind = {
    ids: events.map(({ id }) => id),
    types: events.map(({ type }) => type),
    actions: events.map(({ action }) => action),
    aggregates: events.map(({ aggregateId }) => aggregateId),
    versions: events.map(({ aggregateVersion }) => aggregateVersion),
    times: events.map(({ occurredAt }) => occurredAt),
    correlations: events.map(({ correlationId }) => correlationId),
    // One document: in an array of PostgreSQL every quotation mark of theirs would have to be escaped.
    data: JSON.stringify(events.map(({ data }) => data)),
  };
  return [{ sql: WRITE, bind }];
}

/** Writes events in the caller's transaction. */
export async function writeOutbox(query: Query, events: readonly OutboxEvent[]): Promise<void> {
  for (const { sql, bind } of outboxCommands(events)) await query(sql, bind);
}

const TAKE = `
  SELECT id, type, action, aggregate_id AS "aggregateId", aggregate_version AS "aggregateVersion",
         occurred_at AS "occurredAt", correlation_id AS "correlationId", data
    FROM outbox WHERE id <= greatest($own::uuid, $old::uuid) ORDER BY id LIMIT $most::int FOR UPDATE SKIP LOCKED`;

const DONE = "DELETE FROM outbox WHERE id = ANY ($ids::uuid[])";

/** Events told in one transaction. More of them make telling faster, and in a rush what is booked slower. */
const MOST_AT_ONCE = 200;
/** Then requests that have come meanwhile have their turn: telling all of them in a row would keep them waiting. */
const IN_A_ROW = 10;
/** Events of other nodes, and what a crash has left, are looked for so often. */
const LOOK_EVERY_MS = 500;
/** What this process writes is committed by then as a rule, and together with what else is written meanwhile. */
const AFTER_WRITING_MS = 50;
/**
 * In a rush, while this process writes more than it tells, it rests four times as long as it works: what is booked must
 * not wait for what is told. Else it does not rest until it has told all.
 */
const REST_FACTOR = 4;
/**
 * What others have written since a node has written anything, or was started, it leaves to them for so long: they are
 * about to tell it, and two who tell the same take the time of two processors for it.
 */
const OTHERS_MS = 5_000;

/**
 * Tells what is in the outbox, oldest first; any number of nodes may. An event leaves the outbox once `announce`
 * has come back for it, so it may be told twice, when a node dies in between. Who listens in this process has
 * been told by then; a listener that fails is not told again, and what went to another node is on its way, and lost
 * if that node dies in this moment.
 */
export function relayOutbox(
  database: Database,
  announce: (name: string, payload: object) => Promise<void>,
  log: Log,
): RepeatedWork {
  // What lies there when it starts may be what a crash has left, perhaps its own: that has waited long enough.
  let newestOwn = leastIdAt(new Date());
  /** Events of its own since it last told some. */
  let written = 0;
  const telling = repeat({
    pauseMs: LOOK_EVERY_MS,
    log,
    failed: "The outbox could not be told",
    async work() {
      // By the system's time, as ids are made.
      const old = leastIdAt(new Date(Date.now() - OTHERS_MS));
      const { told, ms } = await tellSome(database, announce, { own: newestOwn, old });
      const isRush = written > told;
      written = 0;
      return {
        pauseMs: told === MOST_AT_ONCE ? 0 : LOOK_EVERY_MS,
        restMs: isRush ? REST_FACTOR * ms : 0,
      };
    },
  });
  const hearOf = (events: readonly OutboxEvent[]) => {
    for (const { id } of events) if (id > newestOwn) newestOwn = id;
    written += events.length;
    telling.soon(AFTER_WRITING_MS);
  };
  relays.add(hearOf);
  return {
    ...telling,
    async stop() {
      relays.delete(hearOf);
      await telling.stop();
    },
  };
}

/** The relays of this process, one for each database, and how many services want it. */
const shared = new Map<Database, { relay: RepeatedWork; wantedBy: number }>();

/**
 * {@link relayOutbox} for a service that writes to the outbox: services of one process share one, which ends with the
 * last of them. So whatever a node writes it can tell, whichever services it runs.
 */
export function sharedRelay(...given: Parameters<typeof relayOutbox>): { stop(): Promise<void> } {
  const [database] = given;
  const one = shared.get(database) ?? { relay: relayOutbox(...given), wantedBy: 0 };
  one.wantedBy++;
  shared.set(database, one);
  let isWanted = true;
  return {
    async stop() {
      if (!isWanted) return;
      isWanted = false;
      one.wantedBy--;
      if (one.wantedBy > 0) return;
      shared.delete(database);
      await one.relay.stop();
    },
  };
}

/** @throws what the first that failed has thrown, once all have come back */
async function tellEach(
  events: readonly OutboxEvent[],
  announce: (name: string, payload: object) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const told: Promise<void>[] = [];
  for (const [i, event] of events.entries()) {
    const telling = announce(nameOf(event), payloadOf(event));
    told.push(telling.catch((error: unknown) => void failures.push(error)));
    if ((i + 1) % IN_A_ROW === 0) await nextTurn();
  }
  await Promise.all(told);
  if (failures.length > 0) throw failures[0];
}

/** Gives how many were told, and how long that took once there was a connection for it. */
const tellSome = (
  database: Database,
  announce: (name: string, payload: object) => Promise<void>,
  newest: { own: string; old: string },
): Promise<{ told: number; ms: number }> =>
  database.prepared(
    async ({ query, nothingWritten }) => {
      const startedAt = performance.now();
      const events = await query<OutboxEvent>(TAKE, { ...newest, most: MOST_AT_ONCE });
      if (events.length === 0) nothingWritten();
      else {
        await tellEach(events, announce);
        await query(DONE, { ids: events.map(({ id }) => id) });
      }
      return { told: events.length, ms: performance.now() - startedAt };
    },
    // Who listens in this process may have to queue for a change of their own: the queue must not wait for us.
    { ahead: true },
  );
