import { LOG_LEVELS } from "../lib/config";

/** What somebody may set for a bench, read once at its start. */
export interface Settings {
  /** Length of one measurement. */
  seconds: number;
  /** Scenarios to run; all of them unless told. */
  only: readonly string[];
  /** An empty database that the bench may fill; undefined: an embedded one of its own. */
  databaseUrl: string | undefined;
  natsUrl: string;
  /** Of the system that is measured. */
  logLevel: string;
}

/** What is wrong with a setting, in a sentence that names it. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

const SECONDS = { least: 1, most: 120, normal: 8 };
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/**
 * Reads `BENCH_SECONDS`, `BENCH_ONLY`, `BENCH_DATABASE_URL`, `BENCH_NATS_URL` and `LOG_LEVEL`.
 *
 * @param scenarios names that `BENCH_ONLY` may list
 * @throws SettingsError
 */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  scenarios: readonly string[],
): Settings {
  /** An empty one counts as not set, as for the product. */
  const text = (name: string) => environment[name]?.trim() || undefined;

  const readSeconds = () => {
    const given = text("BENCH_SECONDS");
    const seconds = given === undefined ? SECONDS.normal : Number(given);
    if (!Number.isInteger(seconds) || seconds < SECONDS.least || seconds > SECONDS.most) {
      throw new SettingsError(
        `BENCH_SECONDS must be a whole number from ${SECONDS.least} to ${SECONDS.most}, not "${given}".`,
      );
    }
    return seconds;
  };
  const readOnly = () => {
    const names = (text("BENCH_ONLY") ?? "").split(",").map((name) => name.trim());
    const given = names.filter((name) => name !== "");
    const unknown = given.filter((name) => !scenarios.includes(name));
    if (unknown.length > 0) {
      throw new SettingsError(
        `BENCH_ONLY names ${unknown.join(", ")}; there are ${scenarios.join(", ")}.`,
      );
    }
    // In the order of the bench, whatever order was typed.
    return given.length === 0 ? scenarios : scenarios.filter((name) => given.includes(name));
  };
  /** Another machine's speed is nobody's bar here, and a bench sends nothing out of this one. */
  const readUrl = (name: string, protocols: readonly string[]) => {
    const url = text(name);
    if (url === undefined) return undefined;
    const { protocol, hostname } = URL.canParse(url)
      ? new URL(url)
      : { protocol: "", hostname: "" };
    if (!protocols.includes(protocol) || !LOOPBACK.has(hostname)) {
      const beginning = `${protocols[0]}//`;
      throw new SettingsError(
        `${name} must be a URL that begins with ${beginning} and names this machine (127.0.0.1).`,
      );
    }
    return url;
  };
  const logLevel = text("LOG_LEVEL") ?? "info";
  if (!LOG_LEVELS.some((level) => level === logLevel)) {
    throw new SettingsError(`LOG_LEVEL must be one of ${LOG_LEVELS.join(", ")}.`);
  }
  return {
    seconds: readSeconds(),
    only: readOnly(),
    databaseUrl: readUrl("BENCH_DATABASE_URL", ["postgres:", "postgresql:"]),
    natsUrl: readUrl("BENCH_NATS_URL", ["nats:"]) ?? "nats://127.0.0.1:4222",
    logLevel,
  };
}
