/** The database of a bench: an embedded one of its own, or an empty one on this machine that it is given. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { startEmbeddedPostgres } from "../lib/embedded-postgres";
import { newId } from "../lib/ids";
import { HOST, sessionId, userId } from "./people";
import { SettingsError } from "./settings";

const PROGRAM = join(process.cwd(), "dist/tasks.js");
/** Rows written with one statement. */
const CHUNK = 10_000;

/** Runs one statement of the bench itself. */
export interface Queries {
  query<Row extends object>(sql: string, values?: unknown[]): Promise<Row[]>;
}

export interface BenchDatabase extends Queries {
  readonly url: string;
  /** Of the bench's own server; undefined for one that it was given. */
  readonly dataPath: string | undefined;
  readonly version: string;
  /** Brings what was written to disk, so that the server does not do it in the middle of a measurement. */
  settle(): Promise<void>;
}

/** Brackets the folder for everything that a bench writes but its results. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "marquee-bench-"));
  // The account that runs PostgreSQL for root must reach it.
  await chmod(folder, 0o755);
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Brackets a migrated, otherwise empty database with a connection for the bench itself. */
export async function withDatabase<T>(
  { given, folder }: { given: string | undefined; folder: string },
  work: (database: BenchDatabase) => Promise<T>,
): Promise<T> {
  if (given === undefined) return withEmbedded(folder, work);
  await withClient(given, checkEmpty);
  try {
    return await prepared({ url: given, adminUrl: undefined, dataPath: undefined }, work);
  } finally {
    await task(given, "migrate:undo", "--all");
  }
}

async function withEmbedded<T>(
  folder: string,
  work: (database: BenchDatabase) => Promise<T>,
): Promise<T> {
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, "database"),
    log: () => {},
  });
  try {
    return await prepared(server, work);
  } finally {
    await server.stop();
    // Beside the folder where PostgreSQL's account could not reach it.
    await rm(dirname(server.dataPath), { recursive: true, force: true, maxRetries: 5 });
  }
}

async function prepared<T>(
  server: { url: string; adminUrl: string | undefined; dataPath: string | undefined },
  work: (database: BenchDatabase) => Promise<T>,
): Promise<T> {
  const { url, adminUrl, dataPath } = server;
  await task(url, "migrate");
  return withClient(url, async (client) => {
    const query: BenchDatabase["query"] = async (sql, values) =>
      (await client.query(sql, values)).rows;
    const settle = async () => {
      // A checkpoint is for administrators, and a server that we were given has its own.
      if (adminUrl) await withClient(adminUrl, (admin) => admin.query("CHECKPOINT"));
    };
    const version = await checkDurable(query);
    return work({ url, dataPath, version, query, settle });
  });
}

export async function withClient<T>(
  connectionString: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString, application_name: "marquee-bench" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Brings the tables up to date, or takes them away, as an operator would. */
async function task(url: string, ...command: string[]): Promise<void> {
  await promisify(execFile)(process.execPath, [PROGRAM, ...command], {
    // Where there is no .env of somebody's own.
    cwd: dirname(PROGRAM),
    env: { PATH: process.env.PATH, DATABASE_URL: url },
  });
}

/** @throws SettingsError for a database in which there is something */
async function checkEmpty(client: Client): Promise<void> {
  // The lists of steps stay when all steps have been taken back, as the bench before did.
  const { rowCount } = await client.query(
    `SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname NOT IN ('migrations', 'seeders') LIMIT 1`,
  );
  if (rowCount) {
    throw new SettingsError("BENCH_DATABASE_URL must name an empty database: it is filled.");
  }
}

/** @throws SettingsError for a server that answers before it is on disk: its figures would mean nothing */
async function checkDurable(query: BenchDatabase["query"]): Promise<string> {
  const names = ["fsync", "synchronous_commit", "full_page_writes"];
  const rows = await query<{ name: string; setting: string }>(
    "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) AND setting <> 'on'",
    [names],
  );
  if (rows.length > 0) {
    const found = rows.map(({ name, setting }) => `${name} = ${setting}`).join(", ");
    throw new SettingsError(`The server of the bench must keep what it has committed: ${found}.`);
  }
  const [server] = await query<{ version: string }>(
    "SELECT current_setting('server_version') AS version",
  );
  return server?.version ?? "unknown";
}

/** Writes the host and so many attendees with living sessions; nobody could sign in by password. */
export async function addPeople(
  database: Queries,
  attendees: number,
  stopping: AbortSignal,
): Promise<void> {
  for (let from = HOST; from <= attendees; from += CHUNK) {
    stopping.throwIfAborted();
    const size = Math.min(CHUNK, attendees + 1 - from);
    const numbers = Array.from({ length: size }, (_, i) => from + i);
    const ids = numbers.map(userId);
    await database.query(
      `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
       SELECT id, 'Person ' || n, n || '@example.org', CASE n WHEN ${HOST} THEN 'host' ELSE 'attendee' END,
              'none', now(), now()
         FROM unnest($1::uuid[], $2::int[]) AS made (id, n)`,
      [ids, numbers],
    );
    await database.query(
      `INSERT INTO sessions (id, user_id, created_at, expires_at)
       SELECT id, user_id, now(), now() + interval '1 day' FROM unnest($1::uuid[], $2::uuid[]) AS made (id, user_id)`,
      [numbers.map(sessionId), ids],
    );
  }
  // Now rather than by itself in the middle of a measurement.
  await database.query("VACUUM ANALYZE users");
  await database.query("VACUUM ANALYZE sessions");
}

/** Lets nobody who is there want mails of their bookings. */
export async function wantNoMails(database: Queries): Promise<void> {
  await database.query(
    `INSERT INTO notification_preferences (user_id, type, channel, enabled)
     SELECT id, type, 'email', false FROM users, unnest(ARRAY['booking.confirmed', 'event.cancelled']) AS type`,
  );
  await database.query("VACUUM ANALYZE notification_preferences");
}

/** Writes published, free events of the host's, a month from now; gives their ids. */
export async function addEvents(
  database: Queries,
  count: number,
  capacity: number,
): Promise<string[]> {
  const ids = Array.from({ length: count }, newId);
  await database.query(
    `INSERT INTO events (id, host_id, title, location, start_date_time, end_date_time, time_zone, capacity, price,
                         tags, status, created_at, updated_at)
     SELECT id, $2, 'An evening of the bench', 'Town hall', now() + interval '30 days', now() + interval '31 days',
            'UTC', $3, 0, '{}', 'published', now(), now()
       FROM unnest($1::uuid[]) AS made (id)`,
    [ids, userId(HOST), capacity],
  );
  return ids;
}
