/**
 * Messages on their way out of the system: a row for each notice and channel, from when it is decided that there is to
 * be one. Whoever stores notices only notes that they are to go out (dispatches), a row for all of one statement.
 */
import { backOffMs, storableWords } from "../../lib/attempts";
import type { Database } from "../../lib/database";
import { IN_ORDER } from "../../mixins/channels";
import { wants } from "./notifications.preferences";
import type { Notice, NotificationType } from "./notifications.rules";
import { ID_AT } from "./notifications.statements";
import type { Subject } from "./outdated.rules";
import {
  type DeliveryStatus,
  OUTWARD,
  type OutwardChannel,
  WANTED_BY_DEFAULT,
} from "./preferences.rules";
import type { PushSubscription } from "./senders/sender";

/** So long whoever has claimed a delivery may take for it; then another node tries. */
const LEASE_MS = 300_000;
/** Half a day and more after the first attempt. */
export const MOST_ATTEMPTS = 24;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 3_600_000;
/** So long it is remembered what was sent to whom. */
const REMEMBERED_DAYS = 30;

/** One message, claimed by this process. */
export interface Delivery {
  id: string;
  channel: OutwardChannel;
  attempts: number;
}

/** What it says, and to whom, as it is now. */
export interface Outgoing {
  deliveryId: string;
  notificationId: string;
  userId: string;
  channel: OutwardChannel;
  name: string;
  email: string;
  phone: string | null;
  type: NotificationType;
  title: string;
  body: string;
  data: Notice["data"];
  eventId: string | null;
  createdAt: Date;
  /** The event as it is now; null where there is none any more. */
  event: Subject["event"];
  /** Of a reminder: whether its recipient still has seats. */
  hasSeats: boolean;
  /** The browser that a push message is for. */
  subscription: PushSubscription | null;
  /** Whether its recipient still wants it, and has an address that takes it. */
  wanted: boolean;
}

/**
 * SQL: where a person `u` is reached on each channel; null where they are not. Of push each browser has a message of its
 * own: who has taken it must not get it again because another one has not.
 */
const ADDRESSES: Readonly<Record<OutwardChannel, string>> = {
  email: "lower(u.email), NULL::uuid, NULL, NULL",
  sms: "u.phone, NULL, NULL, NULL",
  push: `s.endpoint, s.id, s.p256dh, s.auth FROM push_subscriptions s
          WHERE s.user_id = u.id AND (s.expires_at IS NULL OR s.expires_at > now())`,
};
const REACHED_BY = `(${OUTWARD.map(
  (channel) => `SELECT '${channel}', ${WANTED_BY_DEFAULT[channel]}, ${ADDRESSES[channel]}`,
).join(" UNION ALL ")}) AS c (channel, by_default, address, subscription_id, p256dh, auth)`;
const WANTED = (userId: string, type: string) => `
  c.address IS NOT NULL AND ${wants(userId, type, "c.channel", "c.by_default")}
  AND (SELECT true FROM refused_addresses r
        WHERE r.user_id = ${userId} AND r.channel = c.channel AND r.address = c.address LIMIT 1) IS NULL`;

// The notices are locked against their users' erasure alone, so that their rows are there for the foreign key; those
// that go first are not found. Not a join with users: for some hundred people the planner would read all there are.
const DISPATCH = `
  WITH next AS MATERIALIZED (
    SELECT urgency, id FROM dispatches ORDER BY urgency, id LIMIT 1 FOR UPDATE SKIP LOCKED),
  taken AS (
    DELETE FROM dispatches d USING next WHERE d.urgency = next.urgency AND d.id = next.id
    RETURNING d.urgency, d.notification_ids),
  notices AS MATERIALIZED (
    SELECT n.id, n.user_id, n.type FROM notifications n
     WHERE n.id = ANY ((SELECT notification_ids FROM taken)::uuid[]) ORDER BY n.id FOR KEY SHARE),
  made AS (
    INSERT INTO deliveries (id, notification_id, user_id, channel, subscription_id, urgency, next_try_at, created_at)
    SELECT ${ID_AT("now()")}, n.id, n.user_id, c.channel, c.subscription_id, (SELECT urgency FROM taken), now(), now()
      FROM notices n
     CROSS JOIN LATERAL (
       SELECT id, email, phone FROM users WHERE id = n.user_id AND deleted_at IS NULL LIMIT 1) AS u
     CROSS JOIN LATERAL ${REACHED_BY}
     WHERE c.channel = ANY ($channels::text[]) AND ${WANTED("n.user_id", "n.type")}
    ON CONFLICT (notification_id, channel, subscription_id) DO NOTHING)
  SELECT id FROM taken, next`;

