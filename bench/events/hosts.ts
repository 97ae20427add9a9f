/** Hosts of the events' bench, and what they do. */
import { createSecretKey } from "node:crypto";
import type { Bench } from "../bench";
import { openConnection } from "../connection";
import type { Queries } from "../database";
import { HOST, sessionId, tokenOf, userId } from "../people";
import type { System } from "../system";

export const FOLLOWERS = 100_000;
/** Rows written with one statement. */
const CHUNK = 10_000;

/** Lets the first of the crowd follow the host. */
export async function addFollowers({ database, crowd, stopping }: Bench): Promise<void> {
  if (crowd < FOLLOWERS) throw new Error(`Only ${crowd} people, who are too few to follow`);
  await database.query("DELETE FROM follows");
  for (let from = 1; from <= FOLLOWERS; from += CHUNK) {
    stopping.throwIfAborted();
    const ids = Array.from({ length: Math.min(CHUNK, FOLLOWERS + 1 - from) }, (_, i) =>
      userId(from + i),
    );
    await database.query(
      `INSERT INTO follows (id, follower_id, host_id, created_at)
       SELECT gen_random_uuid(), id, $2, now() FROM unnest($1::uuid[]) AS made (id)`,
      [ids, userId(HOST)],
    );
  }
  await database.query("VACUUM ANALYZE follows");
}

/** A host whom nobody follows: the number after the last of the crowd. */
export async function addLonelyHost(database: Queries, crowd: number): Promise<number> {
  const n = crowd + 1;
  await database.query(
    `INSERT INTO users (id, name, email, role, password_hash, created_at, updated_at)
     VALUES ($1, 'Lonely host', 'lonely@example.org', 'host', 'none', now(), now()) ON CONFLICT DO NOTHING`,
    [userId(n)],
  );
  await database.query(
    `INSERT INTO sessions (id, user_id, created_at, expires_at)
     VALUES ($1, $2, now(), now() + interval '1 day') ON CONFLICT DO NOTHING`,
    [sessionId(n), userId(n)],
  );
  return n;
}

const NEW_EVENT = JSON.stringify({
  title: "An evening of the bench",
  location: "Town hall",
  startDateTime: new Date(Date.now() + 30 * 86_400_000),
  endDateTime: new Date(Date.now() + 30.2 * 86_400_000),
  capacity: 1000,
});

/** Publishes an event as a host; gives the milliseconds from the request to the answer. */
export async function publish(bench: Bench, { origin }: System, n: number): Promise<number> {
  const token = tokenOf(n, createSecretKey(Buffer.from(bench.jwtSecret)), "host");
  const headers = ["authorization", `Bearer ${token}`, "content-type", "application/json"];
  const connection = openConnection(origin);
  try {
    const startedAt = performance.now();
    const { status, body } = await connection.post("/api/events", headers, NEW_EVENT);
    const tookMs = performance.now() - startedAt;
    if (status !== 201) throw new Error(`An event was not published: ${status} ${body}`);
    return tookMs;
  } finally {
    await connection.close();
  }
}
