import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { join } from "node:path";
import proxyaddr from "proxy-addr";
import { type PushConfig, readPush, readSms, type SmsConfig } from "./config-senders";
import { EMAIL, MAX_EMAIL_CHARACTERS } from "./email";
import { makeFolder } from "./embedded-postgres/folders";

/** Every service a process can run, by the name that `SERVICES` takes. */
export const SERVICE_NAMES = [
  "core",
  "auth",
  "users",
  "available-events",
  "events",
  "bookings",
  "notifications",
  "api",
] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"] as const;

/** An address with the name that is shown with it, which may be empty. */
export interface MailAddress {
  name: string;
  address: string;
}

/** What an operator has set, checked and complete. Made once, at start; nothing else reads the environment. */
export interface Config {
  production: boolean;
  host: string;
  /** 0: any free port, for tests. */
  port: number;
  /** Where people reach this installation; without a slash at its end. */
  publicUrl: string;
  /** Undefined: the embedded PostgreSQL. */
  databaseUrl: string | undefined;
  databasePool: number;
  dataDir: string;
  /** Undefined: one process, no transporter. */
  natsUrl: string | undefined;
  /** What carries events to those who hear of them: `postgres:`, or the address of a message broker. */
  channelsUrl: string;
  /** Nodes of one namespace hear each other, and nobody else's. */
  namespace: string;
  services: readonly ServiceName[];
  /** Undefined: generated into `dataDir` by {@link jwtSecret}. */
  jwtSecret: string | undefined;
  admin: { email: string; password: string } | undefined;
  seedDemo: boolean;
  /** Requests a minute; 0 is off. */
  rateLimits: { auth: number; api: number };
  /** Addresses or networks (CIDR) whose X-Forwarded-For counts. */
  trustProxy: readonly string[];
  corsOrigins: readonly string[];
  bcryptRounds: number;
  maxTicketsPerBooking: number;
  /** How long the seats of a priced booking are held for its payment. */
  bookingHoldSeconds: number;
  /** How long seats are held for somebody from the waiting list. */
  waitlistOfferSeconds: number;
  /** How long before an event its attendees are reminded of it. */
  reminderHours: number;
  /** Undefined: no SMS. */
  sms: SmsConfig | undefined;
  /** Undefined: no Web Push. */
  push: PushConfig | undefined;
  /** Undefined: mails become files under `dataDir`. */
  smtpUrl: string | undefined;
  /** Whom mails are from. */
  mailFrom: MailAddress;
  logLevel: (typeof LOG_LEVELS)[number];
  logFormat: "pretty" | "json";
}

