import { format, types } from "node:util";
import { type BrokerOptions, type Middleware, ServiceBroker, type ServiceSchema } from "moleculer";
import type { DestinationStream, LogFn } from "pino";
import pretty from "pino-pretty";
import type { Config } from "./config";
import { ContractValidator } from "./contract/validator";
import { newId } from "./ids";
import { standardOutput } from "./log-output";
import { natsOptions } from "./nats-options";
import { natsWatch, tellsOfFailedTry } from "./nats-watch";

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
const REDACTED = new Set(["password", "token", "refreshToken", "email", "authorization"]);
/** So deep in a line's fields they are looked for. */
const REDACTED_DEPTH = 3;

/**
 * Fields without what must not be logged. Pino's own redaction copies every line for each place that it looks at,
 * which was a fifth of all that a booking leaves to the garbage collector; nearly no line has anything to hide.
 */
function redacted(fields: object, depth = REDACTED_DEPTH): object {
  let clean: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(fields)) {
    const isNested = typeof value === "object" && value !== null && !isError(value) && depth > 1;
    const fit = REDACTED.has(name) ? "[Redacted]" : isNested ? redacted(value, depth - 1) : value;
    if (fit === value) continue;
    clean ??= { ...fields };
    clean[name] = fit;
  }
  return clean ?? fields;
}

/** So many causes of an error are logged with it. */
const CAUSES = 2;

/**
 * What of an error a log may hold. Errors of the database carry their statement and its values, addresses and
 * hashes among them, in fields that change with the kind of error; so fields are named here that are known to be clean.
 */
function loggable(error: unknown, causes = CAUSES): unknown {
  if (typeof error !== "object" || error === null) return error;
  const { type, name, message, code, constraint, stack, cause, parent } = error as Record<
    string,
    unknown
  >;
  // Sequelize names the driver's error `parent`.
  const reason = cause ?? parent;
  return {
    type,
    name,
    message,
    code,
    constraint,
    stack,
    ...(reason !== undefined && causes > 0 ? { cause: loggable(reason, causes - 1) } : {}),
  };
}

const isError = (value: unknown): value is Error =>
  value instanceof Error || types.isNativeError(value);

/**
 * Pino's arguments for whatever a line was called with. Pino would drop what follows the message, and
 * Moleculer puts its errors there: an error becomes the line's `err`, and simple values join the message.
 */
function pinoArguments(given: readonly unknown[]): Parameters<LogFn> {
  const [first, ...others] = given;
  const fields = typeof first === "object" && first !== null && !isError(first) ? first : undefined;
  const values = fields ? others : given;
  const [error, ...moreErrors] = values.filter(isError);
  // Other objects are left out, as Pino does: among Moleculer's there are whole packets.
  const simple = values.filter((value) => typeof value !== "object" && value !== undefined);
  const words = [...simple, ...moreErrors.map(String)];
  const message = words.length > 0 ? format(...words) : undefined;
  if (fields === undefined && error === undefined) return [message ?? ""];
  return [{ ...(error ? { err: error } : {}), ...(fields && redacted(fields)) }, message];
}

/**
 * Names for the contexts of a process, each once: Moleculer's own are random and made of twenty pieces, several for
 * each request. Other processes know them by their node.
 */
function contextIds(): () => string {
  const ofProcess = newId();
  let made = 0;
  return () => `${ofProcess}-${++made}`;
}

export type Transporter = NonNullable<BrokerOptions["transporter"]>;

/** The transporter of `NATS_URL`; undefined without one. */
export const natsTransporter = ({ natsUrl }: Pick<Config, "natsUrl">): Transporter | undefined =>
  natsUrl === undefined ? undefined : { type: "NATS", options: natsOptions(natsUrl) };

/**
 * How every broker of the system is set up.
 *
 * @param node.transporter between nodes: NATS as configured unless told
 * @param node.namespace nodes of one namespace hear each other: the configuration's unless told
 * @param node.log where log lines go instead of the standard output, always as JSON
 */
export function brokerOptions(
  config: Config,
  node: {
    transporter?: Transporter;
    nodeID?: string;
    namespace?: string;
    log?: DestinationStream;
  } = {},
): BrokerOptions {
  const { transporter = natsTransporter(config), nodeID, log } = node;
  const { natsUrl } = config;
  return {
    namespace: node.namespace ?? config.namespace,
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
          options: {
            level: config.logLevel,
            base: undefined,
            serializers: { err: (error: unknown) => loggable(error) },
            hooks: {
              logMethod(this: unknown, given: unknown[], write: LogFn) {
                if (natsUrl !== undefined && tellsOfFailedTry(given)) return;
                write.apply(this, pinoArguments(given));
              },
            },
          },
          destination:
            log ??
            (config.logFormat === "pretty"
              ? pretty({
                  colorize: process.stdout.isTTY,
                  ignore: "ns,nodeID,mod",
                  singleLine: true,
                  sync: true,
                })
              : standardOutput()),
        },
      },
    },
    validator: new ContractValidator(),
    uidGenerator: contextIds(),
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
    middlewares: [drainFirst, ...(natsUrl === undefined ? [] : [natsWatch(natsUrl)])],
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
