/** Browsers in which people want to be told. An endpoint is one browser's, and belongs to who signed in there last. */
import type { Clock } from "../../lib/clock";
import type { Config } from "../../lib/config";
import type { Caller, Meta } from "../../lib/contract/define";
import type { Database, Query } from "../../lib/database";
import { ValidationFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { whyAbsent } from "../../mixins/held-users";
import { idempotencyKey, once } from "../../mixins/idempotency";
import { PushNotAvailable } from "./notifications.push-actions";
import { reach } from "./senders/push-reach";
import type { PushSubscription } from "./senders/sender";

/** As many browsers as somebody may have in use; of more the oldest go. */
export const MOST_SUBSCRIPTIONS = 20;

interface Asked extends PushSubscription {
  expirationTime?: number | null;
}
interface Row {
  id: string;
  endpoint: string;
  expiresAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

/** Of one person's requests at once the later count what the earlier have written. Only these wait for each other. */
const LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('push ' || $userId, 0))";

// For the lock of the user see mixins/held-users.ts. Whoever takes over another one's browser has a subscription of
// their own: what was to be sent to that other person by the old one is not theirs.
const SAVE = `
  INSERT INTO push_subscriptions AS s (id, user_id, endpoint, p256dh, auth, expires_at, created_at, updated_at)
  SELECT $id::uuid, u.id, $endpoint, $p256dh, $auth, $expiresAt::timestamptz, $now::timestamptz, $now::timestamptz
    FROM users u WHERE u.id = $userId::uuid AND u.deleted_at IS NULL FOR KEY SHARE SKIP LOCKED
  ON CONFLICT (endpoint) DO UPDATE
     SET id = CASE WHEN s.user_id = excluded.user_id THEN s.id ELSE excluded.id END,
         created_at = CASE WHEN s.user_id = excluded.user_id THEN s.created_at ELSE excluded.created_at END,
         user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth,
         expires_at = excluded.expires_at, updated_at = excluded.updated_at
  RETURNING id, endpoint, expires_at AS "expiresAt", created_at AS "createdAt", updated_at AS "updatedAt"`;

const KEEP_NEWEST = `
  DELETE FROM push_subscriptions WHERE id IN (
    SELECT id FROM push_subscriptions WHERE user_id = $userId ORDER BY updated_at DESC, id DESC OFFSET $most)`;

export function pushSubscriptions(
  database: Database,
  { clock, config }: { clock: Clock; config: Pick<Config, "push"> },
) {
  const whom = reach(config.push?.privateNetworks ?? []);

  const save = async (query: Query, { endpoint, expirationTime, keys }: Asked, userId: string) => {
    await query(LOCK, { userId });
    const [row] = await query<Row>(SAVE, {
      ...keys,
      userId,
      endpoint,
      id: newId(),
      now: clock.now(),
      expiresAt: typeof expirationTime === "number" ? new Date(expirationTime) : null,
    });
    if (!row) throw await whyAbsent(query, userId);
    await query(KEEP_NEWEST, { userId, most: MOST_SUBSCRIPTIONS });
    return {
      id: row.id,
      endpoint: row.endpoint,
      expirationTime: row.expiresAt?.getTime() ?? null,
      createdAt: row.createdAt.toISOString(),
      updatedAt: row.updatedAt.toISOString(),
    };
  };

  return {
    /** @throws PushNotAvailable where this server has none */
    key(): string {
      if (!config.push) throw new PushNotAvailable({});
      return config.push.publicKey;
    },

    /**
     * @throws ValidationFailed for an endpoint that only this server could reach; PushNotAvailable; Unauthenticated for
     *   who was erased meanwhile
     */
    async subscribe(asked: Asked, meta: Meta, caller: Caller) {
      if (!config.push) throw new PushNotAvailable({});
      if (!whom.mayLead(new URL(asked.endpoint))) {
        const message = "must be a URL with https that leads to a push service on the internet";
        throw new ValidationFailed({ errors: [{ field: "endpoint", message }] });
      }
      const action = "notifications.subscribeToPush";
      const key = idempotencyKey(meta.idempotencyKey, caller.id, action, asked);
      const { answer, replayed } = await once(database, key, clock.now(), (query) =>
        save(query, asked, caller.id),
      );
      meta.idempotencyReplayed = replayed;
      return answer;
    },

    /** Also where there is none; somebody else's stays. */
    async unsubscribe(endpoint: string, userId: string): Promise<void> {
      await database.query(
        "DELETE FROM push_subscriptions WHERE endpoint = $endpoint AND user_id = $userId",
        { endpoint, userId },
      );
    },

    /** Forgets every browser of a person. */
    async forget(userId: string): Promise<void> {
      await database.query("DELETE FROM push_subscriptions WHERE user_id = $userId", { userId });
    },
  };
}
