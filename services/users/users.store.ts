import type { Model } from "sequelize";
import type { Role } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import {
  type Database,
  type Lock,
  type Query,
  type Transaction,
  violatedConstraint,
} from "../../lib/database";
import { ServiceUnavailable } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { fetchPage, type ListRequest } from "../../lib/list";
import { laneOfUser } from "../../mixins/held-users";
import { writeOutbox } from "../../mixins/outbox";
import { happened } from "../contracts";
import { EmailTaken, UserNotFound, UsernameTaken, type userShape } from "./users.contract";
import { defineUser } from "./users.model";
import { checkMayStepDown } from "./users.rules";

type User = ValueOf<typeof userShape>;

/** Name that is left where a person was erased. */
const ERASED_NAME = "Deleted user";

interface UserRow {
  id: string;
  name: string;
  username: string | null;
  email: string;
  phone: string | null;
  role: Role;
  emailVerified: boolean;
  createdAt: Date;
  updatedAt: Date;
}

const COLUMNS = `u.id, u.name, u.username, u.email, u.phone, u.role,
  u.email_verified AS "emailVerified", u.created_at AS "createdAt", u.updated_at AS "updatedAt"`;

const toUser = (row: UserRow): User => ({
  id: row.id,
  name: row.name,
  username: row.username,
  email: row.email,
  phone: row.phone,
  role: row.role,
  emailVerified: row.emailVerified,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
});

/** A live user's attributes: only erased rows lack the address, and no query here gives those. */
const ofModel = (model: Model): User => toUser(model.get({ plain: true }) as UserRow);

function takenError(error: unknown): unknown {
  const constraint = violatedConstraint(error);
  if (constraint === "users_email_unique") return new EmailTaken({});
  if (constraint === "users_username_unique") return new UsernameTaken({});
  return error;
}

/** Text to look for with LIKE: its wildcards stand for themselves. */
const likePattern = (words: string) => `%${words.replace(/[\\%_]/g, "\\$&")}%`;

export interface NewUser {
  name: string;
  email: string;
  username?: string | null;
  role: Role;
  passwordHash: string;
}

// FOR UPDATE, which an update of these columns alone would not be: see mixins/held-users.ts.
const ERASE = `
  WITH held AS (SELECT id FROM users WHERE id = $id::uuid FOR UPDATE SKIP LOCKED)
  UPDATE users u SET name = $name, username = NULL, email = NULL, phone = NULL,
         password_hash = NULL, email_verified = false, updated_at = $now::timestamptz, deleted_at = $now::timestamptz
    FROM held WHERE u.id = held.id AND u.deleted_at IS NULL AND u.role <> 'admin'
   RETURNING 1`;
const ERASE_WHEN_FREE = ERASE.replace("SKIP LOCKED", "");

