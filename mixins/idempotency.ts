/**
 * Idempotency keys: a request that is sent again with the same key has its effect once and gets the first
 * answer again. A key is written in the transaction of its effect, so there is never one without the other.
 */
import { hash } from "node:crypto";
import type { Clock } from "../lib/clock";
import type { Log } from "../lib/contract/define";
import {
  type Command,
  type Database,
  isLockTimeout,
  type Lock,
  type Query,
  sqlState,
  type Transaction,
  type TransactionOptions,
} from "../lib/database";
import { IdempotencyInProgress, IdempotencyKeyReused } from "../lib/errors";
import { removeInChunks } from "../lib/remove-in-chunks";
import { type RepeatedWork, repeat } from "../lib/repeated";

/** How long a key stands for its first request. */
export const KEY_LIFE_MS = 24 * 3_600_000;

/** A key as one user has sent it with one request. */
export interface IdempotencyKey {
  userId: string;
  key: string;
  /** SHA-256 of what is asked for: the same key with another request is a mistake of the client's. */
  fingerprint: Buffer;
}

/** @param params as the contract gives them, with the defaults filled in; in which order does not matter */
export function idempotencyKey(
  key: string | undefined,
  userId: string,
  action: string,
  params: object,
): IdempotencyKey | null {
  if (key === undefined) return null;
  const asked = JSON.stringify([action, params], inOrder);
  return { userId, key, fingerprint: hash("sha256", asked, "buffer") };
}

/** For JSON: the same object has the same text, however its fields were written down. */
const inOrder = (_name: string, value: unknown) =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(byName))
    : value;

const byName = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1);

/** What was answered the first time. */
export interface StoredAnswer<A> {
  userId: string;
  key: string;
  fingerprint: Buffer;
  answer: A;
}

// One by one, by their own names. A plan for all of them that is made while there are few keys reads all that are of
// today, for each batch anew, and stands until somebody analyzes the table.
const READ = `
  SELECT asked.user_id AS "userId", asked.key, k.fingerprint, k.answer
    FROM unnest($users::uuid[], $keys::text[]) AS asked (user_id, key)
   CROSS JOIN LATERAL (
     SELECT fingerprint, answer FROM idempotency_keys
      WHERE user_id = asked.user_id AND key = asked.key AND created_at > $since::timestamptz LIMIT 1) k`;

/** What has been answered under these keys and still stands. */
export function storedAnswers<A>(
  query: Query,
  keys: readonly IdempotencyKey[],
  now: Date,
): Promise<StoredAnswer<A>[]> {
  if (keys.length === 0) return Promise.resolve([]);
  return query<StoredAnswer<A>>(READ, {
    users: keys.map(({ userId }) => userId),
    keys: keys.map(({ key }) => key),
    since: new Date(now.getTime() - KEY_LIFE_MS),
  });
}

// One that has outlived its day gives way. One that stands must not, and a null is what the table refuses: so whoever
// was faster shows as an error, and what goes with this is not committed. Whoever writes the same key at the same
// time is waited for.
const WRITE = `
  INSERT INTO idempotency_keys AS k (user_id, key, fingerprint, answer, created_at)
  SELECT user_id, key, fingerprint, answer, $now::timestamptz
    FROM ROWS FROM (unnest($users::uuid[], $keys::text[], $fingerprints::bytea[]),
                    json_array_elements($answers::json)) AS asked (user_id, key, fingerprint, answer)
   ORDER BY user_id, key
      ON CONFLICT (user_id, key) DO UPDATE
     SET fingerprint = excluded.fingerprint, created_at = excluded.created_at,
         answer = CASE WHEN k.created_at <= $since::timestamptz THEN excluded.answer END
  RETURNING 1`;

/** A key that was free when its request began and is taken now: the request is to be decided anew. */
export class KeyTaken extends Error {}

/** PostgreSQL's code for «a null where there must be none». */
const NOT_NULL_VIOLATION = "23502";

