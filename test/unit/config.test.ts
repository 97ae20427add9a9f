import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import proxyaddr from "proxy-addr";
import { generateVAPIDKeys } from "web-push";
import {
  ConfigError,
  type Environment,
  jwtSecret,
  loadConfig,
  SERVICE_NAMES,
} from "../../lib/config";
import { email, password } from "../../services/users/users.validations";
import { judged } from "../support/guarded";
import { VAPID } from "../support/push-service";
import { variablesRead } from "../support/recorded-environment";

const DATABASE = "postgres://owner:pass-word@db.example:5432/marquee";
const SECRET = "a secret of thirty-two bytes or so";

const TWILIO = {
  TWILIO_ACCOUNT_SID: `AC${"0123456789abcdef".repeat(2)}`,
  TWILIO_AUTH_TOKEN: "a-token-of-the-account",
  TWILIO_FROM: "+15005550006",
};

/** The sentences with which a start would stop; none when it goes on. */
function problemsOf(environment: Environment): readonly string[] {
  try {
    loadConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.message).toBe(error.problems.join("\n"));
    return error.problems;
  }
}

describe("Without any variable", () => {
  test("everything has a default with which it works on a bare machine", () => {
    expect(loadConfig({})).toEqual({
      production: false,
      host: "127.0.0.1",
      port: 3000,
      publicUrl: "http://127.0.0.1:3000",
      databaseUrl: undefined,
      databasePool: 10,
      dataDir: ".data",
      natsUrl: undefined,
      channelsUrl: "postgres:",
      namespace: "marquee",
      services: SERVICE_NAMES,
      jwtSecret: undefined,
      admin: undefined,
      seedDemo: true,
      rateLimits: { auth: 5, api: 600 },
      trustProxy: [],
      corsOrigins: [],
      bcryptRounds: 10,
      maxTicketsPerBooking: 10,
      bookingHoldSeconds: 900,
      waitlistOfferSeconds: 3600,
      reminderHours: 24,
      sms: undefined,
      push: undefined,
      smtpUrl: undefined,
      mailFrom: { name: "Marquee", address: "no-reply@localhost" },
      logLevel: "info",
      logFormat: "pretty",
    });
  });

  test("or with empty ones, which shells and compose files leave for unset", () => {
    const empty = Object.fromEntries(variablesRead().map((name) => [name, "  "]));
    expect(loadConfig(empty)).toEqual(loadConfig({}));
  });
});

describe("Defaults that follow from others", () => {
  test("demo data only goes into the embedded database, unless somebody asks", () => {
    expect(loadConfig({ DATABASE_URL: DATABASE }).seedDemo).toBe(false);
    expect(loadConfig({ DATABASE_URL: DATABASE, SEED_DEMO: "true" }).seedDemo).toBe(true);
    expect(loadConfig({ SEED_DEMO: "false" }).seedDemo).toBe(false);
  });

  test("people reach a gateway where it listens, and one that listens everywhere on its own machine", () => {
    const publicUrl = (environment: Environment) => loadConfig(environment).publicUrl;
    expect(publicUrl({ HOST: "0.0.0.0", PORT: "8080" })).toBe("http://localhost:8080");
    expect(publicUrl({ HOST: "::1" })).toBe("http://[::1]:3000");
    expect(publicUrl({ PUBLIC_URL: "https://example.org" })).toBe("https://example.org");
  });

  test("mails are from an address with or without a name", () => {
    const from = (mailFrom: string) => loadConfig({ MAIL_FROM: mailFrom }).mailFrom;
    expect(from("mail@example.org")).toEqual({ name: "", address: "mail@example.org" });
    expect(from("<mail@localhost>")).toEqual({ name: "", address: "mail@localhost" });
    expect(from("Ämter <mail@example.org>").name).toBe("Ämter");
  });

  test("in production logs are JSON and a secret is asked for", () => {
    const production = { NODE_ENV: "production", JWT_SECRET: SECRET };
    expect(loadConfig(production)).toMatchObject({ production: true, logFormat: "json" });
    expect(loadConfig({ ...production, LOG_FORMAT: "pretty" }).logFormat).toBe("pretty");
    expect(problemsOf({ NODE_ENV: "production" })).toEqual([
      expect.stringMatching(/^JWT_SECRET is required/),
    ]);
  });
});

