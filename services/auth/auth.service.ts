/**
 * auth: accounts and sessions. Owns the tables sessions and refresh_tokens.
 *
 * Invariants: an access token is good only while its session lives; a refresh token works once; whoever
 * has no account is answered like whoever has a wrong password, in words and in time.
 */
import { createHash, randomBytes } from "node:crypto";
import type { ServiceSchema } from "moleculer";
import type { Call, Meta } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { isError, Unauthenticated } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { type Contracts, implement } from "../contracts";
import { ACCESS_TOKEN_SECONDS } from "../core/core.contract";
import { UserNotFound, type userShape } from "../users/users.contract";
import { auth, InvalidCredentials } from "./auth.contract";
import { fitsBcrypt, namedAccount } from "./auth.rules";
import { authStore } from "./auth.store";

const REFRESH_TOKEN_BYTES = 32;
const PURGE_EVERY_MS = 3_600_000;

const hashOf = (token: string): Buffer => createHash("sha256").update(token).digest();
const newRefreshToken = () => randomBytes(REFRESH_TOKEN_BYTES).toString("base64url");

export default function authService({ config, database }: Kernel): ServiceSchema {
  const store = authStore(database);
  let purging: NodeJS.Timeout | undefined;
  /** Hash of nothing in particular, to spend the time of a comparison on. */
  let decoy: Promise<string> | undefined;

  const tokensFor = async (
    call: Call<Contracts>,
    user: ValueOf<typeof userShape>,
    sessionId: string,
    refreshToken: string,
  ) => {
    const { id, role } = user;
    const signed = await call("core.$signJwt", { claims: { id, role, sessionId } });
    return { user, refreshToken, ...signed };
  };

  /** Tokens of somebody who was deleted meanwhile are nobody's. */
  const ofHolder = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw isError(error, UserNotFound) ? new Unauthenticated({}) : error;
    });

  const openSession = async (call: Call<Contracts>, user: ValueOf<typeof userShape>) => {
    const refreshToken = newRefreshToken();
    const sessionId = await store.openSession(user.id, hashOf(refreshToken));
    return tokensFor(call, user, sessionId, refreshToken);
  };

  const matches = async (call: Call<Contracts>, password: string, hash: string | undefined) => {
    decoy ??= call("core.$hashText", { text: newRefreshToken() }).then(
      (made) => made.hash,
      (error) => {
        decoy = undefined;
        throw error;
      },
    );
    const text = fitsBcrypt(password) ? password : newRefreshToken();
    const compared = await call("core.$compareText", { text, hash: hash ?? (await decoy) });
    return compared.matches && hash !== undefined && text === password;
  };

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
        return openSession(call, user);
      },

      async signIn({ params: { password, ...names }, call }) {
        const usernameOrEmail = namedAccount(names);
        const found = await call("users.$findCredentials", { usernameOrEmail });
        if (!(await matches(call, password, found?.passwordHash)) || !found) {
          throw new InvalidCredentials({});
        }
        return openSession(call, await ofHolder(call("users.$find", { id: found.id })));
      },

      me: ({ call }, caller) => ofHolder(call("users.$find", { id: caller.id })),

      async refresh({ params, meta, call }) {
        const refreshToken = newRefreshToken();
        const rotation = await store.rotate(hashOf(params.refreshToken), hashOf(refreshToken));
        if (rotation.outcome === "reused") noteEnded(meta, [rotation.sessionId]);
        if (rotation.outcome !== "rotated") throw new Unauthenticated({});
        const user = await ofHolder(call("users.$find", { id: rotation.userId }));
        return tokensFor(call, user, rotation.sessionId, refreshToken);
      },

      async signOut({ meta }, caller) {
        await store.endSession(caller.sessionId, "signed_out");
        // Only now: one that could not be ended must be able to try again.
        noteEnded(meta, [caller.sessionId]);
      },

      async changePassword({ params: { currentPassword, newPassword }, call, meta }, caller) {
        const { passwordHash } = await ofHolder(call("users.$findPasswordHash", { id: caller.id }));
        if (!(await matches(call, currentPassword, passwordHash))) throw new InvalidCredentials({});
        const { hash } = await call("core.$hashText", { text: newPassword });
        const { changed } = await call("users.$setPasswordHash", {
          id: caller.id,
          from: passwordHash,
          to: hash,
        });
        // Somebody else changed it meanwhile, so what was given is the current one no more.
        if (!changed) throw new InvalidCredentials({});
        noteEnded(meta, await store.endSessions(caller.id, "password_changed", caller.sessionId));
      },
    },

    async started({ call, log }) {
      if (config.admin) {
        const { email, password } = config.admin;
        const { hash } = await call("core.$hashText", { text: password });
        const { outcome } = await call("users.$ensureAdmin", { email, passwordHash: hash });
        if (outcome === "created") log.info(`Created the administrator ${email}`);
        if (outcome === "address_of_another") {
          log.warn(
            "ADMIN_EMAIL belongs to an account that is no administrator; it was left as it is",
          );
        }
      }
      purging = setInterval(() => {
        store.purge().catch((error) => log.warn("Old sessions could not be removed", error));
      }, PURGE_EVERY_MS);
      purging.unref();
    },

    async stopped() {
      clearInterval(purging);
    },
  });
}
