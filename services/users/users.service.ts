/**
 * users: people, and who follows whom. Owns the tables users and follows.
 *
 * Invariants: email addresses and usernames are unique without case; nobody gives themselves a role; once
 * there is an administrator there always is one; an erased user leaves no personal data, no session, no active
 * booking and no event behind.
 */
import type { ServiceSchema } from "moleculer";
import type { Call } from "../../lib/contract/define";
import { isError, unlessUnavailable } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { forgetUndeliveredOf } from "../../mixins/dead-letters";
import { forgetAnswersWith } from "../../mixins/idempotency";
import { type Contracts, implement } from "../contracts";
import { EmailTaken, UserNotFound, users } from "./users.contract";
import { userFollows } from "./users.follows";
import { checkChanges, checkMayChange, isOwnOrAdmin, namedUser, viewFor } from "./users.rules";
import { usersStore } from "./users.store";

export default function usersService({ clock, database }: Kernel): ServiceSchema {
  const store = usersStore(database);
  const follows = userFollows(database, clock);

  const endAllSessions = async (id: string, call: Call<Contracts>) => {
    await call("auth.$endSessions", { userId: id, reason: "user_deleted" });
  };
  /** May be done again, also after it broke off. Tokens first, so that little that is new comes meanwhile. */
  const clearAway = async (id: string, call: Call<Contracts>) => {
    await endAllSessions(id, call);
    await call("events.$deleteOfHost", { hostId: id });
    await call("bookings.$delete", { userId: id, reason: "user_deleted" });
    await call("notifications.$deleteOfUser", { userId: id });
    await call("events.$forgetInterest", { userId: id });
    await follows.forget(id);
    await forgetAnswersWith(database, id);
    await forgetUndeliveredOf(database, id);
  };

  return implement(users, {
    channels: {
      "users.erased": {
        calls: true,
        async handler(erased, { call }) {
          for (const { userId } of erased) await clearAway(userId, call);
        },
      },
    },

    actions: {
      $create: ({ params }) => store.create(params, clock.now()),

      async $update({ params: { id, ...changes }, call }) {
        // Access tokens carry the role; with the old one nobody shall go on.
        return store.update(id, changes, clock.now(), async () => {
          await call("auth.$endSessions", { userId: id, reason: "role_changed" });
        });
      },

      async $delete({ params: { id }, call }) {
        const role = await store.roleUnlessErased(id);
        const endSessions = () => endAllSessions(id, call);
        // The role first: of administrators who leave at once the last is refused while nothing is gone.
        if (role === "admin") {
          await store.update(id, { role: "attendee" }, clock.now(), endSessions);
        }
        // The row after that, so that a run that broke off can be repeated.
        await clearAway(id, call);
        // Whoever repeats a run that broke off after that must come as far as here.
        if (role === null) throw new UserNotFound({});
        // One who was made an administrator meanwhile stays, and a repeat begins with the role again.
        await store.erase(id, clock.now());
        // What came in meanwhile; from here on nothing can, because all look for a live user under its lock. What
        // cannot be done at the moment is done soon by whoever hears that they were erased.
        await clearAway(id, call).catch(unlessUnavailable);
      },

      $find: ({ params }) => store.find(params.id),

      $list: ({ params: { rolesShown, ...request } }) =>
        store.list({ ...request, ...(rolesShown === "hosts" ? { roles: ["host"] } : {}) }),

      async $listHosts({ params }) {
        return { ids: await store.hostsAmong(params.ids) };
      },

      $findCredentials: ({ params }) => store.findCredentials(params.usernameOrEmail),

      async $findPasswordHash({ params }) {
        return { passwordHash: await store.findPasswordHash(params.id) };
      },

      async $setPasswordHash({ params: { id, from, to, endSessionsExcept }, call }) {
        const endOthers = async () => {
          if (endSessionsExcept === undefined) return;
          const reason = "password_changed";
          const exceptSessionId = endSessionsExcept;
          await call("auth.$endSessions", { userId: id, reason, exceptSessionId });
        };
        return { changed: await store.setPasswordHash(id, from, to, clock.now(), endOthers) };
      },

      async $ensureAdmin({ params }) {
        try {
          if ((await store.roleOf(params.email)) === undefined) {
            await store.create({ ...params, name: "Administrator", role: "admin" }, clock.now());
            return { outcome: "created" as const };
          }
        } catch (error) {
          // Another node was faster.
          if (!isError(error, EmailTaken)) throw error;
        }
        const role = await store.roleOf(params.email);
        return {
          outcome: role === "admin" ? ("present" as const) : ("address_of_another" as const),
        };
      },

      async list({ params, call }, caller) {
        const rolesShown = caller.role === "admin" ? "all" : "hosts";
        const page = await call("users.$list", { ...params, rolesShown });
        return { ...page, data: page.data.map((user) => viewFor(user, caller)) };
      },

      async find({ params, call }, caller) {
        const user = await call("users.$find", { id: namedUser(params.id, caller) });
        return viewFor(user, caller);
      },

      async update({ params: { id, ...changes }, call }, caller) {
        checkChanges(changes, caller);
        const user = await call("users.$find", { id: namedUser(id, caller) });
        checkMayChange(user.id, caller);
        return call("users.$update", { id: user.id, ...changes });
      },

      async delete({ params, call }, caller) {
        const id = namedUser(params.id, caller);
        // An administrator gets as far as to one who is erased, whose clearing away may have broken off.
        if (!isOwnOrAdmin(id, caller)) await call("users.$find", { id });
        checkMayChange(id, caller);
        await call("users.$delete", { id });
      },

      follow: ({ params }, caller) => follows.follow(params.id, caller),

      unfollow: ({ params }, caller) => follows.unfollow(params.id, caller),

      listFollowing: ({ params }, caller) => follows.listFollowing(params, caller),

      listFollowers: ({ params: { id, ...request } }, caller) =>
        follows.listFollowers(id, request, caller),
    },
  });
}