test("Good values arrive, trimmed", () => {
  expect(
    loadConfig({
      HOST: "0.0.0.0",
      PORT: " 8080 ",
      DATABASE_URL: DATABASE,
      DATABASE_POOL: "25",
      DATA_DIR: "/var/lib/marquee",
      NATS_URL: "nats://a:4222, nats://b:4222",
      CHANNELS_URL: "nats://a:4222, tls://b",
      NAMESPACE: " box-office-2 ",
      SERVICES: "events, bookings,events",
      JWT_SECRET: SECRET,
      ADMIN_EMAIL: "admin@example.org",
      ADMIN_PASSWORD: "geheim 123",
      SEED_DEMO: "on",
      RATE_LIMIT_AUTH: "0",
      RATE_LIMIT_API: "1000",
      TRUST_PROXY: "10.0.0.0/8, loopback, ::1",
      CORS_ORIGINS: "https://example.org, http://localhost:5173",
      BCRYPT_ROUNDS: "12",
      MAX_TICKETS_PER_BOOKING: "4",
      BOOKING_HOLD_SECONDS: " 60",
      WAITLIST_OFFER_SECONDS: "86400",
      REMINDER_HOURS: "48",
      ...TWILIO,
      TWILIO_API_BASE: "http://twilio.internal:8080/",
      ...VAPID,
      PUSH_NETWORKS: "10.8.0.0/16",
      PUBLIC_URL: "https://tickets.example.org/box-office/",
      SMTP_URL: "smtps://mailer:pass%2Fword@mail.example.org",
      MAIL_FROM: ' "Tickets & more" <tickets@example.org>',
      LOG_LEVEL: "warn",
      LOG_FORMAT: "json",
    }),
  ).toEqual({
    production: false,
    host: "0.0.0.0",
    port: 8080,
    publicUrl: "https://tickets.example.org/box-office",
    databaseUrl: DATABASE,
    databasePool: 25,
    dataDir: "/var/lib/marquee",
    natsUrl: "nats://a:4222,nats://b:4222",
    channelsUrl: "nats://a:4222,tls://b",
    namespace: "box-office-2",
    services: ["events", "bookings"],
    jwtSecret: SECRET,
    admin: { email: "admin@example.org", password: "geheim 123" },
    seedDemo: true,
    rateLimits: { auth: 0, api: 1000 },
    trustProxy: ["10.0.0.0/8", "loopback", "::1"],
    corsOrigins: ["https://example.org", "http://localhost:5173"],
    bcryptRounds: 12,
    maxTicketsPerBooking: 4,
    bookingHoldSeconds: 60,
    waitlistOfferSeconds: 86_400,
    reminderHours: 48,
    sms: {
      accountSid: TWILIO.TWILIO_ACCOUNT_SID,
      authToken: TWILIO.TWILIO_AUTH_TOKEN,
      from: TWILIO.TWILIO_FROM,
      apiBase: "http://twilio.internal:8080",
    },
    push: {
      publicKey: VAPID.VAPID_PUBLIC_KEY,
      privateKey: VAPID.VAPID_PRIVATE_KEY,
      subject: VAPID.VAPID_SUBJECT,
      privateNetworks: ["10.8.0.0/16"],
    },
    smtpUrl: "smtps://mailer:pass%2Fword@mail.example.org",
    mailFrom: { name: "Tickets & more", address: "tickets@example.org" },
    logLevel: "warn",
    logFormat: "json",
  });
});

