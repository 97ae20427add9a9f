import { ServiceBroker } from "moleculer";
import { brokerOptions, natsTransporter } from "../../lib/broker";
import { loadConfig } from "../../lib/config";

const config = loadConfig({ LOG_LEVEL: "info", LOG_FORMAT: "json" });

/** A logger as services get it, and the lines that it wrote. */
function logger() {
  const lines: Record<string, unknown>[] = [];
  const log = { write: (line: string) => lines.push(JSON.parse(line)) };
  const broker = new ServiceBroker(brokerOptions(config, { log }));
  return { log: broker.getLogger("test"), lines };
}

describe("A log line", () => {
  test("has its message alone", () => {
    const { log, lines } = logger();
    log.info("GET /a%20b%d 200");
    expect(lines).toMatchObject([{ msg: "GET /a%20b%d 200" }]);
  });

  test("has fields and a message", () => {
    const { log, lines } = logger();
    log.info({ requestId: "r1", email: "alice@example.org" }, "Seen");
    expect(lines).toMatchObject([{ requestId: "r1", email: "[Redacted]", msg: "Seen" }]);
  });

  test("has nothing secret in what its fields hold, and leaves those as they were", () => {
    const { log, lines } = logger();
    const fields = {
      user: { name: "Alice", email: "a@example.org", keys: { token: "t" } },
      ids: [1],
    };
    const before = structuredClone(fields);
    log.info(fields, "Seen");
    expect(lines).toMatchObject([
      { user: { name: "Alice", email: "[Redacted]", keys: { token: "[Redacted]" } }, ids: [1] },
    ]);
    expect(fields).toEqual(before);
  });

  test("keeps an error that comes after the message", () => {
    const { log, lines } = logger();
    log.warn("Old sessions could not be removed", new RangeError("too old"));
    expect(lines).toMatchObject([
      {
        msg: "Old sessions could not be removed",
        err: {
          name: "RangeError",
          message: "too old",
          stack: expect.stringMatching(/^RangeError: too old\n +at /),
        },
      },
    ]);
  });

  test("keeps an error that comes alone, before the message or among the fields", () => {
    const { log, lines } = logger();
    const error = new Error("broken");
    log.error(error);
    log.error(error, "Sending failed");
    log.error({ requestId: "r1", err: error }, "POST failed");
    log.error({ requestId: "r1" }, "POST failed", error);
    const err = { message: "broken", stack: error.stack };
    expect(lines).toMatchObject([
      { msg: "broken", err },
      { msg: "Sending failed", err },
      { requestId: "r1", msg: "POST failed", err },
      { requestId: "r1", msg: "POST failed", err },
    ]);
  });

  test("keeps the words and numbers that come after the message, and a second error's words", () => {
    const { log, lines } = logger();
    log.error("NATS error.", "connect ECONNREFUSED");
    log.warn("Left after %d tries:", 3, "b", new Error("first"), new Error("second"));
    expect(lines).toMatchObject([
      { msg: "NATS error. connect ECONNREFUSED" },
      { msg: "Left after 3 tries: b Error: second", err: { message: "first" } },
    ]);
  });

  test("has nothing of a packet that Moleculer puts behind its error", () => {
    const { log, lines } = logger();
    log.error(new Error("broken"), "REQ", { payload: { secret: "hunter22" } });
    expect(lines).toMatchObject([{ msg: "REQ", err: { message: "broken" } }]);
    expect(JSON.stringify(lines)).not.toContain("hunter22");
  });

  test("has of an error and its causes, two deep, only what is known to hold no data", () => {
    const { log, lines } = logger();
    const chain = ["first", "second", "third", "fourth"].reduceRight<Error | undefined>(
      (cause, message) =>
        Object.assign(new Error(message, { cause }), {
          code: `code of the ${message}`,
          detail: "(alice@example.org) exists",
          parameters: ["alice@example.org"],
        }),
      undefined,
    );
    log.error("Failed", chain);
    const named = (message: string) => ({
      name: "Error",
      message,
      code: `code of the ${message}`,
      stack: expect.stringContaining(`Error: ${message}\n`),
    });
    expect(lines.map(({ err }) => err)).toEqual([
      { ...named("first"), cause: { ...named("second"), cause: named("third") } },
    ]);
  });

  test("has what was thrown though it is no error", () => {
    const { log, lines } = logger();
    log.error({ err: "just words" }, "Failed");
    expect(lines).toMatchObject([{ err: "just words", msg: "Failed" }]);
  });
});

describe("A node that cannot reach NATS", () => {
  afterEach(() => jest.restoreAllMocks());

  /** A broker that fails to connect when told to, and what it logs. */
  function node() {
    const lines: { level: number; msg: string }[] = [];
    const log = { write: (line: string) => lines.push(JSON.parse(line)) };
    const environment = { NATS_URL: "nats://u:hunter22@a:4222,tls://b", LOG_LEVEL: "warn" };
    const broker = new ServiceBroker(brokerOptions(loadConfig(environment), { log }));
    const fails = (message: string) => {
      // What Moleculer itself would say at every try.
      broker.getLogger("transporter").error("NATS error.", message);
      broker.localBus.emit("$transporter.error", { error: new Error(message) });
      broker.getLogger("transit").warn("Connection is failed.", message);
    };
    return { broker, lines, fails };
  }

  test("says so once for each reason, with the variable and the servers but no password", () => {
    const { lines, fails } = node();
    for (const reason of ["refused", "refused", "late", "late", "late"]) fails(reason);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual(
      ["refused", "late"].map((reason) => [
        50,
        expect.stringMatching(`^No connection to the NATS of NATS_URL, a:4222, b: ${reason}\\. `),
      ]),
    );
    expect(JSON.stringify(lines)).not.toContain("hunter22");
  });

  test("says so again once a minute", () => {
    const { lines, fails } = node();
    const clock = jest.spyOn(performance, "now");
    for (let second = 0; second < 120; second += 5) {
      clock.mockReturnValue(second * 1000);
      fails("refused");
    }
    expect(lines).toHaveLength(2);
  });

  test("leaves all other lines of Moleculer's alone", () => {
    const { broker, lines } = node();
    broker.getLogger("transit").warn("Orphan response");
    expect(lines).toMatchObject([{ level: 40, msg: "Orphan response" }]);
  });
});

describe("NAMESPACE", () => {
  test("keeps installations on one NATS apart", () => {
    const namespace = (environment: Record<string, string>) =>
      brokerOptions(loadConfig(environment)).namespace;
    expect(namespace({})).toBe("marquee");
    expect(namespace({ NAMESPACE: "box-office" })).toBe("box-office");
  });
});

describe("NATS_URL", () => {
  test.each([
    ["nats://a:4222", { servers: ["a:4222"] }],
    ["nats://a:4222,nats://[::1]:4223", { servers: ["a:4222", "[::1]:4223"] }],
    ["nats://a,tls://b", { servers: ["a", "b"], tls: {} }],
    ["tls://a", { servers: ["a"], tls: {} }],
    [
      "nats://us%65r:p%40s%3As@a:4222,nats://b",
      { servers: ["a:4222", "b"], user: "user", pass: "p@s:s" },
    ],
    ["nats://a,nats://u:p@b", { servers: ["a", "b"], user: "u", pass: "p" }],
    ["nats://u:100%@a", { servers: ["a"], user: "u", pass: "100%" }],
  ])("%s", (natsUrl, options) => {
    expect(natsTransporter({ natsUrl })).toEqual({ type: "NATS", options });
  });

  test("is no transporter where there is none", () => {
    expect(natsTransporter({ natsUrl: undefined })).toBeUndefined();
  });
});
