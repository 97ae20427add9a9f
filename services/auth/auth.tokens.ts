import { createHash, randomBytes } from "node:crypto";
import type { Call } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { Unauthenticated } from "../../lib/errors";
import type { Contracts } from "../contracts";
import type { userShape } from "../users/users.contract";
import { unlessDeleted } from "./auth.lookup";
import type { AuthStore } from "./auth.store";

type User = ValueOf<typeof userShape>;

const REFRESH_TOKEN_BYTES = 32;

const hashOf = (token: string): Buffer => createHash("sha256").update(token).digest();
const newRefreshToken = () => randomBytes(REFRESH_TOKEN_BYTES).toString("base64url");

const refusedToken = () => new Unauthenticated({ token: "refresh" });

/** How sessions are opened and their tokens renewed. */
export function authTokens(store: AuthStore) {
  const tokensFor = async (
    call: Call<Contracts>,
    user: User,
    sessionId: string,
    refreshToken: string,
  ) => {
    const { id, role } = user;
    const signed = await call("core.$signJwt", { claims: { id, role, sessionId } });
    return { user, refreshToken, ...signed };
  };

  return {
    /** Opens a session; nothing where the hash is the user's no more. */
    async open(call: Call<Contracts>, user: User, passwordHash: string) {
      const refreshToken = newRefreshToken();
      const opened = await store.openSession(user.id, passwordHash, hashOf(refreshToken));
      if (!opened) return undefined;
      // The role of the moment in which the session was opened; the user was read before.
      const { sessionId, role } = opened;
      return tokensFor(call, { ...user, role }, sessionId, refreshToken);
    },

    /**
     * Exchanges a refresh token for new tokens.
     *
     * @param noteEnded told of the session that ends because the token was spent before
     * @throws Unauthenticated for a token that is not good any more
     */
    async renew(call: Call<Contracts>, spent: string, noteEnded: (sessionIds: string[]) => void) {
      const next = newRefreshToken();
      const holder = await store.holderOf(hashOf(spent));
      // The answer first: a token that is spent for nothing would end the session when it is shown again.
      const answer =
        holder &&
        (await tokensFor(
          call,
          await unlessDeleted(call("users.$find", { id: holder.userId }), refusedToken),
          holder.sessionId,
          next,
        ));
      const rotation = await store.rotate(hashOf(spent), hashOf(next));
      if (rotation.outcome === "reused") noteEnded([rotation.sessionId]);
      if (rotation.outcome !== "rotated" || !answer) throw refusedToken();
      return answer;
    },
  };
}
