import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { brokerOptions, createBroker } from "../../lib/broker";
import { systemClock } from "../../lib/clock";
import { SERVICE_NAMES } from "../../lib/config";
import { openDatabase } from "../../lib/database";
import { services } from "../../services";
import { cableTo } from "../support/cable";
import { createTestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { freePort } from "../support/free-port";
import { Api } from "../support/people";
import { ask, expectProblem } from "../support/problems";
import { testConfig } from "../support/system";
import { onWire } from "../support/wire";

/** A system of all services in one broker, and what it logs. */
async function loggedSystem(databaseUrl: string, level: string) {
  const port = await freePort();
  const config = testConfig(databaseUrl, { PORT: String(port), LOG_LEVEL: level });
  const lines: string[] = [];
  const database = openDatabase(databaseUrl, { connections: 3 });
  const kernel = { config, clock: systemClock, database };
  const broker = createBroker(
    brokerOptions(config, { log: { write: (line) => lines.push(line) } }),
    SERVICE_NAMES.map((name) => services[name](kernel)),
  );
  await broker.start();
  const stop = async () => {
    await broker.stop();
    await database.close();
  };
  return { origin: `http://127.0.0.1:${port}`, lines, database, stop };
}

describe("The log of a failed statement", () => {
  test("has its stack and its constraint, but neither addresses nor hashes", async () => {
    const data = await createTestDatabase();
    const { origin, lines, database, stop } = await loggedSystem(data.url, "error");
    try {
      // PostgreSQL's error then quotes the whole row, and Sequelize's the statement with its values.
      await database.query(
        "ALTER TABLE users ADD CONSTRAINT planted CHECK (email NOT LIKE 'mallory%')",
      );
      const api = await Api.at(origin);
      const answer = await api.request("POST", "/auth/register", {
        body: { name: "Mallory", email: "mallory@example.org", password: "correct horse 1" },
      });
      expectProblem(answer, 500, "INTERNAL");
    } finally {
      await stop();
      await data.drop();
    }
    const log = lines.join("");
    // A failure is one line, whoever else on its way would like to tell of it.
    const [failure, ...others] = lines.map((line) => JSON.parse(line));
    expect(others).toEqual([]);
    expect(failure.msg).toBe("POST failed");
    expect(failure.err).toMatchObject({
      name: "SequelizeDatabaseError",
      stack: expect.stringContaining("users.store.ts"),
      cause: {
        code: "23514",
        constraint: "planted",
        stack: expect.stringContaining("violates check constraint"),
      },
    });
    expect(log).not.toMatch(/mallory/i);
    expect(log).not.toContain("$2b$");
    expect(log).not.toContain("correct horse");
  });
});

describe("The log of a gateway that cannot serve", () => {
  test("says so once, and once that it can again, however many ask", async () => {
    const data = await createTestDatabase();
    const cable = await cableTo(data.url);
    const { origin, lines, stop } = await loggedSystem(cable.url, "info");
    const probes = async (status: number) => {
      for (let times = 0; times < 3; times++) {
        await eventually(async () => {
          expect((await ask(origin, "GET", "/health/ready")).status).toBe(status);
        });
      }
    };
    try {
      await probes(200);
      cable.cut();
      await probes(503);
      expectProblem(await ask(origin, "GET", "/api/events"), 503, "SERVICE_UNAVAILABLE");
      cable.mend();
      await probes(200);
      // What a stop says is another matter, and what others miss for whom the database is away long enough.
      const told = lines
        .map((line) => JSON.parse(line))
        .filter(({ svc }) => svc === "api")
        .filter(({ level, msg }) => level > 30 || /ready/i.test(msg.replace("/health/ready", "")));
      expect(told.map(({ level, msg }) => [level, msg])).toEqual([
        [40, "Not ready: the database cannot be reached"],
        [30, "Ready again"],
      ]);
    } finally {
      await stop();
      await cable.remove();
      await data.drop();
    }
  });
});

describe("The log of a gateway that is sent what is no HTTP", () => {
  test("has no failure of ours, though the answer was given by somebody else than who was about it", async () => {
    const data = await createTestDatabase();
    const { origin, lines, stop } = await loggedSystem(data.url, "warn");
    try {
      for (let times = 0; times < 10; times++) {
        await onWire(origin, async (wire) => {
          const header =
            "Host: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
          const bytes = `POST /api/auth/login HTTP/1.1\r\n${header}\r\nZZ\r\nabc\r\n`;
          expect((await wire.says(bytes).hears()).status).toBe(400);
        });
      }
    } finally {
      await stop();
      await data.drop();
    }
    expect(lines).toEqual([]);
  });
});

/** A NATS server of our own that wants a password; undefined where none is installed. */
function guardedNats(port: number): Promise<ChildProcess | undefined> {
  const server = spawn(
    "nats-server",
    ["--addr", "127.0.0.1", "--port", String(port), "--user", "u", "--pass", "p@ss"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  return new Promise((resolve, reject) => {
    server.stderr.on("data", (chunk) => {
      said += chunk;
      if (said.includes("Server is ready")) resolve(server);
    });
    server.once("exit", () => reject(new Error(`nats-server ended: ${said}`)));
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "ENOENT" ? resolve(undefined) : reject(error),
    );
  });
}

describe("A NATS server that wants a password", () => {
  let port: number;
  let server: ChildProcess | undefined;
  beforeAll(async () => {
    port = await freePort();
    server = await guardedNats(port);
    if (!server) console.warn("There is no nats-server here: passwords in NATS_URL stay untested");
  });
  afterAll(async () => {
    if (!server) return;
    const ended = once(server, "exit");
    server.kill();
    await ended;
  });

  /** A node with this NATS_URL, and what it logs. */
  const node = (account: string) => {
    const config = testConfig("postgres://nobody@127.0.0.1/none", {
      NATS_URL: `nats://${account}@127.0.0.1:${port}`,
      LOG_LEVEL: "info",
    });
    const lines: string[] = [];
    const log = { write: (line: string) => lines.push(line) };
    // A node tries again for ever; here one try tells.
    const options = { ...brokerOptions(config, { log }), transit: { disableReconnect: true } };
    return { broker: createBroker(options, []), lines };
  };

  test("lets a node in whose address has the password, percent-encoded", async () => {
    if (!server) return;
    const { broker, lines } = node("u:p%40ss");
    await broker.start();
    expect(broker.transit?.connected).toBe(true);
    expect(lines.join("")).toContain(`Connected to the NATS at 127.0.0.1:${port}`);
    await broker.stop();
  });

  test("refuses another, which says so in its log", async () => {
    if (!server) return;
    const { broker, lines } = node("u:wrong");
    void broker.start();
    await eventually(async () => {
      expect(lines.join("")).toMatch(
        /"level":50,.*NATS of NATS_URL, 127\.0\.0\.1:\d+: .*Authorization/,
      );
    });
    await broker.stop();
    expect(lines.join("")).not.toContain("wrong");
  });
});
