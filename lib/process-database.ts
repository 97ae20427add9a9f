import { resolve } from "node:path";
import { QueryTypes } from "sequelize";
import type { Config } from "./config";
import { startEmbeddedPostgres } from "./embedded-postgres";
import { runningEmbeddedUrl } from "./embedded-postgres/running";
import { isError, ServiceUnavailable } from "./errors";
import { OperatorError, unlessStopped } from "./program";
import { openForSteps } from "./steps";

/** The database that a process uses. */
export interface ProcessDatabase {
  readonly url: string;
  /** Whether this very process has started it. */
  readonly started: boolean;
  /** Comes with the operator's sentence when what was started here has ended without being stopped. */
  readonly lost: Promise<Error>;
  /** Stops what was started here; anybody else's database is left alone. */
  stop(): Promise<void>;
}

export interface ProcessDatabaseOptions {
  log: (line: string) => void;
  /** Gives up on a server that does not answer. */
  stopping: AbortSignal;
  /** Whether the embedded database of a Marquee that runs on the same folder will do; for tools. */
  share?: boolean;
}

const OLDEST_VERSION = 15;

/** For whatever takes our connection and does not speak PostgreSQL's language. */
const ANSWER_WITHIN_MS = 10_000;

/** Anybody else's database, which may come and go. */
const ofOthers = (url: string): ProcessDatabase => ({
  url,
  started: false,
  lost: new Promise(() => {}),
  stop: async () => {},
});

/**
 * Gives `DATABASE_URL` once it has been seen to work, or starts the embedded PostgreSQL under `DATA_DIR`.
 *
 * @throws OperatorError, EmbeddedPostgresError with a sentence for the operator
 */
export async function processDatabase(
  { databaseUrl, dataDir }: Config,
  { log, stopping, share = false }: ProcessDatabaseOptions,
): Promise<ProcessDatabase> {
  if (databaseUrl !== undefined) {
    await checkDatabase(databaseUrl, stopping);
    return ofOthers(databaseUrl);
  }
  const folder = resolve(dataDir);
  const running = share ? await runningEmbeddedUrl(folder) : undefined;
  if (running !== undefined) return ofOthers(running);
  const { url, lost, stop } = await startEmbeddedPostgres({ dataDir: folder, log });
  return { url, started: true, lost, stop };
}

/** What a server says of itself and of the role that we are there. */
interface Server {
  number: number;
  version: string;
  role: string;
  database: string;
  readOnly: boolean;
  mayCreate: boolean;
}

const ASK_SERVER = `
  SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
         current_user AS role, current_database() AS database,
         current_setting('transaction_read_only') = 'on' AS "readOnly",
         coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS "mayCreate"`;

/** Asks before anything is begun, because what migrations and services would say is no help to an operator. */
async function checkDatabase(url: string, stopping: AbortSignal): Promise<void> {
  const refuse = (reason: string) =>
    new OperatorError(`The database of DATABASE_URL, ${placeOf(url)}, cannot be used: ${reason}.`);
  // The driver would take the one that is called like the role, which is hardly what is meant.
  if (new URL(url).pathname.length < 2) throw refuse("the URL names no database");
  const database = openForSteps(url);
  const late = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    const rows = await unlessStopped(
      AbortSignal.any([stopping, late]),
      database.sequelize.query<Server>(ASK_SERVER, { type: QueryTypes.SELECT }),
    );
    const [server] = rows;
    if (!server) throw refuse("it does not answer like a PostgreSQL");
    if (server.number < OLDEST_VERSION * 10_000) {
      throw refuse(
        `it is PostgreSQL ${server.version}, and Marquee needs ${OLDEST_VERSION} or newer`,
      );
    }
    if (server.readOnly) throw refuse("it is read-only");
    if (!server.mayCreate) {
      throw refuse(
        `the role ${server.role} may not create tables in it; make it the owner ` +
          `(ALTER DATABASE "${server.database}" OWNER TO "${server.role}")`,
      );
    }
  } catch (error) {
    if (error === late.reason) throw refuse("it does not answer");
    throw error instanceof OperatorError ? error : refuse(reasonOf(error));
  } finally {
    await database.close();
  }
}

/** Where a URL leads, without the password in it. */
function placeOf(url: string): string {
  const { host, pathname, searchParams } = new URL(url);
  return `${host || searchParams.get("host") || "local"}${pathname}`;
}

const IN_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there",
  ENOTFOUND: "there is no machine of that name",
  EAI_AGAIN: "its name cannot be looked up",
  ETIMEDOUT: "it does not answer",
  EHOSTUNREACH: "it cannot be reached",
  ENETUNREACH: "it cannot be reached",
  ENOENT: "there is no such socket",
};

interface DatabaseError {
  name?: string;
  message?: string;
  original?: { code?: string; message?: string };
}

/** What umzug throws when one of its steps has thrown. */
interface FailedStep {
  migration?: { name: string };
  cause?: unknown;
}

function reasonOf(error: unknown): string {
  const { name, message, original } = error as DatabaseError;
  const said = original?.message || message || String(error);
  if (name === "SequelizeConnectionAcquireTimeoutError" || /^timeout expired/.test(said)) {
    return "it does not answer";
  }
  if (/client password must be a string/.test(said)) {
    return "it wants a password, and there is none in the URL";
  }
  // A server's own sentence ends without a full stop.
  return IN_WORDS[original?.code ?? ""] ?? said.replace(/\.$/, "");
}

/**
 * Makes the operator's sentence of what a database refused or could not do; anything else comes back as it is.
 *
 * @param doing what was tried, e.g. `migrate`
 */
export function explainedByDatabase(error: unknown, doing: string): unknown {
  if (isError(error, ServiceUnavailable)) {
    return new OperatorError(`${doing}: the database does not answer any more.`);
  }
  const { migration, cause } = error as FailedStep;
  const source = (migration ? cause : error) as DatabaseError;
  if (!source.name?.startsWith("Sequelize")) return error;
  const what = migration ? `${doing} (${migration.name})` : doing;
  return new OperatorError(`${what}: ${reasonOf(source)}.`, { cause: error });
}
