import type { Log } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { repeat } from "../../lib/repeated";
import { brokerSource } from "./brokers/broker-source";
import { keepConnected } from "./brokers/connection";
import { publicationsIn } from "./brokers/publications";
import { relay } from "./brokers/relay";
import type { Broker } from "./brokers/session";
import { outboxSource } from "./outbox-source";
import type { SourceOf } from "./source";

/** What another way of carrying events has left is looked for so often. */
const TAKE_BACK_EVERY_MS = 10_000;
/** A broker that takes nothing more has so long to confirm what it was given last. */
const LAST_CONFIRMATIONS_MS = 1_000;

/** The way of events from the outbox to their consumers, for a process. */
export interface Route {
  readonly source: SourceOf;
  close(): Promise<void>;
}

/** Every event that is known, with its consumers. */
export type Hearers = readonly (readonly [event: string, readonly string[]])[];

/** Straight from the outbox; also what a message broker had when there was one. */
function outboxRoute(database: Database, hearers: Hearers, log: Log): Route {
  const names = hearers.map(([event]) => event);
  const publications = publicationsIn(database);
  const takingBack = repeat({
    pauseMs: TAKE_BACK_EVERY_MS,
    firstPauseMs: 0,
    log,
    failed: "What a message broker had could not be taken back",
    async work(stopping) {
      await publications.giveBackUnconfirmed(stopping);
      await publications.giveBackLate(names, stopping);
    },
  });
  return { source: outboxSource, close: takingBack.stop };
}

/** By way of a message broker, which is reached when it can be. */
function brokerRoute(database: Database, hearers: Hearers, log: Log, broker: Broker): Route {
  const queues = hearers.flatMap(([event, consumers]) =>
    consumers.map((consumer) => ({ consumer, event })),
  );
  const connection = keepConnected(broker, queues, log);
  const publishing = relay({ database, connection, queues, log });
  return {
    source: brokerSource(connection, log),
    async close() {
      const stopped = publishing.stop();
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, LAST_CONFIRMATIONS_MS);
      });
      await Promise.race([stopped, patience]);
      clearTimeout(timer);
      await connection.close();
      await stopped;
    },
  };
}

export const routeOf = (
  database: Database,
  hearers: Hearers,
  log: Log,
  broker: Broker | undefined,
): Route =>
  broker ? brokerRoute(database, hearers, log, broker) : outboxRoute(database, hearers, log);