/** What each variable refuses, in an environment that is sound otherwise. */
const BAD: Record<string, { with?: Environment; values: string[] }> = {
  HOST: { values: ["http://localhost", "localhost:3000", "[::1]", "two words", "-x", "ü.example"] },
  PORT: { values: ["abc", "-1", "65536", "3000.5", "0x10", "1e3", "99999999999", "３０００"] },
  DATABASE_URL: {
    values: [
      "localhost",
      "mysql://owner:pass-word@db/marquee",
      "postgres:marquee",
      "postgres://db:port/marquee",
      "postgres://owner:100%@db/marquee",
      "postgres://owner:p%zz@db/marquee",
    ],
  },
  DATABASE_POOL: { values: ["2", "201", "many"] },
  NATS_URL: {
    values: ["localhost:4222", "http://nats", "nats://a,http://b", "nats://a,", "nats:a"],
  },
  CHANNELS_URL: {
    values: [
      "postgres",
      "postgres://db/marquee",
      "redis://cache",
      "nats://a,amqp://b",
      "amqp://a,amqp://b",
      "amqp:a",
      "amqp://u:100%@a",
    ],
  },
  NAMESPACE: { values: ["Marquee", "a.b", "*", ">", "two words", "ü", "x".repeat(41)] },
  SERVICES: {
    with: { DATABASE_URL: DATABASE },
    values: ["event", "events,payments", "Events", "all,events", "constructor"],
  },
  JWT_SECRET: { values: ["short", "x".repeat(31), "ü".repeat(15)] },
  ADMIN_EMAIL: {
    with: { ADMIN_PASSWORD: "geheim 123" },
    values: [
      "admin",
      "admin@localhost",
      "a b@example.org",
      "@example.org",
      `${"a".repeat(255)}@b.org`,
    ],
  },
  ADMIN_PASSWORD: {
    with: { ADMIN_EMAIL: "admin@example.org" },
    values: ["short1", "onlyletters", "12345678", `${"ü".repeat(36)}1`, "😀😀😀a1"],
  },
  SEED_DEMO: { values: ["maybe", "2", "ja"] },
  RATE_LIMIT_AUTH: { values: ["-1", "five", "1000001", "0.5"] },
  RATE_LIMIT_API: { values: ["-1", "lots", "1000001"] },
  TRUST_PROXY: {
    values: [
      "true",
      "1",
      "10.0.0.0/33",
      "10.0.0.0/0",
      "::/0",
      "10.0.0.0/8/8",
      "10.0.0/8",
      "10.0.0.0/",
      "::1/129",
      "proxy.example",
      "loopback,everybody",
      "constructor",
    ],
  },
  CORS_ORIGINS: {
    values: [
      "*",
      "null",
      "example.org",
      "https://example.org/",
      "https://example.org/app",
      "https://*.example.org",
      "https://EXAMPLE.org",
      "https://a.example,https://b.example/",
    ],
  },
  BCRYPT_ROUNDS: { values: ["3", "16", "ten"] },
  MAX_TICKETS_PER_BOOKING: { values: ["0", "1001", "-1", "ten"] },
  BOOKING_HOLD_SECONDS: { values: ["0", "-900", "604801", "1.5", "15m"] },
  WAITLIST_OFFER_SECONDS: { values: ["0", "-1", "2592001", "1e3", "an hour"] },
  REMINDER_HOURS: { values: ["0", "-1", "721", "1.5", "a day"] },
  TWILIO_ACCOUNT_SID: {
    with: TWILIO,
    values: ["AC", "0123", `SK${"0".repeat(32)}`, `AC${"0".repeat(31)}`, `AC${"0".repeat(31)}/`],
  },
  TWILIO_AUTH_TOKEN: { with: TWILIO, values: ["two words", "tökén", "x".repeat(201)] },
  TWILIO_FROM: {
    with: TWILIO,
    values: [
      "0664 123",
      "+0123456789",
      `MG${"0".repeat(31)}`,
      "a name that is too long",
      "Mar+quee",
      "12",
    ],
  },
  TWILIO_API_BASE: {
    values: [
      "api.twilio.com",
      "ftp://api.twilio.com",
      "http://api.twilio.com",
      "https://user:word@api.twilio.com",
      "https://api.twilio.com?a=b",
      "https://api.twilio.com/#a",
      "https://",
    ],
  },
  VAPID_PUBLIC_KEY: {
    with: VAPID,
    values: [
      "short",
      VAPID.VAPID_PRIVATE_KEY,
      `${VAPID.VAPID_PUBLIC_KEY}=`,
      VAPID.VAPID_PUBLIC_KEY.replace(/^B/, "C"),
      // Of another pair.
      generateVAPIDKeys().publicKey,
    ],
  },
  VAPID_PRIVATE_KEY: {
    with: VAPID,
    values: [
      "short",
      VAPID.VAPID_PUBLIC_KEY,
      `${VAPID.VAPID_PRIVATE_KEY}=`,
      "A".repeat(43),
      // The order of the curve, and more.
      Buffer.alloc(32, 255).toString("base64url"),
    ],
  },
  VAPID_SUBJECT: {
    with: VAPID,
    values: [
      "ops@example.org",
      "mailto:",
      "mailto:ops",
      "http://example.org",
      "https://",
      "https://localhost/x",
    ],
  },
  PUSH_NETWORKS: { values: ["localhost", "10.0.0.0/33", "all", "0.0.0.0/0", "true"] },
  PUBLIC_URL: {
    values: [
      "example.org",
      "ftp://example.org",
      "https://user:pass-word@example.org",
      "https://example.org/?a=b",
      "https://example.org/#top",
      "https://",
    ],
  },
  SMTP_URL: {
    values: ["mail.example.org", "http://mail.example.org", "smtp:mail", "smtp://a:100%@mail"],
  },
  MAIL_FROM: {
    values: [
      "Marquee",
      "a b@example.org",
      "Marquee <mail@example.org>, Eve <eve@example.org>",
      "mail@example.org, eve@example.org",
      "Marquee\r\nBcc: eve@example.org <mail@example.org>",
      "mail@example.org\nBcc: eve@example.org",
      "Marquee <mail@exa\u0000mple.org>",
      `Marquee <${"a".repeat(65)}@example.org>`,
      "<>",
    ],
  },
  LOG_LEVEL: { values: ["loud", "INFO", "silent"] },
  LOG_FORMAT: { values: ["xml", "JSON"] },
};

