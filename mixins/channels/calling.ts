import { nameOf, type OutboxEvent, payloadOf } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
import { handle, transactionsAhead } from "./consumer";
import { type Hearer, type HearerParts, keep } from "./together";
import { type Due, LEASE_MS } from "./undelivered";

/**
 * Hears of one event at a time, without a transaction: takes it over first, so that it is this consumer's alone, and
 * whoever takes it up after a crash may do what was done before.
 */
export function callingHearer(parts: HearerParts): Hearer {
  const { database, consumer, source, undelivered } = parts;
  const inTransaction = transactionsAhead(database);
  const query: Query = (sql, bind) => database.query(sql, bind);

  const attempt = async (due: Due): Promise<void> => {
    try {
      await handle(consumer, [due], query);
    } catch (error) {
      await undelivered.failedAgain(query, due, error);
      return;
    }
    await undelivered.delivered(query, due);
  };

  return {
    async hearSome() {
      let taken: OutboxEvent | undefined;
      let isNew = false;
      await inTransaction(async (within) => {
        [taken] = await source.take(within, 1);
        if (!taken) return;
        isNew = await keep(parts, within, taken, { attempts: 0, error: "", afterMs: LEASE_MS });
      });
      if (!taken) return { count: 0, tookMs: 0 };
      source.done([taken]);
      const { id } = taken;
      const due = { id, name: nameOf(taken), payload: payloadOf(taken), attempts: 0 };
      if (isNew) await attempt(due);
      return { count: 1, tookMs: 0 };
    },

    async retryOne() {
      const claimed = await undelivered.claim(query);
      if (claimed) await attempt(claimed);
      return claimed !== undefined;
    },
  };
}
