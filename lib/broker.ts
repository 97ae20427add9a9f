import { type BrokerOptions, type Middleware, ServiceBroker, type ServiceSchema } from "moleculer";
import pretty from "pino-pretty";
import type { Config } from "./config";
import { ContractValidator } from "./contract/validator";

/** No call may hang for ever; each waits this long unless its contract says otherwise. */
const REQUEST_TIMEOUT_MS = 15_000;
/** How long a stopping node waits for calls that it still works on. */
const SHUTDOWN_TIMEOUT_MS = 8_000;
/** Services that wait for each other look so often whether they are there; the default is a second. */
const DEPENDENCY_INTERVAL_MS = 50;
const HEARTBEAT_SECONDS = 2;
/** Three heartbeats missed. */
const HEARTBEAT_TIMEOUT_SECONDS = 6;

interface DrainingSchema {
  drain?: () => Promise<void>;
}

/** Lets services finish what they have begun (`drain` in the schema) while all the others still run. */
const drainFirst: Middleware = {
  name: "DrainFirst",
  async stopping(broker: ServiceBroker) {
    await Promise.all(broker.services.map(({ schema }) => (schema as DrainingSchema).drain?.()));
  },
};

/** Personal data and secrets that a log line could carry by accident. */
const REDACTED = ["password", "token", "refreshToken", "email", "authorization"].flatMap(
  (field) => [field, `*.${field}`, `*.*.${field}`],
);

export type Transporter = NonNullable<BrokerOptions["transporter"]>;

/** The transporter of `NATS_URL`, with TLS where the address asks for it; undefined without one. */
export function natsTransporter({ natsUrl }: Pick<Config, "natsUrl">): Transporter | undefined {
  if (natsUrl === undefined) return undefined;
  return {
    type: "NATS",
    options: { url: natsUrl, ...(natsUrl.startsWith("tls:") ? { tls: {} } : {}) },
  };
}

/**
 * How every broker of the system is set up.
 *
 * @param node.transporter between nodes: NATS as configured unless told
 */
export function brokerOptions(
  config: Config,
  node: { transporter?: Transporter; nodeID?: string; namespace?: string } = {},
): BrokerOptions {
  const { transporter = natsTransporter(config), nodeID, namespace = "marquee" } = node;
  return {
    namespace,
    ...(nodeID ? { nodeID } : {}),
    ...(transporter ? { transporter } : {}),
    logger: {
      type: "Pino",
      options: {
        // Moleculer tells of every service it registers; that is for whoever looks for it.
        level:
          config.logLevel === "info"
            ? { BROKER: "warn", REGISTRY: "warn", "**": "info" }
            : config.logLevel,
        pino: {
          options: { level: config.logLevel, redact: REDACTED, base: undefined },
          destination:
            config.logFormat === "pretty"
              ? pretty({
                  colorize: process.stdout.isTTY,
                  ignore: "ns,nodeID,mod",
                  singleLine: true,
                  sync: true,
                })
              : undefined,
        },
      },
    },
    validator: new ContractValidator(),
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A repeated call could book twice; only who knows that repeating is harmless may do it.
    retryPolicy: { enabled: false },
    // Stopping waits for the calls in hand.
    tracking: { enabled: true, shutdownTimeout: SHUTDOWN_TIMEOUT_MS },
    dependencyInterval: DEPENDENCY_INTERVAL_MS,
    heartbeatInterval: HEARTBEAT_SECONDS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_SECONDS,
    contextParamsCloning: false,
    // The process handles its signals itself, because it has a database to stop as well.
    skipProcessEventRegistration: true,
    middlewares: [drainFirst],
  };
}

/** A broker with these services; nothing runs before `start()`. */
export function createBroker(
  options: BrokerOptions,
  services: readonly ServiceSchema[],
): ServiceBroker {
  const broker = new ServiceBroker(options);
  for (const service of services) broker.createService(service);
  return broker;
}
