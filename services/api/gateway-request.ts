import type { IncomingMessage, ServerResponse } from "node:http";
import type { ActionEndpoint, Context, Service } from "moleculer";
import type { Caller, Meta } from "../../lib/contract/define";

/** What authentication found out; a fault waits for its turn in the order of errors. */
export type Identity = { caller: Caller | null } | { fault: unknown };

/** A route as moleculer-web keeps it: a method, a path template and the action behind them. */
export interface GatewayAlias {
  action: string;
  method: string;
  path: string;
  /** The template with the base path in front, as it stands in a URL. */
  fullPath: string;
  keys: { name: string }[];
  re: RegExp;
}

/** A request on its way through moleculer-web, with what we and it have put on it. */
export interface GatewayRequest extends IncomingMessage {
  $params?: Record<string, unknown>;
  $alias?: GatewayAlias;
  $ctx?: Context;
  /** Where the call goes. */
  $endpoint?: ActionEndpoint;
  query?: Record<string, unknown>;
  /** The path as it was asked for. */
  parsedUrl?: string;
  parsedBody?: unknown;
  requestId?: string;
  identity?: Identity;
  address?: string;
}

/** The gateway's service, as moleculer-web makes it. */
export interface GatewayService extends Service {
  aliases: GatewayAlias[];
  httpHandler(req: IncomingMessage, res: ServerResponse): Promise<void>;
}

/** Who sent the request, as far as is known; null for nobody and for a token that is not valid. */
export const callerOf = ({ identity }: GatewayRequest): Caller | null =>
  identity && "caller" in identity ? identity.caller : null;

/** A call's meta: ours, and what moleculer-web reads from there. */
export const metaOf = (ctx: Context) =>
  ctx.meta as Meta & { $statusCode?: number; $location?: string; $responseType?: string };