/** These take any text: a folder is found out about when it is used, and NODE_ENV is not ours alone. */
const ANYTHING_GOES = ["DATA_DIR", "NODE_ENV"];

describe("A bad value stops the start with a sentence that names its variable", () => {
  test("for every variable there is", () => {
    expect([...Object.keys(BAD), ...ANYTHING_GOES].sort()).toEqual(variablesRead());
  });

  test.each(
    Object.entries(BAD).flatMap(([name, { with: others = {}, values }]) =>
      values.map((value) => [name, value, others] as const),
    ),
  )("%s=%s", (name, value, others) => {
    expect(problemsOf({ ...others, [name]: value })).toEqual([
      expect.stringMatching(new RegExp(`^${name} .{10,}\\.$`)),
    ]);
  });

  test("and every fault is told at once", () => {
    const all = Object.fromEntries(
      Object.entries(BAD).map(([name, { values }]) => [name, values[0]]),
    );
    const named = problemsOf(all).map((problem) => problem.split(" ", 1)[0]);
    expect(named.sort()).toEqual(Object.keys(BAD).sort());
  });
});

describe("What goes together", () => {
  test.each([
    ["SMS", TWILIO],
    ["push", VAPID],
  ])("of %s all is set or none, and what is missing is named", (_, group) => {
    const names = Object.keys(group);
    for (const missing of names) {
      const { [missing]: _without, ...others } = group as Record<string, string>;
      expect(problemsOf(others)).toEqual([
        expect.stringMatching(new RegExp(`^${missing} is missing; .*go together\\.$`)),
      ]);
      expect(problemsOf({ [missing]: Object(group)[missing] })).toHaveLength(names.length - 1);
    }
    expect(problemsOf(group)).toEqual([]);
  });

  test("SMS goes to Twilio itself unless somebody says where else", () => {
    expect(loadConfig(TWILIO).sms?.apiBase).toBe("https://api.twilio.com");
    for (const from of ["+436641234567", "12345", `MG${"0".repeat(32)}`, "Marquee", "Box 7"]) {
      expect(loadConfig({ ...TWILIO, TWILIO_FROM: from }).sms?.from).toBe(from);
    }
  });

  test("push reaches the same machine while it is tried out, and in production what an operator says", () => {
    const networks = (environment: Environment) =>
      loadConfig({ ...VAPID, JWT_SECRET: SECRET, ...environment }).push?.privateNetworks;
    expect(networks({})).toEqual(["loopback"]);
    expect(networks({ NODE_ENV: "production" })).toEqual([]);
    for (const environment of [{}, { NODE_ENV: "production" }]) {
      expect(networks({ ...environment, PUSH_NETWORKS: "10.8.0.0/16" })).toEqual(["10.8.0.0/16"]);
    }
  });

  test("an administrator has an address and a password", () => {
    expect(problemsOf({ ADMIN_EMAIL: "admin@example.org" })).toEqual([
      expect.stringMatching(/^ADMIN_PASSWORD is missing/),
    ]);
    expect(problemsOf({ ADMIN_PASSWORD: "geheim 123" })).toEqual([
      expect.stringMatching(/^ADMIN_EMAIL is missing/),
    ]);
  });

  test("an embedded database belongs to one process that runs everything", () => {
    for (const services of ["events", "all", SERVICE_NAMES.join(",")]) {
      expect(problemsOf({ SERVICES: services })).toEqual([
        expect.stringMatching(/^SERVICES needs DATABASE_URL/),
      ]);
    }
    expect(loadConfig({ SERVICES: "all", DATABASE_URL: DATABASE }).services).toEqual(SERVICE_NAMES);
  });

  test("what the start lets through, accounts and proxies take as well", async () => {
    const emails = ["admin@example.org", "a.b+c@sub.example.co", "ü@exämple.org", "x@y.zz"];
    for (const address of [...emails, ...(BAD.ADMIN_EMAIL?.values ?? [])]) {
      const taken = problemsOf({ ADMIN_EMAIL: address, ADMIN_PASSWORD: "geheim 123" }).length === 0;
      expect({ address, taken }).toEqual({
        address,
        taken: "value" in (await judged(email, address)),
      });
    }
    for (const word of ["geheim 123", "пароль 12", ...(BAD.ADMIN_PASSWORD?.values ?? [])]) {
      const taken =
        problemsOf({ ADMIN_EMAIL: "admin@example.org", ADMIN_PASSWORD: word }).length === 0;
      expect({ word, taken }).toEqual({ word, taken: "value" in (await judged(password, word)) });
    }
    for (const entry of ["10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1", "linklocal", "uniquelocal"]) {
      expect(() =>
        proxyaddr.compile([...loadConfig({ TRUST_PROXY: entry }).trustProxy]),
      ).not.toThrow();
    }
  });
});

