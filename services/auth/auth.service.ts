/**
 * auth: accounts and sessions. Owns the tables sessions and refresh_tokens.
 *
 * Invariants: an access token is good only while its session lives; a refresh token works once; whoever
 * has no account is answered like whoever has a wrong password, in words and in time; no session outlives the
 * password or the role that it was opened with.
 */
import type { ServiceSchema } from "moleculer";
import { ACCESS_TOKEN_SECONDS } from "../../lib/access-tokens";
import type { Meta } from "../../lib/contract/define";
import { ServiceUnavailable, Unauthenticated } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import { implement } from "../contracts";
import { auth, InvalidCredentials } from "./auth.contract";
import { unlessDeleted } from "./auth.lookup";
import { authPasswords, withCurrentHash } from "./auth.passwords";
import { namedAccount } from "./auth.rules";
import { authStore } from "./auth.store";
import { authTokens } from "./auth.tokens";

const PURGE_EVERY_MS = 3_600_000;

const unauthenticated = () => new Unauthenticated({});
const invalidCredentials = () => new InvalidCredentials({});

export default function authService({ config, database }: Kernel): ServiceSchema {
  const store = authStore(database);
  const passwords = authPasswords();
  const tokens = authTokens(store);
  let purging: RepeatedWork | undefined;

  const noteEnded = (meta: Meta, sessionIds: string[]) => {
    meta.endedSessions = [...(meta.endedSessions ?? []), ...sessionIds];
  };

  return implement(auth, {
    dependencies: ["core", "users"],
    actions: {
      async $endSessions({ params, meta }) {
        const { userId, reason, exceptSessionId } = params;
        const sessionIds = await store.endSessions(userId, reason, exceptSessionId);
        noteEnded(meta, sessionIds);
        return { sessionIds };
      },

      $endedSessions: ({ params }) => store.endedSessions(params.since, ACCESS_TOKEN_SECONDS),

      async signUp({ params: { password, ...person }, call }) {
        const { hash } = await call("core.$hashText", { text: password });
        const user = await call("users.$create", { ...person, passwordHash: hash });
        const session = await tokens.open(call, user, hash);
        // Erased in the very moment; the address is free again.
        if (!session) throw new ServiceUnavailable({ retryAfter: 1 });
        return session;
      },

      async signIn({ params: { password, ...names }, call, log }) {
        const usernameOrEmail = namedAccount(names);
        return withCurrentHash(async () => {
          const found = await call("users.$findCredentials", { usernameOrEmail });
          if (!(await passwords.matches(call, password, found?.passwordHash)) || !found) {
            throw invalidCredentials();
          }
          const user = await unlessDeleted(
            call("users.$find", { id: found.id }),
            invalidCredentials,
          );
          const session = await tokens.open(call, user, found.passwordHash);
          if (session) await passwords.renewHash({ call, log }, password, found);
          return session;
        });
      },

      me: ({ call }, caller) =>
        unlessDeleted(call("users.$find", { id: caller.id }), unauthenticated),

      refresh: ({ params, meta, call }) =>
        tokens.renew(call, params.refreshToken, (sessionIds) => noteEnded(meta, sessionIds)),

      async signOut({ meta }, caller) {
        await store.endSession(caller.sessionId, "signed_out");
        // Only now: one that could not be ended must be able to try again.
        noteEnded(meta, [caller.sessionId]);
      },

      async changePassword({ params: { currentPassword, newPassword }, call }, caller) {
        const { id, sessionId } = caller;
        await withCurrentHash(async () => {
          const finding = call("users.$findPasswordHash", { id });
          const { passwordHash: from } = await unlessDeleted(finding, unauthenticated);
          if (!(await passwords.matches(call, currentPassword, from))) throw invalidCredentials();
          const { hash: to } = await call("core.$hashText", { text: newPassword });
          const change = { id, from, to, endSessionsExcept: sessionId };
          const { changed } = await call("users.$setPasswordHash", change);
          return changed || undefined;
        });
      },
    },

    async started({ call, log }) {
      if (config.admin) {
        const { email, password } = config.admin;
        const { hash } = await call("core.$hashText", { text: password });
        const { outcome } = await call("users.$ensureAdmin", { email, passwordHash: hash });
        if (outcome === "created") log.info("Created the administrator of ADMIN_EMAIL");
        if (outcome === "address_of_another") {
          log.warn(
            "ADMIN_EMAIL belongs to an account that is no administrator; it was left as it is",
          );
        }
      }
      await passwords.prepare(call);
      purging = repeat({
        pauseMs: PURGE_EVERY_MS,
        firstPauseMs: 0,
        work: (stopping) => store.purge(stopping),
        log,
        failed: "Old sessions could not be removed",
      });
    },

    async stopped() {
      await purging?.stop();
    },
  });
}
