import type { Log } from "../../lib/contract/define";
import { nameOf, type OutboxEvent, payloadOf } from "../../lib/contract/outbox-event";
import type { Database, Query } from "../../lib/database";
import { type Consumer, handle, transactionsAhead } from "./consumer";
import { note } from "./inbox";
import type { Source } from "./source";
import { type Aside, type Due, retryAfterMs, type Undelivered, wordsOf } from "./undelivered";

/** What a consumer has done in one go. */
export interface Heard {
  readonly count: number;
  /** How long its transaction took once there was a connection for it. */
  readonly tookMs: number;
}

/** How a consumer hears. */
export interface Hearer {
  hearSome(stopping: AbortSignal): Promise<Heard>;
  /** Tries one of what is due once more; gives whether there was one. */
  retryOne(): Promise<boolean>;
}

export interface HearerParts {
  readonly database: Database;
  readonly consumer: Consumer;
  readonly source: Source;
  readonly undelivered: Undelivered;
  readonly log: Log;
}

/** Keeps an event for this consumer alone, to be tried then; nothing waits behind it. Gives whether it was new. */
export async function keep(
  { consumer, source, undelivered }: Omit<HearerParts, "database" | "log">,
  query: Query,
  event: OutboxEvent,
  how: Aside,
): Promise<boolean> {
  const isNew = (await note(query, consumer.name, [event])).length > 0;
  if (isNew) await undelivered.add(query, event, how);
  await source.settle(query, [event]);
  return isNew;
}

/** Hears of many events in one transaction; where that fails of each alone. */
export function togetherHearer(parts: HearerParts): Hearer {
  const { database, consumer, source, undelivered, log } = parts;
  const inTransaction = transactionsAhead(database);

  const deliver = async (events: readonly OutboxEvent[], query: Query) => {
    const fresh = await note(query, consumer.name, events);
    const told = fresh.map((event) => ({ name: nameOf(event), payload: payloadOf(event) }));
    await handle(consumer, told, query);
    await source.settle(query, events);
  };

  const putAside = async (event: OutboxEvent, error: unknown) => {
    const how = { attempts: 1, error: wordsOf(error), afterMs: retryAfterMs(1) };
    await inTransaction(async (query) => {
      const taken = await source.takeAgain(query, event);
      if (taken) await keep(parts, query, taken, how);
    });
    source.done([event]);
    log.warn(`${consumer.name} could not handle event ${event.id}; it is tried again`, error);
  };

  const eachAlone = async (events: readonly OutboxEvent[], stopping: AbortSignal) => {
    let failure: unknown;
    for (const event of events) {
      if (stopping.aborted) break;
      let taken: OutboxEvent | undefined;
      try {
        await inTransaction(async (query) => {
          taken = await source.takeAgain(query, event);
          if (taken) await deliver([taken], query);
        });
        source.done([event]);
      } catch (error) {
        // One that cannot even be put aside keeps none behind it waiting.
        await (taken ? putAside(taken, error) : Promise.reject(error)).catch((reason: unknown) => {
          failure ??= reason;
        });
      }
    }
    if (failure !== undefined) throw failure;
  };

  return {
    async hearSome(stopping) {
      let taken: OutboxEvent[] = [];
      let tookMs = 0;
      try {
        await inTransaction(async (query) => {
          const startedAt = performance.now();
          taken = await source.take(query, consumer.atOnce);
          if (taken.length > 0) await deliver(taken, query);
          tookMs = performance.now() - startedAt;
        });
        source.done(taken);
      } catch (error) {
        // Whether it is the fault of one of them shows when each is tried alone.
        if (taken.length === 0) throw error;
        if (taken.length > 1) await eachAlone(taken, stopping);
        else for (const event of taken) await putAside(event, error);
      }
      return { count: taken.length, tookMs };
    },

    async retryOne() {
      let due: Due | undefined;
      try {
        await inTransaction(async (query) => {
          due = await undelivered.due(query);
          if (!due) return;
          await handle(consumer, [due], query);
          await undelivered.delivered(query, due);
        });
      } catch (error) {
        if (!due) throw error;
        await undelivered.failedAgain((sql, bind) => database.query(sql, bind), due, error);
      }
      return due !== undefined;
    },
  };
}
