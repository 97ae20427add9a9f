import type { IncomingMessage } from "node:http";
import { type AccessTokens, MOST_TOKEN_CHARACTERS } from "../../lib/access-tokens";
import { Unauthenticated } from "../../lib/errors";
import type { EndedSessions } from "./ended-sessions";
import type { Identity } from "./gateway-request";

const BEARER = new RegExp(`^Bearer +([\\w.~+/-]{1,${MOST_TOKEN_CHARACTERS}})$`, "i");

/**
 * Finds out who sent a request: a valid token of a session that lives, or nobody. What is wrong with a token
 * is not thrown but kept, because other faults of the request may have to answer first.
 */
export async function identify(
  req: IncomingMessage,
  tokens: AccessTokens,
  sessions: EndedSessions,
): Promise<Identity> {
  const header = req.headers.authorization;
  if (header === undefined) return { caller: null };
  try {
    const token = BEARER.exec(header)?.[1];
    if (!token) throw new Unauthenticated({});
    const caller = tokens.verify(token);
    if (await sessions.includes(caller.sessionId)) throw new Unauthenticated({});
    return { caller };
  } catch (fault) {
    return { fault };
  }
}