// An attempt counts from here on: one that ends its process must not be made for ever.
const CLAIM = `
  UPDATE deliveries d SET attempts = d.attempts + 1, next_try_at = now() + $leaseMs * interval '1 millisecond'
    FROM (SELECT id FROM deliveries
           WHERE status = 'pending' AND next_try_at <= now() AND channel = $channel
           ORDER BY urgency, next_try_at LIMIT $most FOR UPDATE SKIP LOCKED) AS due
   WHERE d.id = due.id
  RETURNING d.id, d.channel, d.attempts`;

const FIND = `
  SELECT d.id AS "deliveryId", d.notification_id AS "notificationId", d.user_id AS "userId", d.channel,
         u.name, u.email, u.phone, n.type, n.title, n.body, n.data, n.event_id AS "eventId",
         n.created_at AS "createdAt", CASE WHEN c.subscription_id IS NOT NULL THEN
           json_build_object('endpoint', c.address, 'keys', json_build_object('p256dh', c.p256dh, 'auth', c.auth))
         END AS subscription, ${WANTED("d.user_id", "n.type")} AS wanted,
         e.status AS "eventStatus", e.start_date_time AS "startsAt", e.end_date_time AS "endsAt",
         n.type = 'event.reminder' AND EXISTS (
           SELECT FROM bookings b
            WHERE b.user_id = d.user_id AND b.event_id = n.event_id AND b.status = 'confirmed') AS "hasSeats"
    FROM deliveries d
    JOIN notifications n ON n.id = d.notification_id
    JOIN users u ON u.id = d.user_id AND u.deleted_at IS NULL
    LEFT JOIN events e ON e.id = n.event_id AND e.deleted_at IS NULL
   CROSS JOIN LATERAL ${REACHED_BY}
   WHERE d.id = $id AND d.status = 'pending' AND c.channel = d.channel
     AND c.subscription_id IS NOT DISTINCT FROM d.subscription_id`;

const SETTLE = `
  UPDATE deliveries SET status = $status, error = $error, settled_at = now()
   WHERE id = $id AND status = 'pending' RETURNING id`;
// Not where another node has claimed it since.
const TRY_LATER = `
  UPDATE deliveries SET error = $error, next_try_at = now() + $afterMs * interval '1 millisecond'
   WHERE id = $id AND status = 'pending' AND attempts = $attempts RETURNING id`;
// As if it had not been tried.
const POSTPONE = `
  UPDATE deliveries SET attempts = attempts - 1, error = $error,
         next_try_at = now() + $afterMs * interval '1 millisecond'
   WHERE id = $id AND status = 'pending' AND attempts = $attempts RETURNING id`;
const RELEASE = `
  UPDATE deliveries d SET attempts = d.attempts - 1, next_try_at = now()
    FROM unnest($ids::uuid[], $attempts::int[]) AS claimed (id, attempts)
   WHERE d.id = claimed.id AND d.status = 'pending' AND d.attempts = claimed.attempts RETURNING d.id`;
// Settled only with the refusal noted: whoever holds the person's row meanwhile must not make it forgotten.
const REFUSE = `
  WITH person AS MATERIALIZED (
    SELECT u.id FROM users u
     WHERE u.id = (SELECT user_id FROM deliveries WHERE id = $id::uuid) AND u.deleted_at IS NULL
       FOR KEY SHARE SKIP LOCKED),
  refused AS (
    INSERT INTO refused_addresses (user_id, channel, address, error, refused_at)
    SELECT id, $channel, CASE WHEN $channel = 'email' THEN lower($address) ELSE $address END, $error, now()
      FROM person
    ON CONFLICT (user_id, channel, address) DO NOTHING)
  UPDATE deliveries SET status = $status, error = $error, settled_at = now()
   WHERE id = $id AND status = 'pending' AND EXISTS (SELECT FROM person) RETURNING id`;

