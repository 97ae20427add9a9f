/**
 * api: the gateway. Owns no table.
 *
 * Invariants: nothing is public that a contract does not publish; every refusal is a problem (RFC 9457)
 * with a stable code and tells nothing of the inside; the first fault of the contract's order answers.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context, Service, ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import {
  type ActionDefinition,
  type Call,
  type Caller,
  type Meta,
  successStatus,
} from "../../lib/contract/define";
import { checkAccess } from "../../lib/contract/implement";
import {
  isError,
  MethodNotAllowed,
  NotFound,
  ServiceUnavailable,
  Unauthenticated,
  ValidationFailed,
} from "../../lib/errors";
import type { Kernel } from "../../lib/kernel";
import { version } from "../../package.json";
import { type Contracts, contracts } from "../contracts";
import { MOST_TOKEN_CHARACTERS } from "../core/core.contract";
import { checkDepth, readBody } from "./body";
import { clientAddress } from "./client-address";
import { endedSessions } from "./ended-sessions";
import { entityTag } from "./entity-tag";
import { httpServer } from "./http-server";
import { openApiDocument } from "./openapi";
import { actionParameters, type ParameterPlaces, parametersOf } from "./parameters";
import { sendProblem } from "./problem";
import { budgetsOf, namedAccount } from "./rate-limits";
import { API_BASE, routesOf } from "./routes";
import { sendOptions, systemPages } from "./system-pages";

/** What authentication found out; a fault waits for its turn in the order of errors. */
type Identity = { caller: Caller | null } | { fault: unknown };

/** A request on its way through moleculer-web, with what we and it have put on it. */
interface GatewayRequest extends IncomingMessage {
  $params?: Record<string, unknown>;
  $alias?: GatewayAlias;
  $ctx?: Context;
  query?: Record<string, unknown>;
  parsedBody?: unknown;
  requestId?: string;
  identity?: Identity;
  address?: string;
}
interface GatewayAlias {
  action: string;
  method: string;
  path: string;
  keys: { name: string }[];
  re: RegExp;
  match(url: string): Record<string, string> | false;
}
interface GatewayService extends Service {
  aliases: GatewayAlias[];
  httpHandler(req: IncomingMessage, res: ServerResponse): Promise<void>;
}

const BEARER = new RegExp(`^Bearer +([\\w.~+/-]{1,${MOST_TOKEN_CHARACTERS}})$`, "i");

/** Ours, and what moleculer-web reads from there. */
const asMeta = (ctx: Context) =>
  ctx.meta as Meta & { $statusCode?: number; $location?: string; $responseType?: string };

/** The path's parameters; what is not valid percent-encoding stays as it is and is nobody's id. */
function matchPath(alias: GatewayAlias, url: string): Record<string, string> | undefined {
  const match = alias.re.exec(url);
  if (!match) return undefined;
  return Object.fromEntries(
    alias.keys.map(({ name }, i) => {
      const raw = match[i + 1] ?? "";
      try {
        return [name, decodeURIComponent(raw)];
      } catch {
        return [name, raw];
      }
    }),
  );
}

