/**
 * api: the gateway. Owns no table.
 *
 * Invariants: nothing is public that a contract does not publish; every refusal is a problem (RFC 9457)
 * with a stable code and tells nothing of the inside; the first fault of the contract's order answers.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import type { Call } from "../../lib/contract/define";
import { NotFound, ServiceUnavailable } from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { version } from "../../package.json";
import { type Contracts, contracts } from "../contracts";
import { apiRoute } from "./api-route";
import { clientAddress } from "./client-address";
import { endedSessions } from "./ended-sessions";
import { entityTag, isVersioned } from "./entity-tag";
import { type GatewayRequest, type GatewayService, metaOf } from "./gateway-request";
import { httpServer } from "./http-server";
import { identify, tokenCheck } from "./identity";
import { openApiDocument } from "./openapi";
import { sendProblem } from "./problem";
import { budgetsOf, spendOn } from "./rate-limits";
import { readiness, servicesRun } from "./readiness";
import { requestLog } from "./request-log";
import { routesOf } from "./routes";
import { type Routing, routingOf } from "./routing";
import { sockets as openSockets } from "./sockets";
import { SOCKET_PATH, takeToken } from "./sockets-upgrade";
import { sendOptions, systemPages } from "./system-pages";

export default function apiService({ config, clock }: Kernel): ServiceSchema {
  const budgets = budgetsOf(config);
  const addressOf = clientAddress(config.trustProxy);
  const sessions = endedSessions();
  let gateway: GatewayService | undefined;
  const service = () => {
    if (!gateway) throw new Error("The gateway has not been created");
    return gateway;
  };
  let routing: Routing | undefined;
  const routes = () => {
    // Moleculer-web has made them of the settings by the time at which requests come.
    routing ??= routingOf(service().aliases);
    return routing;
  };
  const log = () => service().logger;
  const requests = requestLog(log);
  // The contracts have checked names and shapes; Moleculer's own types do not know them.
  const call = ((name: string, params?: unknown) =>
    service().broker.call(name, params)) as Call<Contracts>;
  const verify = tokenCheck({ config, clock }, call);
  const sockets = openSockets({ config, clock }, { call, sessions });

  const answerOptions = (res: ServerResponse, path: string) => {
    const allow = routes().methodsAt(path);
    if (allow.length === 0) throw new NotFound({});
    sendOptions(res, allow);
  };

  const fail = (req: GatewayRequest, res: ServerResponse, error: unknown) => {
    // The server has answered it, because what came after its headers was no HTTP; nothing of ours has failed.
    if (res.writableEnded && !req.complete) return;
    const { requestId = "", $ctx } = req;
    if ($ctx) sessions.add(metaOf($ctx).endedSessions ?? []);
    // Moleculer-web's word, without a code of ours, for an action that no node has ever run.
    const nobodyRunsIt = error instanceof ApiGateway.Errors.ServiceUnavailableError;
    const fault = nobodyRunsIt ? new ServiceUnavailable({ retryAfter: 1 }) : error;
    requests.failed(req, sendProblem(req, res, fault, requestId), error);
  };

  const { isReady } = readiness({
    broker: () => service().broker,
    draining: () => server.draining,
    // This asks the sessions' service, which asks the database.
    askDatabase: () => sessions.refresh(),
    log,
  });
  const pages = systemPages({ openApi: openApiDocument(contracts, version), isReady });

  const server = httpServer(config, async (incoming, res, requestId) => {
    // Ours and moleculer-web's fields are put on the same object, as is the custom of its middlewares.
    const req = incoming as GatewayRequest;
    const path = (req.url ?? "/").split("?", 1)[0] ?? "/";
    req.requestId = requestId;
    requests.follow(req, res, path);
    try {
      const isSocket = path === SOCKET_PATH;
      const { since } = isSocket ? takeToken(req) : {};
      req.address = addressOf(req);
      req.identity = await identify(req, verify, sessions);
      await spendOn(budgets, req, res, path);
      if (await pages.serve(req, res, path)) return;
      if (isSocket) sockets.serve(req, res, since);
      else if (req.method === "OPTIONS") answerOptions(res, path);
      else await service().httpHandler(req, res);
    } catch (error) {
      fail(req, res, error);
    }
  });

  // The sockets first: the server hangs up on whoever asks for nothing.
  const drain = () => Promise.all([sockets.drain(), server.drain()]);

  return {
    name: "api",
    mixins: [ApiGateway],
    settings: {
      // Our own server: it prepares every answer, also where no route is found.
      server: false,
      logRequest: null,
      logResponse: null,
      logRequestParams: null,
      logRouteRegistration: null,
      optimizeOrder: false,
      // Names are taken as they are: `limit[]` is another name than `limit`.
      qsOptions: { depth: 0, parseArrays: false, parameterLimit: 100 },
      // Everything that goes wrong behind the server ends here.
      onError: fail,
      routes: [apiRoute(routesOf(contracts), { budgets, sessions })],
    },

    events: sockets.events,

    methods: {
      resolveAlias(url: string, method: string) {
        return routes().find(url, method);
      },

      /** Moleculer-web's own would log the failure as well, and a 503 as if it were one. */
      errorHandler: fail,

      /** The body's text, and the tag by which a client can tell whether it has it already. */
      encodeResponse(req: IncomingMessage, res: ServerResponse, data: unknown) {
        const body = JSON.stringify(data);
        const isRead = req.method === "GET" || req.method === "HEAD";
        // Whoever has changed something with a version can go on from there without reading it again.
        if (isRead || isVersioned(data)) res.setHeader("ETag", entityTag(data, body));
        return body;
      },
    },

    created(this: GatewayService) {
      gateway = this;
    },

    async started() {
      sessions.start(call, () => servicesRun(service().broker).has("auth"), log());
      sockets.start(log());
      await server.listen();
    },

    /** Runs before any service of this process stops: requests in flight still find them all. */
    drain,

    async stopped() {
      await drain();
      sessions.stop();
    },

    /** Where the gateway listens; for whoever asked for any free port. */
    address: () => server.server.address(),
    // moleculer-web's settings, methods and hooks are unknown to Moleculer's own type.
  } as unknown as ServiceSchema;
}