// Of a browser that has gone; what else was to be sent there finds it gone.
const REFUSE_BROWSER = `
  WITH gone AS (
    DELETE FROM push_subscriptions s USING deliveries d WHERE d.id = $id::uuid AND s.id = d.subscription_id)
  ${SETTLE}`;

const LIST = `
  SELECT d.id, d.notification_id AS "notificationId", d.user_id AS "userId", d.channel, n.type, d.status, d.attempts,
         d.error, CASE WHEN d.status = 'pending' THEN d.next_try_at END AS "nextTryAt", d.created_at AS "createdAt",
         d.settled_at AS "settledAt"
    FROM deliveries d JOIN notifications n ON n.id = d.notification_id
   WHERE ($status::text IS NULL OR d.status = $status) AND ($userId::uuid IS NULL OR d.user_id = $userId::uuid)
     AND ($channel::text IS NULL OR d.channel = $channel)
   ORDER BY d.created_at DESC, d.id LIMIT $most`;

// What one refused may take again, as after a mailbox was mended: only where an operator names the message.
const RETRY = `
  WITH again AS (
    UPDATE deliveries SET status = 'pending', attempts = 0, next_try_at = now(), settled_at = NULL
     WHERE ($id::uuid IS NULL AND status = 'failed') OR (id = $id::uuid AND status IN ('failed', 'refused', 'dropped'))
    RETURNING id, user_id, channel),
  forgiven AS (
    DELETE FROM refused_addresses r USING again a
     WHERE $id::uuid IS NOT NULL AND r.user_id = a.user_id AND r.channel = a.channel)
  SELECT id FROM again`;

const UNKNOWN =
  "SELECT unnest($ids::uuid[]) AS id EXCEPT SELECT id FROM deliveries WHERE id = ANY ($ids::uuid[])";

const FORGET_OLD = `
  DELETE FROM deliveries WHERE id IN (
    SELECT id FROM deliveries WHERE settled_at < now() - interval '${REMEMBERED_DAYS} days'
     LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING id`;
// Nobody sees these, and what they were for is done.
const FORGET_HIDDEN = `
  DELETE FROM notifications WHERE id IN (
    SELECT n.id FROM notifications n
     WHERE n.hidden AND n.created_at < now() - interval '${REMEMBERED_DAYS} days'
       AND NOT EXISTS (SELECT FROM deliveries d WHERE d.notification_id = n.id)
     LIMIT $chunk FOR UPDATE SKIP LOCKED)
  RETURNING id`;
/** Each removes a chunk of what is old enough to be forgotten. */
export const FORGET = [FORGET_OLD, FORGET_HIDDEN];

/** How long until a message is tried again: twice as long each time, and never all at once. */
const retryAfterMs = (attempts: number): number =>
  backOffMs(attempts, { firstMs: FIRST_RETRY_MS, longestMs: LONGEST_RETRY_MS });

const wordsOf = (error: unknown): string =>
  storableWords(error instanceof Error ? error.message : String(error));

type FoundRow = Omit<Outgoing, "event"> & {
  eventStatus: string | null;
  startsAt: Date | null;
  endsAt: Date | null;
};
interface ListedRow {
  id: string;
  notificationId: string;
  userId: string;
  channel: OutwardChannel;
  type: NotificationType;
  status: DeliveryStatus;
  attempts: number;
  error: string | null;
  nextTryAt: Date | null;
  createdAt: Date;
  settledAt: Date | null;
}

