/**
 * auth: accounts and sessions. Owns the tables sessions and refresh_tokens.
 *
 * Invariants: an access token is good only while its session lives; a refresh token works once; whoever
 * has no account is answered like whoever has a wrong password, in words and in time; no session outlives the
 * password or the role that it was opened with.
 */
import { createHash, randomBytes } from "node:crypto";
import type { ServiceSchema } from "moleculer";
import type { Call, Context, Log, Meta } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { isError, ServiceUnavailable, Unauthenticated } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { type Contracts, implement } from "../contracts";
import { ACCESS_TOKEN_SECONDS } from "../core/core.contract";
import { UserNotFound, type userShape } from "../users/users.contract";
import { auth, InvalidCredentials } from "./auth.contract";
import { costOf, fitsBcrypt, namedAccount } from "./auth.rules";
import { authStore } from "./auth.store";

const REFRESH_TOKEN_BYTES = 32;
const PURGE_EVERY_MS = 3_600_000;
/** A sign-in elsewhere may renew the hash that was just compared, though the password is the same. */
const MOST_ATTEMPTS = 3;

const hashOf = (token: string): Buffer => createHash("sha256").update(token).digest();
const newRefreshToken = () => randomBytes(REFRESH_TOKEN_BYTES).toString("base64url");

export default function authService({ config, database }: Kernel): ServiceSchema {
  const store = authStore(database);
  const stopping = new AbortController();
  let purgeTimer: NodeJS.Timeout | undefined;
  let purging: Promise<void> | undefined;
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

  /** Nothing where the hash is the user's no more. */
  const openSession = async (
    call: Call<Contracts>,
    user: ValueOf<typeof userShape>,
    passwordHash: string,
  ) => {
    const refreshToken = newRefreshToken();
    const opened = await store.openSession(user.id, passwordHash, hashOf(refreshToken));
    if (!opened) return undefined;
    // The role of the moment in which the session was opened; the user was read before.
    const { sessionId, role } = opened;
    return tokensFor(call, { ...user, role }, sessionId, refreshToken);
  };

  const decoyHash = (call: Call<Contracts>): Promise<string> => {
    decoy ??= call("core.$hashText", { text: newRefreshToken() }).then(
      (made) => made.hash,
      (error) => {
        decoy = undefined;
        throw error;
      },
    );
    return decoy;
  };

  const matches = async (call: Call<Contracts>, password: string, hash: string | undefined) => {
    const decoy = await decoyHash(call);
    const text = fitsBcrypt(password) ? password : newRefreshToken();
    const compared = await call("core.$compareText", { text, hash: hash ?? decoy });
    // One from when hashes were cheaper would be told from an unknown account by its haste.
    if (hash !== undefined && costOf(hash) < costOf(decoy)) {
      await call("core.$compareText", { text, hash: decoy });
    }
    return compared.matches && hash !== undefined && text === password;
  };

  /** Makes a hash of today's cost of one that was made with another; nobody is refused if that fails. */
  const renewHash = async (
    { call, log }: Pick<Context<Contracts, unknown>, "call" | "log">,
    password: string,
    { id, passwordHash: from }: { id: string; passwordHash: string },
  ) => {
    try {
      if (costOf(from) === costOf(await decoyHash(call))) return;
      const { hash: to } = await call("core.$hashText", { text: password });
      await call("users.$setPasswordHash", { id, from, to });
    } catch (error) {
      log.warn("A password's hash could not be renewed", error);
    }
  };

  /**
   * Repeats what compares a password with the stored hash and then finds another one stored.
   *
   * @throws InvalidCredentials when it always is another one
   */
  const withCurrentHash = async <T>(attempt: () => Promise<T | undefined>): Promise<T> => {
    for (let left = MOST_ATTEMPTS; left > 0; left--) {
      const done = await attempt();
      if (done !== undefined) return done;
    }
    throw new InvalidCredentials({});
  };

  const purge = (log: Log) => {
    purging = store
      .purge(stopping.signal)
      .catch((error) => log.warn("Old sessions could not be removed", error));
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
        const session = await openSession(call, user, hash);
        // Erased in the very moment; the address is free again.
        if (!session) throw new ServiceUnavailable({ retryAfter: 1 });
        return session;
      },

      async signIn({ params: { password, ...names }, call, log }) {
        const usernameOrEmail = namedAccount(names);
        return withCurrentHash(async () => {
          const found = await call("users.$findCredentials", { usernameOrEmail });
          if (!(await matches(call, password, found?.passwordHash)) || !found) {
            throw new InvalidCredentials({});
          }
          const user = await ofHolder(call("users.$find", { id: found.id }));
          const session = await openSession(call, user, found.passwordHash);
          if (session) await renewHash({ call, log }, password, found);
          return session;
        });
      },

      me: ({ call }, caller) => ofHolder(call("users.$find", { id: caller.id })),

      async refresh({ params, meta, call }) {
        const [spent, next] = [params.refreshToken, newRefreshToken()];
        const holder = await store.holderOf(hashOf(spent));
        // The answer first: a token that is spent for nothing would end the session when it is shown again.
        const answer =
          holder &&
          (await tokensFor(
            call,
            await ofHolder(call("users.$find", { id: holder.userId })),
            holder.sessionId,
            next,
          ));
        const rotation = await store.rotate(hashOf(spent), hashOf(next));
        if (rotation.outcome === "reused") noteEnded(meta, [rotation.sessionId]);
        if (rotation.outcome !== "rotated" || !answer) throw new Unauthenticated({});
        return answer;
      },

      async signOut({ meta }, caller) {
        await store.endSession(caller.sessionId, "signed_out");
        // Only now: one that could not be ended must be able to try again.
        noteEnded(meta, [caller.sessionId]);
      },

      async changePassword({ params: { currentPassword, newPassword }, call }, caller) {
        const { id, sessionId } = caller;
        await withCurrentHash(async () => {
          const { passwordHash: from } = await ofHolder(call("users.$findPasswordHash", { id }));
          if (!(await matches(call, currentPassword, from))) throw new InvalidCredentials({});
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
        if (outcome === "created") log.info(`Created the administrator ${email}`);
        if (outcome === "address_of_another") {
          log.warn(
            "ADMIN_EMAIL belongs to an account that is no administrator; it was left as it is",
          );
        }
      }
      // Before the first sign-in, which would be known for an unknown account's by the time it takes.
      await decoyHash(call);
      purge(log);
      purgeTimer = setInterval(() => purge(log), PURGE_EVERY_MS);
      purgeTimer.unref();
    },

    async stopped() {
      clearInterval(purgeTimer);
      stopping.abort();
      await purging;
    },
  });
}
