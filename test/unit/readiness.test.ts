import { ServiceBroker } from "moleculer";
import { readiness } from "../../services/api/readiness";
import { contracts } from "../../services/contracts";

/** A gateway's readiness on a broker of its own, and what it logs. */
async function gateway() {
  const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
  const names = Object.keys(contracts);
  for (const name of names) broker.createService({ name });
  const lines: string[] = [];
  const state = { draining: false, hasDatabase: true };
  const write =
    (level: string) =>
    (...words: unknown[]) =>
      lines.push(`${level} ${words.join(" ")}`);
  const log = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
  const { isReady } = readiness({
    broker: () => broker,
    draining: () => state.draining,
    askDatabase: async () => {
      if (!state.hasDatabase) throw new Error("gone");
    },
    log: () => log,
  });
  const loses = async (name: string) => {
    const service = broker.getLocalService(name);
    if (!service) throw new Error(`Nobody runs ${name}`);
    await broker.destroyService(service);
  };
  return { broker, names, lines, state, isReady, loses };
}

describe("Readiness", () => {
  test("is told once when it goes, when its reason changes and when it is back", async () => {
    const { broker, lines, state, isReady, loses } = await gateway();
    await broker.start();
    try {
      for (let probe = 0; probe < 3; probe++) expect(await isReady()).toBe(true);
      expect(lines).toEqual([]);

      state.hasDatabase = false;
      for (let probe = 0; probe < 3; probe++) expect(await isReady()).toBe(false);
      expect(lines).toEqual(["warn Not ready: the database cannot be reached"]);

      await loses("bookings");
      await Promise.all([isReady(), isReady()]);
      await loses("core");
      await Promise.all([isReady(), isReady()]);
      expect(lines.slice(1).sort()).toEqual([
        "warn Not ready: no node runs bookings",
        "warn Not ready: no node runs core, bookings",
      ]);

      state.hasDatabase = true;
      broker.createService({ name: "bookings" });
      broker.createService({ name: "core" });
      await broker.waitForServices(["bookings", "core"]);
      for (let probe = 0; probe < 3; probe++) expect(await isReady()).toBe(true);
      expect(lines.slice(3)).toEqual(["info Ready again"]);
    } finally {
      await broker.stop();
    }
  });

  test("is no news while the process starts or stops", async () => {
    const { broker, lines, state, isReady, loses } = await gateway();
    expect(await isReady()).toBe(false);
    await broker.start();
    try {
      state.draining = true;
      await loses("core");
      expect(await isReady()).toBe(false);
    } finally {
      await broker.stop();
    }
    expect(await isReady()).toBe(false);
    expect(lines).toEqual([]);
  });

  test("is no news either when the stop begins while the database is asked", async () => {
    const { broker, lines, state, isReady } = await gateway();
    await broker.start();
    try {
      state.hasDatabase = false;
      const asked = isReady();
      state.draining = true;
      expect(await asked).toBe(false);
    } finally {
      await broker.stop();
    }
    expect(lines).toEqual([]);
  });
});
