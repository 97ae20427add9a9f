import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { codeOf, EmbeddedPostgresError, messageOf } from "./errors";

/** Any number will do, as long as it is the same in every version of Marquee. */
export const KEY = "5577100214";

/** The server needs a moment to see that a killed process's session has ended. */
export const TAKEN_FOR_SURE_AFTER_MS = 1_000;

const REGAIN_EVERY_MS = 100;

/** For waiting that must not keep the process alive. */
const NO_REF = { ref: false };

export type Attempt =
  | { readonly outcome: "locked"; readonly client: Client }
  /** Another living Marquee has it */
  | { readonly outcome: "taken" }
  /** The server is starting, ending or gone */
  | { readonly outcome: "unreachable"; readonly reason: string };

/** Errors after which a later attempt on the same folder may succeed. */
const PASSING = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now: starting, recovering or ending
  "53300", // too_many_connections
  "08006", // connection_failure
]);

/** Whether the server went away, or was not ready, rather than refused what was asked. */
export function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  if (code !== undefined) return PASSING.has(code);
  // pg's own errors have no code.
  return /terminated|timeout|not queryable/i.test(messageOf(error));
}

/** A connection that never throws into the void: pg emits `error` when an idle one is cut. */
export async function connect(url: string, name: string): Promise<Client> {
  const client = new Client({
    connectionString: url,
    application_name: name,
    // PGSSLMODE of the environment is meant for another server; this one has no certificate.
    ssl: false,
    connectionTimeoutMillis: 5_000,
  });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/**
 * Tries to become the only Marquee on a database: an advisory lock of the session, which ends with
 * the session and so with the process, however that dies. Files with a pid in them cannot promise
 * that.
 *
 * @throws EmbeddedPostgresError when the server does not take our password
 */
export async function tryLock(adminUrl: string): Promise<Attempt> {
  let client: Client | undefined;
  try {
    client = await connect(adminUrl, "marquee-lock");
    const { rows } = await client.query<{ locked: boolean }>(
      `select pg_try_advisory_lock(${KEY}) as locked`,
    );
    if (rows[0]?.locked === true) return { outcome: "locked", client };
    await client.end();
    return { outcome: "taken" };
  } catch (error) {
    await client?.end().catch(() => undefined);
    const reason = messageOf(error);
    if (isPassing(error)) return { outcome: "unreachable", reason };
    const sentence =
      codeOf(error) === "28P01"
        ? "The embedded database does not accept the password in the credentials.json beside it: " +
          "bring back the file that belongs to it"
        : `The embedded database refuses to be opened: ${reason}`;
    throw new EmbeddedPostgresError(sentence, { cause: error });
  }
}

/** The lock, kept for as long as Marquee lives; gained again by itself when its connection is cut. */
export class InstanceLock {
  #client: Client | undefined;
  #state: "held" | "lost" | "taken" | "released" = "held";
  #regaining: Promise<void> | undefined;
  readonly #options: InstanceLockOptions;

  constructor(client: Client, options: InstanceLockOptions) {
    this.#options = options;
    this.#keep(client);
  }

  /**
   * Whether no other Marquee has taken the database over. One that is just being regained gets a
   * moment for it; true also for a server that nobody can reach any more.
   */
  async isOurs(): Promise<boolean> {
    await Promise.race([this.#regaining, sleep(2 * TAKEN_FOR_SURE_AFTER_MS, undefined, NO_REF)]);
    return this.#state !== "taken";
  }

  /** From here on the connection may be cut without a word: the server is about to end. */
  expectEnd(): void {
    this.#state = "released";
  }

  async release(): Promise<void> {
    this.expectEnd();
    await this.#client?.end().catch(() => undefined);
  }

  #keep(client: Client): void {
    this.#client = client;
    this.#state = "held";
    client.once("end", () => {
      if (this.#state !== "held") return;
      this.#state = "lost";
      this.#options.log("The connection that reserves the embedded database for us was cut");
      this.#regaining = this.#regain();
    });
    // Not a reason for a process to live on. The types lack this method of pg's.
    (client as Client & { unref(): void }).unref();
  }

  async #regain(): Promise<void> {
    const { adminUrl, serverRuns, serverEnded, log } = this.#options;
    let takenSince: number | undefined;
    while (this.#state === "lost") {
      if (!(await serverRuns())) {
        // Unless that is what somebody waits for by now.
        if (this.#state === "lost") serverEnded();
        return;
      }
      const attempt = await tryLock(adminUrl).catch(() => undefined);
      if (attempt?.outcome === "locked") {
        if (this.#state !== "lost") return void attempt.client.end().catch(() => undefined);
        this.#keep(attempt.client);
        log("The embedded database is reserved for us again");
      } else if (attempt?.outcome === "taken") {
        takenSince ??= Date.now();
        // Before, it may be our own session, which the server has not cleared away yet.
        if (Date.now() - takenSince > TAKEN_FOR_SURE_AFTER_MS && this.#state === "lost") {
          this.#state = "taken";
          log("Another Marquee has taken the embedded database over: stop one of the two");
        }
      }
      await sleep(REGAIN_EVERY_MS, undefined, NO_REF);
    }
  }
}

export interface InstanceLockOptions {
  readonly adminUrl: string;
  /** Whether the server that the lock was taken on still runs */
  readonly serverRuns: () => Promise<boolean>;
  /** Is told once when the server has ended and we did not end it */
  readonly serverEnded: () => void;
  readonly log: (line: string) => void;
}