/** What is wrong with the environment, a sentence a line, each naming its variable. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

const MIN_SECRET_BYTES = 32;
const PASSWORD_BYTES = 72;
const NETWORK_NAMES = new Set(["loopback", "linklocal", "uniquelocal"]);
const NAMESPACE = /^[a-z0-9-]{1,40}$/;
const HOST_NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i;

/** Whether the URL can be taken apart: a bare % in a password is the commonest reason why not. */
function isWhole(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { username, password, pathname } = new URL(url);
  try {
    for (const part of [username, password, pathname]) decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/** Reads variables and collects every fault, so that an operator sees them all at once. */
export class Reader {
  readonly problems: string[] = [];
  constructor(private readonly environment: Environment) {}

  /** The variable's text; an empty one counts as not set, as compose files and shells leave it. */
  text(name: string): string | undefined {
    const value = this.environment[name]?.trim();
    return value === "" ? undefined : value;
  }

  fail(name: string, words: string): void {
    this.problems.push(`${name} ${words}`);
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    this.fail(name, `must be a whole number from ${min} to ${max}, not "${value}".`);
    return fallback;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.text(name)?.toLowerCase();
    if (value === undefined) return fallback;
    if (["true", "1", "yes", "on"].includes(value)) return true;
    if (["false", "0", "no", "off"].includes(value)) return false;
    this.fail(name, `must be true or false, not "${value}".`);
    return fallback;
  }

  oneOf<V extends string>(name: string, values: readonly V[], fallback: V): V {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const found = values.find((candidate) => candidate === value);
    if (!found) this.fail(name, `must be one of ${values.join(", ")}, not "${value}".`);
    return found ?? fallback;
  }

  /**
   * @param several whether a comma list of addresses is fine, for a cluster of servers
   * @param known what the variable may be, for the message
   */
  url(
    name: string,
    protocols: readonly string[],
    {
      several = false,
      known = `a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`,
    }: { several?: boolean; known?: string } = {},
  ): string | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const urls = several ? value.split(",").map((url) => url.trim()) : [value];
    const isOne = (url: string) =>
      protocols.some((protocol) => url.startsWith(`${protocol}//`)) && isWhole(url);
    // The value may hold a password, so it is not repeated.
    if (!urls.every(isOne)) {
      this.fail(name, `must be ${known}, special characters in a password percent-encoded.`);
    }
    return urls.join(",");
  }

  list(name: string): string[] {
    return (this.text(name) ?? "")
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  }
}

function readHost(read: Reader): string {
  const host = read.text("HOST") ?? "127.0.0.1";
  if (!isIP(host) && !HOST_NAME.test(host)) {
    read.fail("HOST", `must be an address or a host's name without a port, not "${host}".`);
  }
  return host;
}

/** How the gateway is reached from its own machine, where nobody says how it is from elsewhere. */
function ownUrl(host: string, port: number): string {
  const name = host === "0.0.0.0" || host === "::" ? "localhost" : host;
  return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

function readPublicUrl(read: Reader, host: string, port: number): string {
  const value = read.text("PUBLIC_URL");
  if (value === undefined) return ownUrl(host, port);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isPlain =
    url && /^https?:$/.test(url.protocol) && !url.username && !/[?#\s<>"]/.test(value);
  if (!isPlain) {
    // The value may hold a password, so it is not repeated.
    read.fail("PUBLIC_URL", "must be a URL like https://example.org, without query or password.");
  }
  return isPlain ? url.href.replace(/\/+$/, "") : ownUrl(host, port);
}

/** As `Name <address>`, or the address alone. */
const MAIL_ADDRESS = /^(?:([^<>\p{Cc}]*?)\s*<([^<>]+)>|([^<>]+))$/u;
/** Also at a host without a dot, as a machine of one's own may have. */
const MAILBOX = /^[^\s\p{Cc}@<>()[\]\\,;:"]{1,64}@[^\s\p{Cc}@<>()[\]\\,;:"]{1,189}$/u;

function readMailFrom(read: Reader): MailAddress {
  const value = read.text("MAIL_FROM") ?? "Marquee <no-reply@localhost>";
  const [, name = "", named, alone] = MAIL_ADDRESS.exec(value) ?? [];
  const address = named ?? alone ?? "";
  if (!MAILBOX.test(address) || name.length > 100) {
    const shown = JSON.stringify(value);
    read.fail("MAIL_FROM", `must be an address like Marquee <mail@example.org>, not ${shown}.`);
  }
  return { name: name.replace(/^"(.*)"$/, "$1"), address };
}

function readNamespace(read: Reader): string {
  const namespace = read.text("NAMESPACE") ?? "marquee";
  // It becomes a part of NATS's subjects, where dots and stars have a meaning.
  if (!NAMESPACE.test(namespace)) {
    read.fail("NAMESPACE", `must be 1 to 40 of a-z, 0-9 and -, not "${namespace}".`);
  }
  return namespace;
}

const POSTGRES_ALONE = "postgres:";

function readChannels(read: Reader): string {
  const value = read.text("CHANNELS_URL");
  // The database is DATABASE_URL's: another one could not vouch for anything.
  if (value === undefined || value === POSTGRES_ALONE) return POSTGRES_ALONE;
  const known = "postgres: or a URL that begins with nats://, tls://, amqp:// or amqps://";
  const isAmqp = value.startsWith("amqp");
  const url = isAmqp
    ? read.url("CHANNELS_URL", ["amqp:", "amqps:"], { known })
    : read.url("CHANNELS_URL", ["nats:", "tls:"], { several: true, known });
  if (isAmqp && URL.canParse(value) && new URL(value).hostname.includes(",")) {
    read.fail("CHANNELS_URL", "takes one address of RabbitMQ, whose cluster may have several.");
  }
  return url ?? POSTGRES_ALONE;
}

function readServices(read: Reader): readonly ServiceName[] {
  const names = read.list("SERVICES");
  if (names.length === 0 || (names.length === 1 && names[0] === "all")) return SERVICE_NAMES;
  const known = (name: string): name is ServiceName =>
    SERVICE_NAMES.some((service) => service === name);
  const unknown = names.filter((name) => !known(name));
  if (unknown.length) {
    read.fail("SERVICES", `names ${unknown.join(", ")}; there are ${SERVICE_NAMES.join(", ")}.`);
  }
  return [...new Set(names.filter(known))];
}

function readOrigins(read: Reader): string[] {
  return read.list("CORS_ORIGINS").map((origin) => {
    // A wildcard would be a host's name that no browser ever sends.
    const exact =
      URL.canParse(origin) && new URL(origin).origin === origin && !origin.includes("*");
    if (!exact) {
      read.fail("CORS_ORIGINS", `takes exact origins like https://example.org, not "${origin}".`);
    }
    return origin;
  });
}

/** Whether proxy-addr will understand it; it takes a bare number for an address, which nobody means. */
function isNetwork(entry: string): boolean {
  if (!NETWORK_NAMES.has(entry) && !isIP(entry.split("/", 1)[0] ?? "")) return false;
  try {
    proxyaddr.compile(entry);
    return true;
  } catch {
    return false;
  }
}

function readNetworks(read: Reader, name: string): string[] {
  return read.list(name).map((entry) => {
    if (!isNetwork(entry)) {
      read.fail(
        name,
        `takes addresses, networks like 10.0.0.0/8, loopback, linklocal or uniquelocal, not "${entry}".`,
      );
    }
    return entry;
  });
}

/** Somebody who tries it out has their push service on the same machine; in production only an operator may say so. */
function readPushNetworks(read: Reader, production: boolean): string[] {
  const networks = readNetworks(read, "PUSH_NETWORKS");
  return networks.length === 0 && !production ? ["loopback"] : networks;
}

function readAdmin(read: Reader): Config["admin"] {
  const email = read.text("ADMIN_EMAIL");
  const password = read.text("ADMIN_PASSWORD");
  if (email === undefined && password === undefined) return undefined;
  if (email === undefined || password === undefined) {
    read.fail(
      email === undefined ? "ADMIN_EMAIL" : "ADMIN_PASSWORD",
      `is missing; ADMIN_EMAIL and ADMIN_PASSWORD go together.`,
    );
    return undefined;
  }
  if (!EMAIL.test(email) || email.length > MAX_EMAIL_CHARACTERS) {
    read.fail("ADMIN_EMAIL", `must be an email address, not "${email}".`);
  }
  const strong = [...password].length >= 8 && /\p{L}/u.test(password) && /\d/.test(password);
  if (!strong || Buffer.byteLength(password) > PASSWORD_BYTES) {
    read.fail(
      "ADMIN_PASSWORD",
      `must have 8 characters or more, a letter and a digit among them, and ${PASSWORD_BYTES} bytes at most.`,
    );
  }
  return { email, password };
}

/**
 * Reads and checks the environment.
 *
 * @throws ConfigError with a sentence for every variable that is wrong
 */
export function loadConfig(environment: Environment): Config {
  const read = new Reader(environment);
  const production = read.text("NODE_ENV") === "production";
  const databaseUrl = read.url("DATABASE_URL", ["postgres:", "postgresql:"]);
  const secret = read.text("JWT_SECRET");
  if (secret === undefined && production) {
    read.fail("JWT_SECRET", "is required with NODE_ENV=production.");
  }
  if (secret !== undefined && Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    read.fail("JWT_SECRET", `must have ${MIN_SECRET_BYTES} bytes or more.`);
  }
  if (read.text("SERVICES") !== undefined && databaseUrl === undefined) {
    read.fail(
      "SERVICES",
      "needs DATABASE_URL: an embedded database belongs to one process that runs everything.",
    );
  }
  const host = readHost(read);
  const port = read.integer("PORT", 3000, 0, 65_535);
  const config: Config = {
    production,
    host,
    port,
    publicUrl: readPublicUrl(read, host, port),
    databaseUrl,
    databasePool: read.integer("DATABASE_POOL", 10, 3, 200),
    dataDir: read.text("DATA_DIR") ?? ".data",
    natsUrl: read.url("NATS_URL", ["nats:", "tls:"], { several: true }),
    channelsUrl: readChannels(read),
    namespace: readNamespace(read),
    services: readServices(read),
    jwtSecret: secret,
    admin: readAdmin(read),
    seedDemo: read.boolean("SEED_DEMO", databaseUrl === undefined),
    rateLimits: {
      auth: read.integer("RATE_LIMIT_AUTH", 5, 0, 1_000_000),
      api: read.integer("RATE_LIMIT_API", 600, 0, 1_000_000),
    },
    trustProxy: readNetworks(read, "TRUST_PROXY"),
    corsOrigins: readOrigins(read),
    bcryptRounds: read.integer("BCRYPT_ROUNDS", 10, 4, 15),
    maxTicketsPerBooking: read.integer("MAX_TICKETS_PER_BOOKING", 10, 1, 1000),
    bookingHoldSeconds: read.integer("BOOKING_HOLD_SECONDS", 900, 1, 604_800),
    waitlistOfferSeconds: read.integer("WAITLIST_OFFER_SECONDS", 3600, 1, 2_592_000),
    reminderHours: read.integer("REMINDER_HOURS", 24, 1, 720),
    sms: readSms(read),
    push: readPush(read, readPushNetworks(read, production)),
    smtpUrl: read.url("SMTP_URL", ["smtp:", "smtps:"]),
    mailFrom: readMailFrom(read),
    logLevel: read.oneOf("LOG_LEVEL", LOG_LEVELS, "info"),
    logFormat: read.oneOf("LOG_FORMAT", ["pretty", "json"], production ? "json" : "pretty"),
  };
  if (read.problems.length) throw new ConfigError(read.problems);
  return config;
}

const SECRET_FILE = "jwt-secret";

/** Writes the file whole or not at all; one that is there already stays. */
function writeOnce(file: string, text: string): void {
  // Not by process id: two containers on one volume may both be number 1.
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  writeFileSync(draft, text, { mode: 0o600 });
  try {
    // Of two processes that start together the first one's secret holds for both, and neither reads half of it.
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
}

function readOrWriteSecret(dataDir: string): string {
  const file = join(dataDir, SECRET_FILE);
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  makeFolder(dataDir);
  writeOnce(file, randomBytes(48).toString("base64url"));
  return readFileSync(file, "utf8").trim();
}

/**
 * The secret that signs access tokens: `JWT_SECRET`, else one generated into `DATA_DIR` at the first start
 * (readable by its owner alone), so that tokens outlive a restart.
 *
 * @throws ConfigError where the directory cannot be used or the file is damaged
 */
export function jwtSecret(config: Pick<Config, "jwtSecret" | "dataDir">): string {
  if (config.jwtSecret !== undefined) return config.jwtSecret;
  let secret: string;
  try {
    secret = readOrWriteSecret(config.dataDir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError([`DATA_DIR ${config.dataDir} cannot hold the ${SECRET_FILE}: ${code}.`]);
  }
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new ConfigError([
      `DATA_DIR holds a damaged ${SECRET_FILE}; remove that file or set JWT_SECRET.`,
    ]);
  }
  return secret;
}