test("Passwords and secrets are never echoed", () => {
  const secrets: Environment = {
    DATABASE_URL: "mysql://owner:hunter22@db/marquee",
    NATS_URL: "http://user:hunter22@nats",
    CHANNELS_URL: "http://user:hunter22@rabbit",
    JWT_SECRET: "hunter22",
    ADMIN_EMAIL: "admin@example.org",
    ADMIN_PASSWORD: "hunter-hunter-hunter22".replace(/\d/g, "x"),
    TWILIO_ACCOUNT_SID: "hunter22",
    TWILIO_AUTH_TOKEN: "hunter 22",
    TWILIO_FROM: "hunter22-of-somebody",
    TWILIO_API_BASE: "https://user:hunter22@example.org",
    VAPID_PUBLIC_KEY: "hunter22",
    VAPID_PRIVATE_KEY: "hunter22",
    VAPID_SUBJECT: "mailto:ops@example.org",
  };
  const problems = problemsOf(secrets);
  expect(problems).toHaveLength(11);
  expect(problems.join()).not.toContain("hunter");
  expect(problemsOf({ DATABASE_URL: "postgres://owner:hunter22%@db/x" }).join()).not.toContain(
    "hunter",
  );
});

describe("The generated secret", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "marquee-config-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const secretIn = (dataDir: string) => jwtSecret({ dataDir, jwtSecret: undefined });

  test("is made once, outlives a restart and is its owner's alone", () => {
    const dataDir = join(dir, "not", "there", "yet");
    const secret = secretIn(dataDir);
    expect(Buffer.byteLength(secret)).toBeGreaterThanOrEqual(32);
    expect(secretIn(dataDir)).toBe(secret);
    expect(readdirSync(dataDir)).toEqual(["jwt-secret"]);
    expect(statSync(join(dataDir, "jwt-secret")).mode & 0o777).toBe(0o600);
    expect(secretIn(join(dir, "another"))).not.toBe(secret);
  });

  test("yields to JWT_SECRET, and then writes nothing", () => {
    expect(jwtSecret({ dataDir: dir, jwtSecret: SECRET })).toBe(SECRET);
    expect(readdirSync(dir)).toEqual([]);
  });

  test("that somebody damaged stops the start, and is left for them to see", () => {
    writeFileSync(join(dir, "jwt-secret"), "half a sec");
    expect(() => secretIn(dir)).toThrow(ConfigError);
    expect(() => secretIn(dir)).toThrow(/^DATA_DIR .*jwt-secret/);
    expect(readFileSync(join(dir, "jwt-secret"), "utf8")).toBe("half a sec");
  });

  test("without a folder to lie in stops the start with a sentence", () => {
    const file = join(dir, "file");
    writeFileSync(file, "");
    mkdirSync(join(dir, "taken", "jwt-secret"), { recursive: true });
    for (const dataDir of [file, join(file, "below"), join(dir, "taken")]) {
      expect(() => secretIn(dataDir)).toThrow(ConfigError);
      expect(() => secretIn(dataDir)).toThrow(/^DATA_DIR /);
    }
  });
});
