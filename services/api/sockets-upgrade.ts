import type { IncomingMessage } from "node:http";
import { endOf } from "../../lib/access-tokens";
import type { Config } from "../../lib/config";
import type { Caller } from "../../lib/contract/define";
import { Forbidden, MethodNotAllowed, Unauthenticated, UpgradeRequired } from "../../lib/errors";
import type { GatewayRequest } from "./gateway-request";
import { BEARER } from "./identity";
import { isUpgrade } from "./upgrades";

export const SOCKET_PATH = "/ws";
export const SOCKET_METHODS = ["GET"];

/** Sixteen bytes in base64 (RFC 6455, 4.1). */
const KEY = /^[+/0-9A-Za-z]{22}==$/;

const queryOf = ({ url = "" }: IncomingMessage) =>
  new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?") + 1) : "");

/**
 * A browser can give its token in the address alone. From here on it is where all others are, and in no log; of two the
 * header's counts.
 *
 * @returns what else the address asks for
 */
export function takeToken(req: IncomingMessage): { since: string | undefined } {
  const query = queryOf(req);
  const token = query.get("token");
  if (token !== null && req.headers.authorization === undefined) {
    req.headers.authorization = `Bearer ${token}`;
  }
  req.url = SOCKET_PATH;
  return { since: query.get("since") ?? undefined };
}

/**
 * A page of another origin may open a socket where it may read the API: as its browser asks nobody about that, we do.
 * Without CORS_ORIGINS nothing is said about origins. A token is never sent by itself, as a cookie is, so this is not
 * what keeps anybody out who has none.
 */
function checkOrigin({ headers }: IncomingMessage, { corsOrigins }: Pick<Config, "corsOrigins">) {
  const { origin, host } = headers;
  if (corsOrigins.length === 0 || origin === undefined || corsOrigins.includes(origin)) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new Forbidden({});
}

/** Who opens a socket, and until when their token lets them. */
export interface Ticket {
  caller: Caller;
  until: Date;
}

/**
 * Checks a request for a socket; the faults in the contract's order.
 *
 * @throws MethodNotAllowed, UpgradeRequired, Unauthenticated, Forbidden, or what was wrong with the token
 */
export function ticketOf(req: GatewayRequest, config: Pick<Config, "corsOrigins">): Ticket {
  if (req.method !== "GET") throw new MethodNotAllowed({ allow: SOCKET_METHODS });
  const { upgrade = "", authorization = "", ...headers } = req.headers;
  const isWebSocket =
    isUpgrade(req) &&
    upgrade.toLowerCase() === "websocket" &&
    headers["sec-websocket-version"] === "13" &&
    KEY.test(headers["sec-websocket-key"] ?? "");
  if (!isWebSocket) throw new UpgradeRequired({});
  const identity = req.identity ?? { caller: null };
  if ("fault" in identity) throw identity.fault;
  const token = BEARER.exec(authorization)?.[1];
  if (!identity.caller || token === undefined) throw new Unauthenticated({});
  checkOrigin(req, config);
  return { caller: identity.caller, until: endOf(token) };
}
