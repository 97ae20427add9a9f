/**
 * Nudges: «look now» from one node to others. What is true stands in the database, where everybody looks by themselves
 * now and then; a nudge says that there is something to be found, so that nobody waits until then. It may get lost,
 * come twice or come too early, and carries nothing that anybody relies on.
 */
import type { Context, Middleware, Service, ServiceBroker, ServiceSchema } from "moleculer";
import type { Transaction } from "sequelize";
import type { Consumers } from "../lib/contract/channels";
import { nameOf } from "../lib/contract/outbox-event";
import type { Query } from "../lib/database";
import { onWritten } from "./outbox";

/** At most so often a node nudges others: what happens meanwhile goes along with the next nudge. */
const EVERY_MS = 50;
/** People whom a nudge names; of more it says that they are many. */
const MOST_NAMED = 500;

/** What a nudge is about: people, or more of them than anybody names. */
export type About = readonly string[] | "many";

const transactions = new WeakMap<Query, Transaction>();

/** Gives the query back, by which {@link afterCommit} knows its transaction from then on. */
export function queryIn(transaction: Transaction, query: Query): Query {
  transactions.set(query, transaction);
  return query;
}

/** Does something once the transaction of this query has ended; at once where it has none. */
export function afterCommit(query: Query, work: () => void): void {
  const transaction = transactions.get(query);
  if (transaction) transaction.afterCommit(work);
  else work();
}

/** Does what it is asked for at once, or together with all that is asked meanwhile, every so many milliseconds. */
function throttled(work: () => void, firstMs: number) {
  let timer: NodeJS.Timeout | undefined;
  let lastAt = Number.NEGATIVE_INFINITY;
  return {
    ask() {
      const waitMs = Math.max(firstMs, lastAt + EVERY_MS - performance.now());
      timer ??= setTimeout(() => {
        timer = undefined;
        lastAt = performance.now();
        work();
      }, waitMs);
    },
    stop: () => clearTimeout(timer),
  };
}

async function send(broker: ServiceBroker, event: string, about: object, services: string[]) {
  try {
    await broker.broadcast(event, about, services);
  } catch {
    // Whoever is not nudged looks by themselves; Moleculer has logged why.
  }
}

export interface Nudges {
  /** For the service that nudges. */
  readonly mixin: Partial<ServiceSchema>;
  about(whom: About): void;
}

/**
 * Nudges every node that runs one of these services.
 *
 * @param event its name between nodes; its parameters are `{ whom }`
 */
export function nudges(event: string, services: readonly string[]): Nudges {
  let broker: ServiceBroker | undefined;
  let named = new Set<string>();
  let many = false;
  const soon = throttled(() => {
    const whom: About = many ? "many" : [...named];
    named = new Set();
    many = false;
    if (broker) void send(broker, event, { whom }, [...services]);
  }, 0);
  return {
    about(whom) {
      if (whom === "many") many = true;
      else for (const one of whom) named.add(one);
      if (named.size > MOST_NAMED) many = true;
      if (many || named.size > 0) soon.ask();
    },
    mixin: {
      created(this: Service) {
        broker = this.broker;
      },
      async stopped() {
        soon.stop();
      },
    },
  };
}

const WRITTEN = "outbox.written";
/** What a node writes is committed by then as a rule (see AFTER_WRITING_MS of the channels). */
const AFTER_WRITING_MS = 50;

const listeners = new WeakMap<Service, () => void>();

/** Tells a service that another node has written something that it hears of by its channels. */
export const onNudge = (service: Service, listener: () => void): void => {
  listeners.set(service, listener);
};

/** Nudges the consumers of what this node writes to its outbox, on all other nodes. */
export function outboxNudges(consumersOf: Consumers): Middleware {
  let stop = () => {};
  return {
    name: "OutboxNudges",
    serviceCreating(_service: Service, schema: ServiceSchema) {
      if (Object.keys((schema as { channels?: object }).channels ?? {}).length === 0) return;
      schema.events = {
        ...schema.events,
        [WRITTEN](this: Service, ctx: Context) {
          // Who has written it knows.
          if (ctx.nodeID !== this.broker.nodeID) listeners.get(this)?.();
        },
      };
    },
    async started(broker: ServiceBroker) {
      if (!broker.transit) return;
      let consumers = new Set<string>();
      const soon = throttled(() => {
        const some = [...consumers];
        consumers = new Set();
        void send(broker, WRITTEN, {}, some);
      }, AFTER_WRITING_MS);
      const stopListening = onWritten((events) => {
        for (const event of events) {
          for (const consumer of consumersOf(nameOf(event)) ?? []) consumers.add(consumer);
        }
        if (consumers.size > 0) soon.ask();
      });
      stop = () => {
        stopListening();
        soon.stop();
      };
    },
    async stopping() {
      stop();
    },
  };
}
