import type { Consumers } from "../../lib/contract/channels";
import type { Database, Query } from "../../lib/database";
import { queryIn } from "../nudges";

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

/** What is told to a consumer: a payload and the name under which it is handled. */
export interface Told {
  readonly name: string;
  readonly payload: object;
}

/** @throws what a handler throws */
export async function handle(
  { handlers }: Consumer,
  told: readonly Told[],
  query: Query,
): Promise<void> {
  for (const name of new Set(told.map((one) => one.name))) {
    const handler = handlers.get(name);
    if (!handler) throw new Error(`Nobody hears of ${name}`);
    const payloads = told.flatMap((one) => (one.name === name ? [one.payload] : []));
    await handler(payloads, query);
  }
}

export type InTransaction = <T>(work: (query: Query) => Promise<T>) => Promise<T>;

/** A few at a time at most: they must not queue behind what people change, some of which waits for them. */
export const transactionsAhead =
  (database: Database): InTransaction =>
  (work) =>
    database.transaction(
      (transaction) =>
        work(queryIn(transaction, (sql, bind) => database.query(sql, bind, transaction))),
      { ahead: true },
    );
