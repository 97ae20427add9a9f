/** Who follows which host. Rows hang on two people, both of whom are there while one is written. */
import type { Caller } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import type { Database } from "../../lib/database";
import { Forbidden, ValidationFailed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import type { Kernel } from "../../lib/kernel";
import { fetchPage, type ListRequest } from "../../lib/list";
import { whyAbsent } from "../../mixins/held-users";
import { type publicUserShape, UserNotFound } from "./users.contract";
import { isOwnOrAdmin, namedUser, publicView } from "./users.rules";

type PublicUser = ValueOf<typeof publicUserShape>;

const PERSON = "p.id, p.name, p.username, p.role";
const created = { sql: "f.created_at", kind: "instant" } as const;
const NEWEST_FIRST = {
  sorts: { createdAt: created, date: created },
  defaultSort: "createdAt",
  defaultOrder: "desc",
} as const;

/** What people see and change of who follows whom. */
export function userFollows(database: Database, clock: Kernel["clock"]) {
  /** @throws UserNotFound where there is no such host */
  const checkHost = async (id: string): Promise<void> => {
    const hosts = await database.query(
      "SELECT FROM users WHERE id = $id AND role = 'host' AND deleted_at IS NULL",
      { id },
    );
    if (hosts.length === 0) throw new UserNotFound({});
  };

  const page = async (
    request: ListRequest,
    { where, person, bind }: { where: string[]; person: string; bind: Record<string, unknown> },
  ) => {
    const { rows, pagination } = await fetchPage<PublicUser>(
      database,
      {
        select: PERSON,
        table: "follows f",
        joins: `JOIN users p ON p.id = ${person}`,
        where,
        bind,
        id: "f.id",
        ...NEWEST_FIRST,
      },
      request,
    );
    return { data: rows.map(publicView), pagination };
  };

  return {
    /**
     * @throws UserNotFound where there is no such host; ValidationFailed for oneself; Unauthenticated for who was
     *   erased meanwhile
     */
    async follow(named: string, caller: Caller): Promise<void> {
      const hostId = namedUser(named, caller);
      await checkHost(hostId);
      if (hostId === caller.id) {
        throw new ValidationFailed({ errors: [{ field: "id", message: "is yourself" }] });
      }
      const pair = { followerId: caller.id, hostId };
      // For the lock see mixins/held-users.ts.
      const made = await database.query(
        `INSERT INTO follows (id, follower_id, host_id, created_at)
         SELECT $id, f.id, h.id, $now FROM users f, users h
          WHERE f.id = $followerId AND f.deleted_at IS NULL
            AND h.id = $hostId AND h.deleted_at IS NULL AND h.role = 'host'
            FOR KEY SHARE SKIP LOCKED
         ON CONFLICT (host_id, follower_id) DO NOTHING RETURNING 1`,
        { ...pair, id: newId(), now: clock.now() },
      );
      if (made.length > 0) return;
      const there = await database.query(
        "SELECT FROM follows WHERE host_id = $hostId AND follower_id = $followerId",
        pair,
      );
      if (there.length > 0) return;
      // One of the two was erased in this very moment, or somebody holds them who may be doing so.
      await checkHost(hostId);
      throw await whyAbsent(database.query, caller.id);
    },

    /** Also of a host who has become something else. @throws UserNotFound where there is no such host */
    async unfollow(named: string, caller: Caller): Promise<void> {
      const hostId = namedUser(named, caller);
      const gone = await database.query(
        "DELETE FROM follows WHERE host_id = $hostId AND follower_id = $followerId RETURNING 1",
        { hostId, followerId: caller.id },
      );
      if (gone.length === 0) await checkHost(hostId);
    },

    /** The hosts that somebody follows, those who are hosts no more left out. */
    listFollowing: (request: ListRequest, caller: Caller) =>
      page(request, {
        where: [
          "f.follower_id = $followerId",
          "(SELECT h.role = 'host' FROM users h WHERE h.id = f.host_id)",
        ],
        person: "f.host_id",
        bind: { followerId: caller.id },
      }),

    /** @throws UserNotFound where there is no such host; Forbidden for another host's */
    async listFollowers(named: string, request: ListRequest, caller: Caller) {
      const hostId = namedUser(named, caller);
      await checkHost(hostId);
      if (!isOwnOrAdmin(hostId, caller)) throw new Forbidden({});
      return page(request, {
        where: ["f.host_id = $hostId"],
        person: "f.follower_id",
        bind: { hostId },
      });
    },

    /** Forgets whom a person follows and who follows them. */
    async forget(userId: string): Promise<void> {
      await database.query("DELETE FROM follows WHERE follower_id = $userId OR host_id = $userId", {
        userId,
      });
    },
  };
}
