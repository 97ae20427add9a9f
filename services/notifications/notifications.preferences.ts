/** What people want to be told, and on which channels; kept only where it is otherwise than by default. */
import type { Database } from "../../lib/database";
import { whyAbsent } from "../../mixins/held-users";
import {
  type Preference,
  type Preferences,
  preferencesFrom,
  WANTED_BY_DEFAULT,
} from "./preferences.rules";

const FIND = "SELECT type, channel, enabled FROM notification_preferences WHERE user_id = $userId";

// For the lock of the user see mixins/held-users.ts.
const CHANGE = `
  WITH person AS MATERIALIZED (
    SELECT id FROM users WHERE id = $userId::uuid AND deleted_at IS NULL FOR KEY SHARE SKIP LOCKED),
  asked AS (
    SELECT person.id AS user_id, a.* FROM person,
           unnest($types::text[], $channels::text[], $enabled::boolean[], $isDefault::boolean[])
             AS a (type, channel, enabled, is_default)),
  forgotten AS (
    DELETE FROM notification_preferences p USING asked a
     WHERE a.is_default AND p.user_id = a.user_id AND p.type = a.type AND p.channel = a.channel),
  kept AS (
    INSERT INTO notification_preferences (user_id, type, channel, enabled)
    SELECT user_id, type, channel, enabled FROM asked WHERE NOT is_default
    ON CONFLICT (user_id, type, channel) DO UPDATE SET enabled = excluded.enabled)
  SELECT id FROM person`;

/** SQL: whether somebody wants notices of a type on a channel. */
export const wants = (userId: string, type: string, channel: string, byDefault: string): string =>
  `coalesce((SELECT p.enabled FROM notification_preferences p
              WHERE p.user_id = ${userId} AND p.type = ${type} AND p.channel = ${channel} LIMIT 1), ${byDefault})`;

export function notificationsPreferences(database: Database) {
  return {
    async find(userId: string): Promise<Preferences> {
      return preferencesFrom(await database.query<Preference>(FIND, { userId }));
    },

    /** @throws Unauthenticated for who was erased meanwhile; ServiceUnavailable while somebody holds their row */
    async change(userId: string, changes: readonly Preference[]): Promise<void> {
      // Of two changes at once by one person either may find the other's rows: repeated where they lock each other out.
      const changed = await database.transaction((transaction) =>
        database.query(
          CHANGE,
          {
            userId,
            types: changes.map(({ type }) => type),
            channels: changes.map(({ channel }) => channel),
            enabled: changes.map(({ enabled }) => enabled),
            isDefault: changes.map(
              ({ channel, enabled }) => enabled === WANTED_BY_DEFAULT[channel],
            ),
          },
          transaction,
        ),
      );
      if (changed.length === 0) throw await whyAbsent(database.query, userId);
    },

    async forget(userId: string): Promise<void> {
      await database.query("DELETE FROM notification_preferences WHERE user_id = $userId", {
        userId,
      });
    },
  };
}

export type NotificationsPreferences = ReturnType<typeof notificationsPreferences>;