export function deliveriesStore(database: Database) {
  const { query } = database;
  const settle = async (id: string, status: DeliveryStatus, error: string | null) =>
    (await query(SETTLE, { id, status, error })).length > 0;
  const unknown = async (ids: readonly string[]): Promise<string[]> => {
    const rows = await query<{ id: string }>(UNKNOWN, { ids });
    return rows.map(({ id }) => id);
  };

  /** Later again, and it costs no attempt: nobody was asked, or nobody for whom this message counts. */
  const postpone = async ({ id, attempts }: Delivery, error: unknown, leastMs = 0) => {
    const afterMs = Math.max(retryAfterMs(1), leastMs);
    await query(POSTPONE, { id, attempts, error: wordsOf(error), afterMs });
  };

  return {
    postpone,

    /** Decides of some notices which messages there are to be; false where there were none. */
    async dispatchSome(channels: readonly OutwardChannel[]): Promise<boolean> {
      return (await query(DISPATCH, { channels })).length > 0;
    },

    /** Takes some that are due, the urgent first; nobody else does while it may take. */
    claim: (channel: OutwardChannel, most: number): Promise<Delivery[]> =>
      database.transaction(
        async (transaction) => {
          // The planner does not know how many have just been made: it would read and sort all there are for a few.
          await query(IN_ORDER, {}, transaction);
          return query<Delivery>(CLAIM, { channel, most, leaseMs: LEASE_MS }, transaction);
        },
        { ahead: true },
      ),

    /** Gives back what was claimed and not tried. */
    async release(deliveries: readonly Delivery[]): Promise<void> {
      const ids = deliveries.map(({ id }) => id);
      await query(RELEASE, { ids, attempts: deliveries.map(({ attempts }) => attempts) });
    },

    /** Undefined where it is gone, or whom it was for is. */
    async find(id: string): Promise<Outgoing | undefined> {
      const [row] = await query<FoundRow>(FIND, { id });
      if (!row) return undefined;
      const { eventStatus: status, startsAt, endsAt, ...outgoing } = row;
      const event = status && startsAt && endsAt ? { status, startsAt, endsAt } : null;
      return { ...outgoing, event };
    },

    /** False where it is gone: whom it was for was erased meanwhile. Another node may have sent it as well. */
    sent: async (id: string): Promise<boolean> =>
      (await settle(id, "sent", null)) || (await unknown([id])).length === 0,

    async drop(id: string, why: string): Promise<void> {
      await settle(id, "dropped", why);
    },

    /**
     * Later again, or never after the last attempt.
     *
     * @param leastMs so long whoever did not take it wants to be left alone
     */
    async failed(
      { id, attempts }: Delivery,
      error: unknown,
      leastMs = 0,
    ): Promise<{ isLast: boolean }> {
      const isLast = attempts >= MOST_ATTEMPTS;
      const words = wordsOf(error);
      if (isLast) await settle(id, "failed", words);
      else {
        const afterMs = Math.max(retryAfterMs(attempts), leastMs);
        await query(TRY_LATER, { id, attempts, error: words, afterMs });
      }
      return { isLast };
    },

    /** It is not tried again. */
    async giveUp(id: string, error: unknown): Promise<void> {
      await settle(id, "failed", wordsOf(error));
    },

    /** Nothing more goes there; noted later where somebody else holds the person's row. */
    async refused(delivery: Delivery, address: string, error: unknown): Promise<void> {
      const { id, channel } = delivery;
      const bind = { id, error: wordsOf(error), status: "refused" };
      if (channel === "push") await query(REFUSE_BROWSER, bind);
      else if ((await query(REFUSE, { ...bind, channel, address })).length === 0) {
        await postpone(delivery, error);
      }
    },

    /** The newest first. */
    async list({
      most,
      ...which
    }: {
      status?: DeliveryStatus;
      userId?: string;
      channel?: OutwardChannel;
      most: number;
    }) {
      const { status = null, userId = null, channel = null } = which;
      const rows = await query<ListedRow>(LIST, { status, userId, channel, most });
      return rows.map(({ nextTryAt, createdAt, settledAt, ...row }) => ({
        ...row,
        nextTryAt: nextTryAt?.toISOString() ?? null,
        createdAt: createdAt.toISOString(),
        settledAt: settledAt?.toISOString() ?? null,
      }));
    },

    /** One, or all that have failed, from the first attempt on; gives how many those are. */
    async retry(id: string | undefined): Promise<number> {
      return (await query(RETRY, { id: id ?? null })).length;
    },

    /** Which of these are not known any more. */
    unknown,

    /** Forgets what went to somebody, and where they refused it; gives the ids of those messages. */
    async forgetUser(userId: string): Promise<string[]> {
      await query("DELETE FROM refused_addresses WHERE user_id = $userId", { userId });
      const rows = await query<{ id: string }>(
        "DELETE FROM deliveries WHERE user_id = $userId RETURNING id",
        { userId },
      );
      return rows.map(({ id }) => id);
    },
  };
}

export type DeliveriesStore = ReturnType<typeof deliveriesStore>;
