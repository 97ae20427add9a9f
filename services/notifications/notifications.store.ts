import type { Database } from "../../lib/database";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest } from "../../lib/list";
import { NotificationNotFound } from "./notifications.contract";
import { defineNotification } from "./notifications.model";
import type { Notice, NotificationType } from "./notifications.rules";

/** What one person is told of one occurrence. */
export interface PersonalNotice {
  userId: string;
  occurrenceId: string;
  notice: Notice;
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

  const addEach = async (entries: readonly PersonalNotice[], now: Date): Promise<void> => {
    await database.query(
      // Not a join with users: for some hundred people the planner would read all there are. FOR KEY SHARE: whoever
      // erases one of them waits for us and takes the notice away, or we find them erased.
      `INSERT INTO notifications (id, user_id, occurrence_id, type, title, body, event_id, data, created_at)
       SELECT made.*, $now
         FROM ROWS FROM (
                unnest($ids::uuid[], $userIds::uuid[], $occurrenceIds::uuid[], $types::text[], $titles::text[],
                       $bodies::text[], $eventIds::uuid[]),
                json_array_elements($data::json))
           AS made (id, user_id, occurrence_id, type, title, body, event_id, data)
        WHERE (SELECT u.deleted_at IS NULL FROM users u WHERE u.id = made.user_id FOR KEY SHARE)
       ON CONFLICT (user_id, occurrence_id) DO NOTHING`,
      {
        now,
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
  };

  return {
    /**
     * Stores one notice for each of these people. Told again of the same occurrence, a person keeps the one
     * they have; whoever was erased gets nothing.
     */
    add: (userIds: string[], occurrenceId: string, notice: Notice, now: Date): Promise<void> =>
      addEach(
        userIds.map((userId) => ({ userId, occurrenceId, notice })),
        now,
      ),

    addEach,

    async list(
      userId: string,
      { unread, type, ...request }: ListRequest & { unread?: boolean; type?: NotificationType },
    ) {
      const where = ["n.user_id = $userId"];
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
      database.guarded(() => notifications.count({ where: { userId, isRead: false } })),

    /** @throws NotificationNotFound, also for somebody else's */
    async find(id: string, userId: string) {
      const [row] = await database.query<NotificationRow>(
        `SELECT ${COLUMNS} FROM notifications n WHERE n.id = $id AND n.user_id = $userId`,
        { id, userId },
      );
      if (!row) throw new NotificationNotFound({});
      return toNotification(row);
    },

    /** @throws NotificationNotFound, also for somebody else's */
    async markRead(id: string, userId: string) {
      const [row] = await database.query<NotificationRow>(
        `UPDATE notifications n SET is_read = true WHERE n.id = $id AND n.user_id = $userId RETURNING ${COLUMNS}`,
        { id, userId },
      );
      if (!row) throw new NotificationNotFound({});
      return toNotification(row);
    },

    /** Gives how many were unread. */
    async markAllRead(userId: string): Promise<number> {
      const [updated] = await database.guarded(() =>
        notifications.update({ isRead: true }, { where: { userId, isRead: false } }),
      );
      return updated;
    },

    async removeOfUser(userId: string): Promise<void> {
      await database.guarded(() => notifications.destroy({ where: { userId } }));
    },
  };
}
