import type { OutboxEvent } from "../../lib/contract/outbox-event";
import type { Database, Query } from "../../lib/database";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest } from "../../lib/list";
import { writeOutbox } from "../../mixins/outbox";
import { MOST_NEW_AT_ONCE, NotificationNotFound } from "./notifications.contract";
import { defineNotification } from "./notifications.model";
import type { Audience, Notice, NotificationType } from "./notifications.rules";
import {
  DISPATCH,
  ID_AT,
  IS_FREE,
  IS_HIDDEN,
  IS_THERE,
  MEMBERS_OF,
  TOLD_AT_ONCE,
} from "./notifications.statements";

/** What one person is told of one occurrence. */
export interface PersonalNotice {
  userId: string;
  occurrenceId: string;
  notice: Notice;
  /** The request in which it began. */
  correlationId?: string | null | undefined;
}

interface NotificationRow {
  id: string;
  type: NotificationType;
  title: string;
  body: string;
  data: Notice["data"];
  eventId: string | null;
  isRead: boolean;
  createdAt: Date;
}

const COLUMNS = `n.id, n.type, n.title, n.body, n.data, n.event_id AS "eventId", n.is_read AS "isRead",
  n.created_at AS "createdAt"`;

const toNotification = ({
  id,
  type,
  title,
  body,
  data,
  eventId,
  isRead,
  createdAt,
}: NotificationRow) => ({
  id,
  type,
  title,
  body,
  data,
  eventId,
  isRead,
  createdAt: createdAt.toISOString(),
});

