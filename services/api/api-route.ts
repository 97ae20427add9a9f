import type { ServerResponse } from "node:http";
import type { Context } from "moleculer";
import { type ActionDefinition, successStatus } from "../../lib/contract/define";
import { checkAccess } from "../../lib/contract/implement";
import { endOfTurn } from "../../lib/end-of-turn";
import { NotFound } from "../../lib/errors";
import { isId } from "../../lib/ids";
import { checkDepth, readBody } from "./body";
import type { EndedSessions } from "./ended-sessions";
import { entityTag } from "./entity-tag";
import { type GatewayAlias, type GatewayRequest, metaOf } from "./gateway-request";
import { idempotencyKeyOf } from "./idempotency";
import { actionParameters, type ParameterPlaces, parametersOf } from "./parameters";
import { type Budgets, namedAccount } from "./rate-limits";
import { API_BASE, type Route } from "./routes";

/**
 * Where an action's calls are spread by the value of a parameter (`shardBy`), picks the node by it. moleculer-web
 * picks one before it has asked us for the parameters, which is at random then. What is no id is refused wherever
 * it goes; it must not fill the strategy's cache.
 */
function spread(ctx: Context, req: GatewayRequest, shardBy: string): void {
  const key = req.$params?.[shardBy];
  if (!req.$alias || !isId(key)) return;
  // All of a context that a strategy reads: this one's own parameters are the request and the response.
  const call = { params: { [shardBy]: key.toLowerCase() }, meta: ctx.meta } as Context;
  const endpoint = ctx.broker.findNextActionEndpoint(req.$alias.action, {}, call);
  // Where the last node has gone in between, the call to the one picked first will say so. (It throws where the
  // strategy knows a node that must not be called for the moment: with a circuit breaker, which there is none of.)
  if (!(endpoint instanceof Error)) req.$endpoint = endpoint;
}

/**
 * The API as moleculer-web's one route: exactly the routes of the contracts, and what happens before and
 * after each call. Faults answer in the contract's order: body, token, role, budget of the account named,
 * then the shape of the parameters, which the action itself checks.
 */
export function apiRoute(
  routes: readonly Route[],
  { budgets, sessions }: { budgets: Budgets; sessions: EndedSessions },
) {
  const endpoints = new Map<string, { definition: ActionDefinition; places: ParameterPlaces }>(
    routes.map(({ action, definition }) => [
      action,
      { definition, places: parametersOf(definition) },
    ]),
  );
  const endpointOf = (alias: GatewayAlias | undefined) => {
    const endpoint = alias && endpoints.get(alias.action);
    if (!endpoint) throw new NotFound({});
    return endpoint;
  };

  // Moleculer-web tells us the route only when the body has been read.
  const withoutBody = new Set(
    routes.flatMap(({ method, path, definition }) =>
      definition.rest?.ignoresBody ? [`${method} ${API_BASE}${path}`] : [],
    ),
  );
  const ignoresBody = ({ method, parsedUrl = "" }: GatewayRequest) =>
    withoutBody.has(`${method} ${parsedUrl.replace(/\/$/, "")}`);

  return {
    path: API_BASE,
    // Nothing is published but the aliases.
    mappingPolicy: "restrict",
    mergeParams: false,
    bodyParsers: false,
    logging: false,
    pathToRegexpOptions: { sensitive: true },
    aliases: Object.fromEntries(
      routes.map(({ method, path, action }) => [`${method} ${path.slice(1)}`, action]),
    ),

    use: [
      async (req: GatewayRequest, res: ServerResponse, next: (error?: unknown) => void) => {
        try {
          req.parsedBody = await readBody(req, res, ignoresBody(req));
          next();
        } catch (error) {
          next(error);
        }
      },
    ],

    async onBeforeCall(ctx: Context, _route: unknown, req: GatewayRequest, res: ServerResponse) {
      const { definition, places } = endpointOf(req.$alias);
      const identity = req.identity ?? { caller: null };
      if ("fault" in identity) throw identity.fault;
      checkAccess(definition.access ?? { roles: [] }, identity.caller);
      const account = namedAccount(req.parsedBody);
      if (definition.rest?.rateLimit === "authAccount" && account !== undefined) {
        await budgets.account.spend(account, res);
      }
      const meta = metaOf(ctx);
      meta.caller = identity.caller;
      if (req.requestId) meta.requestId = req.requestId;
      if (definition.rest?.idempotent) meta.idempotencyKey = idempotencyKeyOf(req);
      checkDepth(req.parsedBody);
      req.$params = actionParameters(places, {
        path: (req.$params?.params as Record<string, unknown>) ?? {},
        query: req.query ?? {},
        headers: req.headers,
        body: req.parsedBody,
      });
      await endOfTurn();
      if (definition.shardBy !== undefined) spread(ctx, req, definition.shardBy);
    },

    onAfterCall(
      ctx: Context,
      _route: unknown,
      req: GatewayRequest,
      res: ServerResponse,
      data: unknown,
    ) {
      const { definition } = endpointOf(req.$alias);
      const meta = metaOf(ctx);
      sessions.add(meta.endedSessions ?? []);
      meta.$statusCode = successStatus(definition);
      const { location, contentType, secret } = definition.rest ?? {};
      if (meta.idempotencyReplayed) res.setHeader("Idempotency-Replayed", "true");
      if (location) {
        // Of what was made, or of what it was made for.
        const { id = req.$params?.id } = data as { id?: string };
        meta.$location = `${API_BASE}${location.replace(":id", String(id))}`;
      }
      res.setHeader("Cache-Control", secret ? "no-store" : "private, no-cache");
      res.appendHeader("Vary", "Authorization");
      if (contentType && typeof data === "string") {
        meta.$responseType = contentType;
        res.setHeader("ETag", entityTag(undefined, data));
        return Buffer.from(data);
      }
      return data;
    },
  };
}
