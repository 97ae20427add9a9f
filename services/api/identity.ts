import type { IncomingMessage } from "node:http";
import { accessTokens, MOST_TOKEN_CHARACTERS } from "../../lib/access-tokens";
import type { Call, Caller } from "../../lib/contract/define";
import { Unauthenticated } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import type { Contracts } from "../contracts";
import type { EndedSessions } from "./ended-sessions";
import type { Identity } from "./gateway-request";

export const BEARER = new RegExp(`^Bearer +([\\w.~+/-]{1,${MOST_TOKEN_CHARACTERS}})$`, "i");

/** Says whose a token is; refuses, with Unauthenticated, one that is none of ours. */
export type TokenCheck = (token: string) => Caller | Promise<Caller>;

/**
 * The gateway checks tokens by itself where it knows the secret that they are signed with; one that was generated
 * belongs to the process that has generated it, and elsewhere core is asked.
 */
export function tokenCheck(
  { config, clock }: Pick<Kernel, "config" | "clock">,
  call: Call<Contracts>,
): TokenCheck {
  const knowsSecret = config.jwtSecret !== undefined || config.services.includes("core");
  return knowsSecret
    ? accessTokens(config, clock).verify
    : (token) => call("core.$verifyJwt", { token });
}

/**
 * Finds out who sent a request: a valid token of a session that lives, or nobody. What is wrong with a token
 * is not thrown but kept, because other faults of the request may have to answer first.
 */
export async function identify(
  req: IncomingMessage,
  verify: TokenCheck,
  sessions: EndedSessions,
): Promise<Identity> {
  const header = req.headers.authorization;
  if (header === undefined) return { caller: null };
  try {
    const token = BEARER.exec(header)?.[1];
    if (!token) throw new Unauthenticated({});
    const caller = await verify(token);
    if (await sessions.includes(caller.sessionId)) throw new Unauthenticated({});
    return { caller };
  } catch (fault) {
    return { fault };
  }
}