export function notificationsStore(database: Database) {
  const notifications = defineNotification(database.sequelize);

  const addEach = async (
    query: Query,
    entries: readonly PersonalNotice[],
    now: Date,
    heldBack: (one: PersonalNotice) => OutboxEvent,
  ): Promise<void> => {
    if (entries.length === 0) return;
    const held = await query<{ userId: string }>(
      `WITH made AS MATERIALIZED (
         SELECT one.*, ${IS_FREE("one.user_id")} AS free
           FROM ROWS FROM (
                  unnest($ids::uuid[], $userIds::uuid[], $occurrenceIds::uuid[], $types::text[], $titles::text[],
                         $bodies::text[], $eventIds::uuid[]),
                  json_array_elements($data::json))
             AS one (id, user_id, occurrence_id, type, title, body, event_id, data)),
       told AS (
         INSERT INTO notifications (id, user_id, occurrence_id, type, title, body, event_id, data, created_at, hidden)
         SELECT id, user_id, occurrence_id, type, title, body, event_id, data, $now,
                ${IS_HIDDEN("made.user_id", "made.type")}
           FROM made WHERE free
         ON CONFLICT (user_id, occurrence_id) DO NOTHING RETURNING id),
       dispatched AS (${DISPATCH("told", 0)})
       SELECT user_id AS "userId" FROM made WHERE free IS NULL AND ${IS_THERE("user_id")}`,
      {
        now,
        dispatchId: newId(),
        ids: entries.map(() => newId()),
        userIds: entries.map(({ userId }) => userId),
        occurrenceIds: entries.map(({ occurrenceId }) => occurrenceId),
        types: entries.map(({ notice }) => notice.type),
        titles: entries.map(({ notice }) => notice.title),
        bodies: entries.map(({ notice }) => notice.body),
        eventIds: entries.map(({ notice }) => notice.eventId),
        data: JSON.stringify(entries.map(({ notice }) => notice.data)),
      },
    );
    const ids = new Set(held.map(({ userId }) => userId));
    await writeOutbox(query, entries.filter(({ userId }) => ids.has(userId)).map(heldBack));
  };

  const one = async (id: string, userId: string) => {
    const [row] = await database.query<NotificationRow>(
      `SELECT ${COLUMNS} FROM notifications n WHERE n.id = $id AND n.user_id = $userId AND NOT n.hidden`,
      { id, userId },
    );
    if (!row) throw new NotificationNotFound({});
    return toNotification(row);
  };

  return {
    /**
     * Stores a notice for each of these people. Told again of the same occurrence, a person keeps the one they have;
     * whoever was erased gets nothing.
     *
     * @param query in the transaction in which they are heard of
     * @param heldBack what is written to the outbox for somebody whose row is held
     */
    addEach,

    /**
     * Stores one notice for each of an audience, a chunk of it, by their ids. Told again of the same occurrence, a
     * person keeps the one they have; whoever was erased gets nothing.
     *
     * @param query in the transaction in which the occurrence is heard of
     * @param to.ofId the host or the event whose audience it is
     * @param to.after the last one of the chunk before; null for the first chunk
     * @param toBeTold what is written to the outbox in the same transaction: `left` where there may be more, who come
     *   after the last one of this chunk; `heldBack` for somebody whose row is held
     * @returns how many people this chunk has
     */
    async addForAudience(
      query: Query,
      { audience, ...to }: { audience: Audience; ofId: string; after: string | null },
      occurrenceId: string,
      notice: Notice,
      now: Date,
      toBeTold: {
        left(last: string): OutboxEvent;
        heldBack(one: PersonalNotice): OutboxEvent;
      },
    ): Promise<number> {
      const [chunk] = await query<{
        size: number;
        last: string | null;
        held: string[] | null;
      }>(
        `WITH told AS MATERIALIZED (
             SELECT a.user_id FROM (${MEMBERS_OF[audience]}) AS a
              WHERE a.of_id = $ofId AND ($after::uuid IS NULL OR a.user_id > $after::uuid)
              ORDER BY a.user_id LIMIT ${TOLD_AT_ONCE}),
           made AS MATERIALIZED (
             SELECT user_id, ${IS_FREE("told.user_id")} AS free FROM told),
           stored AS (
             INSERT INTO notifications
                    (id, user_id, occurrence_id, type, title, body, event_id, data, created_at, hidden)
             SELECT ${ID_AT("$now::timestamptz")}, user_id, $occurrenceId, $type::text, $title, $body, $eventId,
                    $data::jsonb, $now, ${IS_HIDDEN("made.user_id", "$type::text")}
               FROM made WHERE free
             ON CONFLICT (user_id, occurrence_id) DO NOTHING RETURNING id),
           dispatched AS (${DISPATCH("stored", 1)})
           SELECT count(*)::int AS size, (SELECT user_id FROM told ORDER BY user_id DESC LIMIT 1) AS last,
                  (SELECT array_agg(user_id) FROM made WHERE free IS NULL AND ${IS_THERE("user_id")}) AS held
             FROM told`,
        {
          ...to,
          occurrenceId,
          now,
          dispatchId: newId(),
          type: notice.type,
          title: notice.title,
          body: notice.body,
          eventId: notice.eventId,
          data: JSON.stringify(notice.data),
        },
      );
      const left =
        chunk?.size === TOLD_AT_ONCE && chunk.last !== null ? [toBeTold.left(chunk.last)] : [];
      const held = (chunk?.held ?? []).map((userId) =>
        toBeTold.heldBack({ userId, occurrenceId, notice }),
      );
      await writeOutbox(query, [...left, ...held]);
      return chunk?.size ?? 0;
    },

    async list(
      userId: string,
      { unread, type, ...request }: ListRequest & { unread?: boolean; type?: NotificationType },
    ) {
      const where = ["n.user_id = $userId", "NOT n.hidden"];
      if (unread !== undefined) where.push(unread ? "NOT n.is_read" : "n.is_read");
      if (type !== undefined) where.push("n.type = $type");
      const created = { sql: "n.created_at", kind: "instant" } as const;
      const { rows, pagination } = await fetchPage<NotificationRow>(
        database,
        {
          select: COLUMNS,
          table: "notifications n",
          where,
          bind: { userId, ...(type === undefined ? {} : { type }) },
          id: "n.id",
          sorts: { createdAt: created, date: created },
          defaultSort: "createdAt",
          defaultOrder: "desc",
        },
        request,
      );
      return { data: rows.map(toNotification), pagination };
    },

    countUnread: (userId: string): Promise<number> =>
      database.guarded(() =>
        notifications.count({ where: { userId, isRead: false, hidden: false } }),
      ),

    /** @throws NotificationNotFound, also for somebody else's */
    find: one,

    /** @throws NotificationNotFound, also for somebody else's */
    async markRead(id: string, userId: string) {
      const [row] = await database.query<NotificationRow>(
        `UPDATE notifications n SET is_read = true
          WHERE n.id = $id AND n.user_id = $userId AND NOT n.hidden RETURNING ${COLUMNS}`,
        { id, userId },
      );
      if (!row) throw new NotificationNotFound({});
      return toNotification(row);
    },

    /** Gives how many were unread. */
    async markAllRead(userId: string): Promise<number> {
      const [updated] = await database.guarded(() =>
        notifications.update({ isRead: true }, { where: { userId, isRead: false, hidden: false } }),
      );
      return updated;
    },

    /** What these people were told after a place in the order of telling, oldest first. */
    async listNew(userIds: readonly string[], { since, after }: { since: string; after: string }) {
      const rows = await database.query<NotificationRow & { userId: string }>(
        `SELECT ${COLUMNS}, n.user_id AS "userId" FROM notifications n
          WHERE n.user_id = ANY ($userIds::uuid[]) AND (n.created_at, n.id) > ($since::timestamptz, $after::uuid)
            AND NOT n.hidden
          ORDER BY n.created_at, n.id LIMIT ${MOST_NEW_AT_ONCE}`,
        { userIds, since, after },
      );
      return rows.map(({ userId, ...row }) => ({ userId, ...toNotification(row) }));
    },

    /**
     * What a user was told after one of their notifications, oldest first.
     *
     * @throws NotificationNotFound, also for somebody else's
     */
    async listAfter(userId: string, id: string) {
      const { createdAt } = await one(id, userId);
      const rows = await database.query<NotificationRow>(
        `SELECT ${COLUMNS} FROM notifications n
          WHERE n.user_id = $userId AND (n.created_at, n.id) > ($createdAt::timestamptz, $id::uuid)
            AND NOT n.hidden
          ORDER BY n.created_at, n.id LIMIT ${MOST_NEW_AT_ONCE}`,
        { userId, id, createdAt },
      );
      return rows.map(toNotification);
    },

    async removeOfUser(userId: string): Promise<void> {
      await database.guarded(() => notifications.destroy({ where: { userId } }));
    },
  };
}
