/**
 * Access tokens: JSON Web Tokens of one algorithm, issuer and audience, signed with the secret that all nodes
 * share. Whoever has the secret checks them by itself, without asking another node.
 */
import { createSecretKey } from "node:crypto";
import jwt from "jsonwebtoken";
import type { Clock } from "./clock";
import { type Config, jwtSecret } from "./config";
import { type Caller, ROLES } from "./contract/define";
import { Unauthenticated } from "./errors";
import { isId } from "./ids";

const ALGORITHM = "HS256";
const ISSUER = "marquee";
const AUDIENCE = "marquee-api";

/** Ours have some three hundred; whatever is longer was not signed here. */
export const MOST_TOKEN_CHARACTERS = 4096;

/** How long an access token lives; ended sessions are refused at once all the same. */
export const ACCESS_TOKEN_SECONDS = 3600;

export interface AccessTokens {
  /** A token for a session, good for {@link ACCESS_TOKEN_SECONDS} from now. */
  sign(caller: Caller): string;
  /**
   * Whom a token was signed for; whether the session has ended since it does not know.
   *
   * @throws Unauthenticated when it was not signed here, or is not valid any more
   */
  verify(token: string): Caller;
}

/** When a token that was verified ends. */
export function endOf(token: string): Date {
  const payload = jwt.decode(token);
  const seconds = typeof payload === "string" ? undefined : payload?.exp;
  if (seconds === undefined) throw new Unauthenticated({});
  return new Date(seconds * 1000);
}

export function accessTokens(
  config: Pick<Config, "jwtSecret" | "dataDir">,
  clock: Clock,
): AccessTokens {
  // A KeyObject: with a string, jsonwebtoken first tries to read it as a public key, on every call.
  const key = createSecretKey(Buffer.from(jwtSecret(config)));
  const seconds = () => Math.floor(clock.now().getTime() / 1000);

  return {
    sign: ({ id, role, sessionId }) =>
      jwt.sign({ role, sid: sessionId, iat: seconds() }, key, {
        algorithm: ALGORITHM,
        issuer: ISSUER,
        audience: AUDIENCE,
        subject: id,
        expiresIn: ACCESS_TOKEN_SECONDS,
      }),

    verify(token) {
      let payload: string | jwt.JwtPayload;
      try {
        payload = jwt.verify(token, key, {
          algorithms: [ALGORITHM],
          issuer: ISSUER,
          audience: AUDIENCE,
          clockTimestamp: seconds(),
        });
      } catch {
        throw new Unauthenticated({});
      }
      const { sub, role, sid, exp } = typeof payload === "string" ? {} : payload;
      const known = ROLES.find((candidate) => candidate === role);
      // The library takes a token without an expiry for one that never expires.
      if (!isId(sub) || !isId(sid) || !known || exp === undefined) throw new Unauthenticated({});
      return { id: sub, role: known, sessionId: sid };
    },
  };
}
