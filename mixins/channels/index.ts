/**
 * Channels: services hear of what is in the outbox, each of every event once. On PostgreSQL alone the outbox is the
 * queue: consumers take their events from there, so there is nothing that could be lost between the two. A message broker
 * is given the events by a relay (brokers/), and what it loses it is given again.
 *
 * What a consumer does about an event and that it has heard of it (its inbox) are one transaction, so an event that is
 * handed to it twice is handled once. An event leaves the outbox when every consumer has it. What a consumer cannot
 * handle is put aside, so that nothing waits behind it: tried again, later and later, and in the end dead until
 * somebody replays it.
 */
import type { Middleware, Service } from "moleculer";
import type { Consumers } from "../../lib/contract/channels";
import type { Log } from "../../lib/contract/define";
import type { ChannelSchema } from "../../lib/contract/implement";
import type { Database, Query } from "../../lib/database";
import type { RepeatedWork } from "../../lib/repeated";
import { onNudge } from "../nudges";
import type { Broker as MessageBroker } from "./brokers/session";
import { hear } from "./hear";
import { forgetHeard } from "./inbox";
import { type Hearers, type Route, routeOf } from "./route";

export { brokerAt } from "./brokers";
export type { Consumer } from "./consumer";
export { hear } from "./hear";
export { FIRST_ID, IN_ORDER, LAST_ID, TAKE } from "./outbox-source";
export { sweepOutbox } from "./sweeping";
export { retryAfterMs } from "./undelivered";

/** What `implement` has put into the schema, which Moleculer's types do not know. */
const channelsOf = ({ schema }: Service): Record<string, ChannelSchema> =>
  (schema as { channels?: Record<string, ChannelSchema> }).channels ?? {};

type Check = (payload: object) => true | { field?: string; message?: string }[];

export interface ChannelsOptions {
  consumersOf: Consumers;
  /** Every event there is, with its consumers. */
  hearers: Hearers;
  /** Carries the events; without one they are taken from the outbox itself. */
  messageBroker?: MessageBroker | undefined;
}

/** Lets the services of a broker hear of the events that their contracts name, from when they start until they stop. */
export function channels(
  database: Database,
  { consumersOf, hearers, messageBroker }: ChannelsOptions,
): Middleware {
  const running = new Map<Service, RepeatedWork[]>();
  let route: Route | undefined;

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
    async starting(broker) {
      route = routeOf(database, hearers, broker.getLogger("channels"), messageBroker);
    },
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
        return hear(database, { name: service.name, ...how }, log, route?.source);
      });
      onNudge(service, () => {
        for (const consumer of consumers) consumer.soon(0);
      });
      running.set(service, [...consumers, forgetHeard(database, service.name, log)]);
    },
    async serviceStopping(service: Service) {
      await Promise.all((running.get(service) ?? []).map((work) => work.stop()));
      running.delete(service);
    },
    async stopped() {
      await route?.close();
    },
  };
}