export function usersStore(database: Database) {
  const users = defineUser(database.sequelize);

  /**
   * Locks a user's row and those of all administrators, so that the user may get a lesser role. Of two
   * administrators who give up the role or take it from each other the second waits here for the first, and
   * then counts one less; without the locks each would count the other, and none would be left. One statement
   * locks them all, by id, so that nobody holds what the other waits for. NO KEY, because a row that refers to
   * an administrator, as a notification does, need not wait. Whoever becomes one meanwhile is not counted yet.
   *
   * @throws LastAdministrator
   */
  const lockToStepDown = async (id: string, transaction: Transaction): Promise<void> => {
    const locked = await database.query<{ id: string; role: Role }>(
      `SELECT id, role FROM users
        WHERE deleted_at IS NULL AND (id = $id OR role = 'admin')
        ORDER BY id FOR NO KEY UPDATE`,
      { id },
      transaction,
    );
    checkMayStepDown(
      id,
      locked.filter(({ role }) => role === "admin").map((administrator) => administrator.id),
    );
  };

  /**
   * The role of somebody; null where only the row without personal data is left of them.
   *
   * @throws UserNotFound where there is no row at all
   */
  const roleUnlessErased = async (id: string): Promise<Role | null> => {
    const [row] = await database.query<{ role: Role | null }>(
      "SELECT CASE WHEN deleted_at IS NULL THEN role END AS role FROM users WHERE id = $id",
      { id },
    );
    if (!row) throw new UserNotFound({});
    return row.role;
  };

  return {
    /** @throws EmailTaken, UsernameTaken: decided by the unique indexes, so that of two at once one wins */
    async create(person: NewUser, now: Date): Promise<User> {
      try {
        const row = { id: newId(), username: null, ...person, createdAt: now, updatedAt: now };
        return ofModel(await database.guarded(() => users.create(row)));
      } catch (error) {
        throw takenError(error);
      }
    },

    /**
     * Changes fields; a new address is unverified again.
     *
     * @param endSessions called for a new role, while the row is locked: nobody can sign in with the old one
     *   meanwhile, and where it fails the role stays, so that a repeat does everything. It may run twice.
     * @throws UserNotFound, EmailTaken, UsernameTaken, LastAdministrator
     */
    async update(
      id: string,
      changes: Partial<NewUser> & { phone?: string | null },
      now: Date,
      endSessions: () => Promise<void>,
    ): Promise<User> {
      const fields = Object.keys(changes) as (keyof typeof changes)[];
      try {
        return await database.transaction(
          async (transaction, lock) => {
            const find = () =>
              users.findOne({
                where: { id, deletedAt: null },
                transaction,
                // Not UPDATE: bookings of this person, or of a host's events, need not wait until sessions are ended.
                lock: transaction.LOCK.NO_KEY_UPDATE,
              });
            const stepsDown = changes.role !== undefined && changes.role !== "admin";
            if (stepsDown) await lock(() => lockToStepDown(id, transaction));
            const user = await (stepsDown ? find() : lock(find));
            if (!user) throw new UserNotFound({});
            const before = ofModel(user);
            // Compared without case, as everywhere: other letters are no other address.
            const moved =
              changes.email !== undefined &&
              changes.email.toLowerCase() !== before.email.toLowerCase();
            await user.update(
              { ...changes, ...(moved ? { emailVerified: false } : {}), updatedAt: now },
              { transaction, fields: [...fields, "emailVerified", "updatedAt"] },
            );
            if (user.get("role") !== before.role) await endSessions();
            return ofModel(user);
          },
          { lane: laneOfUser(id) },
        );
      } catch (error) {
        throw takenError(error);
      }
    },

    /** @throws UserNotFound */
    async find(id: string): Promise<User> {
      const [row] = await database.query<UserRow>(
        `SELECT ${COLUMNS} FROM users u WHERE u.id = $id AND u.deleted_at IS NULL`,
        { id },
      );
      if (!row) throw new UserNotFound({});
      return toUser(row);
    },

    async hostsAmong(ids: readonly string[]): Promise<string[]> {
      const rows = await database.query<{ id: string }>(
        `SELECT u.id FROM users u
          WHERE u.id = ANY ($ids::uuid[]) AND u.role = 'host' AND u.deleted_at IS NULL`,
        { ids },
      );
      return rows.map(({ id }) => id);
    },

    async list({
      role,
      q,
      roles,
      ...request
    }: ListRequest & { role?: Role; q?: string; roles?: Role[] }) {
      const where = ["u.deleted_at IS NULL"];
      if (role !== undefined) where.push("u.role = $role");
      if (roles !== undefined) where.push("u.role = ANY ($roles)");
      if (q) where.push("(u.name ILIKE $q OR u.username ILIKE $q)");
      const created = { sql: "u.created_at", kind: "instant" } as const;
      const { rows, pagination } = await fetchPage<UserRow>(
        database,
        {
          select: COLUMNS,
          table: "users u",
          where,
          bind: {
            ...(role !== undefined ? { role } : {}),
            ...(roles !== undefined ? { roles } : {}),
            ...(q ? { q: likePattern(q) } : {}),
          },
          id: "u.id",
          sorts: {
            createdAt: created,
            date: created,
            name: { sql: "lower(u.name)", kind: "text" },
          },
          defaultSort: "createdAt",
          defaultOrder: "asc",
        },
        request,
      );
      return { data: rows.map(toUser), pagination };
    },

    /** Who signs in by this address or username; null where nobody does. */
    async findCredentials(usernameOrEmail: string) {
      const [row] = await database.query<{ id: string; passwordHash: string }>(
        `SELECT id, password_hash AS "passwordHash" FROM users
          WHERE deleted_at IS NULL
            AND (lower(email) = lower($name) OR lower(username) = lower($name))
          ORDER BY lower(email) = lower($name) DESC LIMIT 1`,
        { name: usernameOrEmail },
      );
      return row ?? null;
    },

    /** @throws UserNotFound */
    async findPasswordHash(id: string): Promise<string> {
      const [row] = await database.query<{ passwordHash: string }>(
        `SELECT password_hash AS "passwordHash" FROM users WHERE id = $id AND deleted_at IS NULL`,
        { id },
      );
      if (!row) throw new UserNotFound({});
      return row.passwordHash;
    },

    /**
     * Sets a new hash in place of the one the caller compared with; false when that one is gone.
     *
     * @param endSessions as for {@link update}
     */
    setPasswordHash(
      id: string,
      from: string,
      to: string,
      now: Date,
      endSessions: () => Promise<void>,
    ): Promise<boolean> {
      return database.transaction(
        async (transaction, lock) => {
          const rows = await lock(() =>
            database.query(
              `UPDATE users SET password_hash = $to, updated_at = $now
              WHERE id = $id AND password_hash = $from AND deleted_at IS NULL RETURNING 1`,
              { id, from, to, now },
              transaction,
            ),
          );
          if (rows.length === 0) return false;
          await endSessions();
          return true;
        },
        { lane: laneOfUser(id) },
      );
    },

    roleUnlessErased,

    /** The role of whoever has this address, or undefined. */
    async roleOf(email: string): Promise<Role | undefined> {
      const [row] = await database.query<{ role: Role }>(
        "SELECT role FROM users WHERE lower(email) = lower($email)",
        { email },
      );
      return row?.role;
    },

    /**
     * Forgets a person. The row stays without personal data: bookings and events may hang on it, and so do
     * the ended sessions, by which every node knows that tokens of theirs are refused. It waits for whoever is
     * writing rows that refer to this person, and whoever comes later finds them erased. An administrator is
     * never erased: who is one gives up the role first, with {@link update}, which knows whether that may be.
     *
     * What came in until then is cleared away by who hears of it (`users.erased`).
     *
     * @throws UserNotFound; ServiceUnavailable for an administrator
     */
    async erase(id: string, now: Date): Promise<void> {
      const about = { aggregateId: id, aggregateVersion: 1, occurredAt: now, correlationId: null };
      const eraseBy = async (sql: string, transaction: Transaction, lock: Lock) => {
        const query: Query = (text, bind) => database.query(text, bind, transaction);
        const erased = await lock(() => query(sql, { id, name: ERASED_NAME, now }));
        if (erased.length > 0)
          await writeOutbox(query, [happened("users.erased", about, { userId: id })]);
        return erased.length > 0;
      };
      // Nobody queues for a row that is free, behind those who wait for one that is not.
      const isErased =
        (await database.transaction((transaction, lock) => eraseBy(ERASE, transaction, lock), {
          ahead: true,
        })) ||
        (await database.transaction(
          (transaction, lock) => eraseBy(ERASE_WHEN_FREE, transaction, lock),
          { lane: laneOfUser(id) },
        ));
      if (isErased) return;
      const role = await roleUnlessErased(id);
      throw role === null ? new UserNotFound({}) : new ServiceUnavailable({ retryAfter: 1 });
    },
  };
}