export default function apiService({ config }: Kernel): ServiceSchema {
  const routes = routesOf(contracts);
  const endpoints = new Map<string, { definition: ActionDefinition; places: ParameterPlaces }>(
    routes.map(({ action, definition }) => [
      action,
      { definition, places: parametersOf(definition) },
    ]),
  );
  const budgets = budgetsOf(config);
  const addressOf = clientAddress(config.trustProxy);
  const sessions = endedSessions();
  let gateway: GatewayService | undefined;
  const broker = () => {
    if (!gateway) throw new Error("The gateway has not been created");
    return gateway.broker;
  };
  // The contracts have checked names and shapes; Moleculer's own types do not know them.
  const call = ((name: string, params?: unknown) => broker().call(name, params)) as Call<Contracts>;

  /** Gives the definition behind an alias: all aliases are made from the contracts. */
  const endpointOf = (alias: GatewayAlias | undefined) => {
    const endpoint = alias && endpoints.get(alias.action);
    if (!endpoint) throw new NotFound({});
    return endpoint;
  };

  const authenticate = async (req: IncomingMessage): Promise<Identity> => {
    const header = req.headers.authorization;
    if (header === undefined) return { caller: null };
    try {
      const token = BEARER.exec(header)?.[1];
      if (!token) throw new Unauthenticated({});
      const caller = await call("core.$verifyJwt", { token });
      if (await sessions.includes(caller.sessionId)) throw new Unauthenticated({});
      return { caller };
    } catch (fault) {
      // What is too long for a token is the same to the client as a token that is not valid.
      return { fault: isError(fault, ValidationFailed) ? new Unauthenticated({}) : fault };
    }
  };

  /** Counts the request against its budget; health checks are free, or a busy client could stop the service. */
  const spend = async (req: GatewayRequest, res: ServerResponse, path: string) => {
    const address = req.address ?? "unknown";
    const identity = req.identity;
    const key =
      identity && "caller" in identity && identity.caller
        ? `u:${identity.caller.id}`
        : `a:${address}`;
    if (path.startsWith("/health/") || req.method === "OPTIONS") return budgets.api.show(key, res);
    if (req.method === "POST" && path.startsWith(`${API_BASE}/auth/`)) {
      return budgets.auth.spend(address, res);
    }
    return budgets.api.spend(key, res);
  };

  const servicesRun = () =>
    new Set(
      broker()
        .registry.getServiceList({ onlyAvailable: true })
        .map(({ name }) => name),
    );

  /** What is missing before requests can be served, in words for the log; null where nothing is. */
  const notReady = async (): Promise<string | null> => {
    if (server.draining) return "draining";
    if (!gateway || !broker().started) return "starting";
    const run = new Set(
      broker()
        .registry.getServiceList({})
        .map(({ name }) => name),
    );
    const absent = Object.keys(contracts).filter((name) => !run.has(name));
    if (absent.length) return `no node runs ${absent.join(", ")}`;
    // This asks the sessions' service, which asks the database.
    return sessions.refresh().then(
      () => null,
      () => "the database cannot be reached",
    );
  };

  const methodsAt = (path: string): string[] => {
    const methods = new Set<string>();
    const first = gateway?.aliases.find((alias) => alias.re.test(path));
    for (const alias of gateway?.aliases ?? []) {
      if (alias.path === first?.path) methods.add(alias.method);
    }
    if (methods.has("GET")) methods.add("HEAD");
    return [...methods].sort();
  };

  const answerOptions = (res: ServerResponse, path: string) => {
    const allow = methodsAt(path);
    if (allow.length === 0) throw new NotFound({});
    sendOptions(res, allow);
  };

  const logAccess = (req: GatewayRequest, res: ServerResponse, path: string, startedAt: number) => {
    const { identity, requestId } = req;
    const caller = identity && "caller" in identity ? identity.caller : null;
    gateway?.logger.info(
      { requestId, userId: caller?.id, ms: Math.round(performance.now() - startedAt) },
      `${req.method} ${path} ${res.statusCode}`,
    );
  };

  const fail = (req: GatewayRequest, res: ServerResponse, error: unknown) => {
    const { requestId = "", $ctx } = req;
    if ($ctx) sessions.add(asMeta($ctx).endedSessions ?? []);
    // Moleculer-web's word, without a code of ours, for an action that no node has ever run.
    const nobodyRunsIt = error instanceof ApiGateway.Errors.ServiceUnavailableError;
    const fault = nobodyRunsIt ? new ServiceUnavailable({ retryAfter: 1 }) : error;
    const status = sendProblem(req, res, fault, requestId);
    if (status >= 500) gateway?.logger.error({ requestId, err: error }, `${req.method} failed`);
  };

  const pages = systemPages({
    openApi: openApiDocument(contracts, version),
    notReady,
    log: { debug: (message) => gateway?.logger.debug(message) },
  });

  const server = httpServer(config, async (incoming, res, requestId) => {
    // Ours and moleculer-web's fields are put on the same object, as is the custom of its middlewares.
    const req = incoming as GatewayRequest;
    const startedAt = performance.now();
    const path = (req.url ?? "/").split("?", 1)[0] ?? "/";
    req.requestId = requestId;
    res.once("finish", () => logAccess(req, res, path, startedAt));
    try {
      req.address = addressOf(req);
      req.identity = await authenticate(req);
      await spend(req, res, path);
      if (await pages.serve(req, res, path)) return;
      if (req.method === "OPTIONS") answerOptions(res, path);
      else await gateway?.httpHandler(req, res);
    } catch (error) {
      fail(req, res, error);
    }
  });

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
      onError: (req: GatewayRequest, res: ServerResponse, error: unknown) => fail(req, res, error),
      routes: [
        {
          path: API_BASE,
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
                req.parsedBody = await readBody(req, res);
                next();
              } catch (error) {
                next(error);
              }
            },
          ],

          async onBeforeCall(
            ctx: Context,
            _route: unknown,
            req: GatewayRequest,
            res: ServerResponse,
          ) {
            const { definition, places } = endpointOf(req.$alias);
            const identity = req.identity ?? { caller: null };
            if ("fault" in identity) throw identity.fault;
            const access = definition.access ?? { roles: [] };
            checkAccess(access, identity.caller);
            const account = namedAccount(req.parsedBody);
            if (definition.rest?.rateLimit === "authAccount" && account !== undefined) {
              await budgets.account.spend(account, res);
            }
            const meta = asMeta(ctx);
            meta.caller = identity.caller;
            if (req.requestId) meta.requestId = req.requestId;
            checkDepth(req.parsedBody);
            req.$params = actionParameters(places, {
              path: (req.$params?.params as Record<string, unknown>) ?? {},
              query: req.query ?? {},
              headers: req.headers,
              body: req.parsedBody,
            });
          },

          onAfterCall(
            ctx: Context,
            _route: unknown,
            req: GatewayRequest,
            res: ServerResponse,
            data: unknown,
          ) {
            const { definition } = endpointOf(req.$alias);
            const meta = asMeta(ctx);
            sessions.add(meta.endedSessions ?? []);
            meta.$statusCode = successStatus(definition);
            const { location, contentType } = definition.rest ?? {};
            if (location) {
              const { id } = data as { id?: string };
              meta.$location = `${API_BASE}${location.replace(":id", id ?? "")}`;
            }
            res.setHeader("Cache-Control", "private, no-cache");
            res.appendHeader("Vary", "Authorization");
            if (contentType && typeof data === "string") {
              meta.$responseType = contentType;
              res.setHeader("ETag", entityTag(undefined, data));
              return Buffer.from(data);
            }
            return data;
          },
        },
      ],
    },

    methods: {
      /** Finds the route: the path decides first, then the method, so that a known path answers 405. */
      resolveAlias(this: GatewayService, url: string, method: string) {
        const wanted = method === "HEAD" ? "GET" : method;
        const first = this.aliases.find((alias) => alias.re.test(url));
        if (!first) throw new NotFound({});
        const alias = this.aliases.find(
          (candidate) => candidate.path === first.path && candidate.method === wanted,
        );
        const params = alias && matchPath(alias, url);
        if (!alias || !params) throw new MethodNotAllowed({ allow: methodsAt(url) });
        return { alias, params };
      },

      /** The body's text, and the tag by which a client can tell whether it has it already. */
      encodeResponse(req: IncomingMessage, res: ServerResponse, data: unknown) {
        const body = JSON.stringify(data);
        if (req.method === "GET" || req.method === "HEAD")
          res.setHeader("ETag", entityTag(data, body));
        return body;
      },
    },

    created(this: GatewayService) {
      gateway = this;
    },

    async started() {
      sessions.start(call, () => servicesRun().has("auth"));
      await server.listen();
    },

    /** Runs before any service of this process stops: requests in flight still find them all. */
    drain: () => server.drain(),

    async stopped() {
      await server.drain();
      sessions.stop();
    },

    /** Where the gateway listens; for whoever asked for any free port. */
    address: () => server.server.address(),
    // moleculer-web's settings, methods and hooks are unknown to Moleculer's own type.
  } as unknown as ServiceSchema;
}