function whyNotWritten(error: unknown): unknown {
  if (isLockTimeout(error)) return new IdempotencyInProgress({ retryAfter: 1 });
  return sqlState(error) === NOT_NULL_VIOLATION
    ? new KeyTaken("An idempotency key was taken meanwhile")
    : error;
}

/**
 * Writes answers in the transaction of what they tell of. Refused with KeyTaken when a request with the same key was
 * faster, with IdempotencyInProgress when one takes too long.
 */
export function answersCommands(answers: readonly StoredAnswer<object>[], now: Date): Command[] {
  if (answers.length === 0) return [];
  const bind = {
    users: answers.map(({ userId }) => userId),
    keys: answers.map(({ key }) => key),
    fingerprints: answers.map(({ fingerprint }) => fingerprint),
    // One document: in an array of PostgreSQL every quotation mark of theirs would have to be escaped.
    answers: JSON.stringify(answers.map(({ answer }) => answer)),
    now,
    since: new Date(now.getTime() - KEY_LIFE_MS),
  };
  return [{ sql: WRITE, bind, explain: whyNotWritten }];
}

/** @throws IdempotencyKeyReused where the key stands for another request */
export function checkSameRequest(key: IdempotencyKey, stored: { fingerprint: Buffer }): void {
  if (!key.fingerprint.equals(stored.fingerprint)) throw new IdempotencyKeyReused({});
}

async function storeAnswer(query: Query, answer: StoredAnswer<object>, now: Date): Promise<void> {
  for (const { sql, bind } of answersCommands([answer], now)) {
    await query(sql, bind).catch((error: unknown) => {
      throw whyNotWritten(error);
    });
  }
}

/**
 * Runs `effect` in a transaction unless its key has an answer already.
 *
 * @throws IdempotencyKeyReused, IdempotencyInProgress, and what `effect` throws, which is not stored
 */
export async function once<A extends object>(
  database: Database,
  key: IdempotencyKey | null,
  now: Date,
  effect: (query: Query, transaction: Transaction, lock: Lock) => Promise<A>,
  options?: TransactionOptions,
): Promise<{ answer: A; replayed: boolean }> {
  const answered = async (query: Query) => {
    const [stored] = key ? await storedAnswers<A>(query, [key], now) : [];
    if (!key || !stored) return undefined;
    checkSameRequest(key, stored);
    return { answer: stored.answer, replayed: true };
  };
  try {
    return await database.transaction(async (transaction, lock) => {
      const query: Query = (sql, bind) => database.query(sql, bind, transaction);
      const before = await answered(query);
      if (before) return before;
      const answer = await effect(query, transaction, lock);
      if (key) await storeAnswer(query, { ...key, answer }, now);
      return { answer, replayed: false };
    }, options);
  } catch (error) {
    // The effect of the same request may be why this one was refused, whatever the refusal says.
    const meanwhile = await answered((sql, bind) => database.query(sql, bind));
    if (meanwhile) return meanwhile;
    throw error;
  }
}

const FORGET_EVERY_MS = 600_000;

const FORGET = `
  DELETE FROM idempotency_keys WHERE (user_id, key) IN (
    SELECT user_id, key FROM idempotency_keys WHERE created_at <= $since LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

/** Forgets keys that stand for nothing any more. */
export const forgetOldKeys = (database: Database, clock: Clock, log: Log): RepeatedWork =>
  repeat({
    pauseMs: FORGET_EVERY_MS,
    log,
    failed: "Old idempotency keys could not be removed",
    work: (stopping) =>
      removeInChunks(
        database,
        { sql: FORGET, bind: { since: new Date(clock.now().getTime() - KEY_LIFE_MS) } },
        stopping,
      ),
  });

/**
 * Forgets the answers that name a person: their own, and those in which others were told of them as a host. Walks
 * all keys, of which there are those of a day.
 */
export async function forgetAnswersWith(database: Database, userId: string): Promise<void> {
  await database.query(
    `DELETE FROM idempotency_keys
      WHERE user_id = $userId::text::uuid OR strpos(answer::text, $userId::text) > 0 RETURNING key`,
    { userId },
  );
}
