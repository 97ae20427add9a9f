import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { brokerOptions, createBroker } from "../../lib/broker";
import { systemClock } from "../../lib/clock";
import { SERVICE_NAMES } from "../../lib/config";
import { openDatabase } from "../../lib/database";
import { services } from "../../services";
import { createTestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { freePort } from "../support/free-port";
import { Api } from "../support/people";
import { expectProblem } from "../support/problems";
import { testConfig } from "../support/system";

describe("The log of a failed statement", () => {
  test("has its stack and its constraint, but neither addresses nor hashes", async () => {
    const data = await createTestDatabase();
    const port = await freePort();
    const config = testConfig(data.url, { PORT: String(port), LOG_LEVEL: "error" });
    const lines: string[] = [];
    const database = openDatabase(data.url, { connections: 3 });
    const kernel = { config, clock: systemClock, database };
    const broker = createBroker(
      brokerOptions(config, { log: { write: (line) => lines.push(line) } }),
      SERVICE_NAMES.map((name) => services[name](kernel)),
    );
    await broker.start();
    try {
      // PostgreSQL's error then quotes the whole row, and Sequelize's the statement with its values.
      await database.query(
        "ALTER TABLE users ADD CONSTRAINT planted CHECK (email NOT LIKE 'mallory%')",
      );
      const api = await Api.at(`http://127.0.0.1:${port}`);
      const answer = await api.request("POST", "/auth/register", {
        body: { name: "Mallory", email: "mallory@example.org", password: "correct horse 1" },
      });
      expectProblem(answer, 500, "INTERNAL");
    } finally {
      await broker.stop();
      await database.close();
      await data.drop();
    }
    const log = lines.join("");
    const failure = lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === "POST failed");
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
    const { broker } = node("u:p%40ss");
    await broker.start();
    expect(broker.transit?.connected).toBe(true);
    await broker.stop();
  });

  test("refuses another, which says so in its log", async () => {
    if (!server) return;
    const { broker, lines } = node("u:wrong");
    void broker.start();
    await eventually(async () => {
      expect(lines.join("")).toMatch(/"level":50,.*NATS error\. .*Authorization/);
    });
    await broker.stop();
    expect(lines.join("")).not.toContain("wrong");
  });
});
