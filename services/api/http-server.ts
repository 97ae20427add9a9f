import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import compression from "compression";
import cors from "cors";
import helmet from "helmet";
import { Bag } from "../../lib/bag";
import type { Config } from "../../lib/config";
import { BadRequest, MethodNotAllowed } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { answerOnSocket, faultOfHttp } from "./broken-requests";
import { sendProblem } from "./problem";
import { API_BASE } from "./routes";
import { beginUpgrade, checkUpgrade } from "./upgrades";

/** How long a client may take to send: one that is slower would hold a connection for nothing. */
export interface Patience {
  headersMs: number;
  /** Header and body together. */
  requestMs: number;
  /** Who is late is found out at the next look. */
  lookEveryMs: number;
}

const PATIENCE: Patience = { headersMs: 10_000, requestMs: 30_000, lookEveryMs: 2_000 };
/** Longer than load balancers keep theirs (60 s is common), so that they never write into a closed one. */
const KEEP_ALIVE_MS = 65_000;
/** Requests in flight have this long to end when the server stops. */
const DRAIN_MS = 5_000;

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const REQUEST_ID = /^[\w.-]{1,100}$/;
/** The scheme and host of a target that names the server in full (RFC 9112, 3.2.2). */
const AUTHORITY = /^https?:\/\/[^/?#]*/i;

type Middleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

const run = (middleware: Middleware, req: IncomingMessage, res: ServerResponse) =>
  new Promise<void>((resolve, reject) =>
    middleware(req, res, (error) => (error ? reject(error) : resolve())),
  );

/** The id under which a request is logged and answered: the client's own where it has a sane one. */
function requestIdOf(req: IncomingMessage): string {
  const given = req.headers["x-request-id"];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : newId();
}

/** These packages are written for Express, whose requests are Node's with more on them; they use Node's part. */
const asPlain = (middleware: unknown) => middleware as Middleware;

/** The security headers, which are the same for every answer: helmet is asked for them once. */
function securityHeaders(): readonly (readonly [name: string, value: string])[] {
  const headers: [string, string][] = [];
  const setHeader = (name: string, value: string) => headers.push([name, value]);
  const recorder = { setHeader, removeHeader() {} } as unknown as ServerResponse;
  const setAll = asPlain(
    helmet({
      contentSecurityPolicy: {
        // The documentation must work over plain HTTP too, where there is nothing to upgrade to.
        directives: { "upgrade-insecure-requests": null },
      },
    }),
  );
  setAll({ headers: {} } as IncomingMessage, recorder, (error) => {
    if (error) throw error;
  });
  return headers;
}

/**
 * What has to look at a request before it is handled. CORS is by exact origin; without origins there is none.
 *
 * Only reads are compressed: the answer to a change is one thing at the most. Nor is anything under /auth: it holds
 * tokens beside what the client sent, and compression would tell by its length what they have in common (BREACH).
 */
function middlewaresOf(config: Config): (req: IncomingMessage) => Middleware[] {
  const always = config.corsOrigins.length
    ? [
        asPlain(
          cors({
            origin: [...config.corsOrigins],
            methods: METHODS,
            exposedHeaders: [
              "ETag",
              "Idempotency-Replayed",
              "Location",
              "Retry-After",
              "X-Request-Id",
              "X-RateLimit-Limit",
              "X-RateLimit-Remaining",
              "X-RateLimit-Reset",
            ],
            maxAge: 600,
            preflightContinue: true,
          }),
        ),
      ]
    : [];
  const forReads = [...always, asPlain(compression())];
  // Decided before moleculer-web cuts the base off the URL.
  return (req) => (isRead(req) && !req.url?.startsWith(`${API_BASE}/auth/`) ? forReads : always);
}

const isRead = ({ method }: IncomingMessage) => method === "GET" || method === "HEAD";

/** Brings a request into the one form that all behind here know. */
function normalize(req: IncomingMessage, requestId: string): void {
  // Moleculer-web takes the id of its context from here, and would prefer the other header.
  req.headers["x-request-id"] = requestId;
  delete req.headers["x-correlation-id"];
  const target = (req.url ?? "/").replace(AUTHORITY, "");
  req.url = target.startsWith("/") || target === "*" ? target : `/${target}`;
  // Moleculer-web would answer 304 to a POST that has been done.
  if (!isRead(req)) delete req.headers["if-none-match"];
  // This is for caches on the way; `fetch` says «no-cache» beside its own If-None-Match, and means to ask us.
  delete req.headers["cache-control"];
}

/** HTTP/1.1 asks for it (RFC 9112, 3.2); Node's own refusal would have no body. */
function checkHost({ httpVersion, headers }: IncomingMessage): void {
  if (httpVersion === "1.1" && headers.host === undefined) throw new BadRequest({});
}

export interface HttpServer {
  readonly server: Server;
  /** Whether it has begun to stop. */
  readonly draining: boolean;
  /**
   * @throws NodeJS.ErrnoException with code EADDRINUSE when the port is taken
   */
  listen(): Promise<void>;
  /** Lets requests in flight end, then stops to accept and closes. */
  drain(): Promise<void>;
}

/** Handles a request whose headers are prepared; it must not throw. */
export type RequestHandler = (
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
) => Promise<void>;

export function httpServer(
  config: Config,
  handle: RequestHandler,
  { headersMs, requestMs, lookEveryMs } = PATIENCE,
): HttpServer {
  const security = securityHeaders();
  const middlewaresFor = middlewaresOf(config);
  // These stay for long, and may be very many: a Bag would look through all of them for each that goes.
  const connections = new Set<Socket>();
  const answers = new Bag<ServerResponse>();
  let draining = false;
  let answeredOne = () => {};

  const forget = (res: ServerResponse) => {
    answers.delete(res);
    answeredOne();
    if (draining) hangUpIdle();
  };

  const settings = { requireHostHeader: false, connectionsCheckingInterval: lookEveryMs };
  const server = createServer(settings, async (req, res) => {
    answers.add(res);
    res.once("close", () => forget(res));
    const requestId = requestIdOf(req);
    normalize(req, requestId);
    for (const [name, value] of security) res.setHeader(name, value);
    res.setHeader("X-Request-Id", requestId);
    if (draining) res.setHeader("Connection", "close");
    try {
      for (const middleware of middlewaresFor(req)) await run(middleware, req, res);
      checkHost(req);
      checkUpgrade(req);
      await handle(req, res, requestId);
    } catch (error) {
      sendProblem(req, res, error, requestId);
    }
  });
  server.requestTimeout = requestMs;
  server.headersTimeout = headersMs;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("connection", (socket) => {
    connections.add(socket);
    socket.once("close", () => {
      connections.delete(socket);
      // An answer that waits behind another one on the same connection does not hear of its end.
      for (const res of answers) if (res.req.socket === socket) forget(res);
    });
  });
  // Who expects what we do not know gets the answer all the same, as RFC 9110 (10.1.1) allows.
  server.on("checkExpectation", (req, res) => server.emit("request", req, res));
  const answersOn = (socket: Duplex) => [...answers].filter((res) => res.req.socket === socket);
  /** Where half of an answer is out already, another one would be taken for the rest of it. */
  const refuse = (socket: Duplex, fault: Error) => {
    const isAnswering = answersOn(socket).some((res) => res.headersSent);
    if (isAnswering || !socket.writable) socket.destroy();
    else answerOnSocket(socket, fault);
  };
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    const fault = faultOfHttp(error);
    // Whose header was in order is a request like any other, and gets its answer as one.
    const begun = answersOn(socket).find(({ req }) => !req.complete);
    if (!begun || begun.headersSent) {
      refuse(socket, fault);
      return;
    }
    begun.setHeader("Connection", "close");
    sendProblem(begun.req, begun, fault, String(begun.getHeader("X-Request-Id")));
  });
  // Node takes a connection that asks for another protocol out of HTTP. It is a request all the same: whatever is
  // answered but «yes» is answered like any other.
  server.on("upgrade", (req, socket, head) => {
    // Whoever takes it over ends it in their own way; else its answer does.
    connections.delete(socket as Socket);
    // Always one of TCP; Node's type is wider.
    const res = beginUpgrade(req, socket as Socket, head, new ServerResponse(req));
    server.emit("request", req, res);
  });
  // A tunnel to somewhere else, which Node would refuse without a word.
  server.on("connect", (_req, socket) => refuse(socket, new MethodNotAllowed({ allow: METHODS })));

  /** Node's own closing of idle connections spares those on which nothing was ever asked. */
  const hangUpIdle = () => {
    if (server.listening) return;
    const busy = new Set([...answers].map(({ req }) => req.socket));
    for (const socket of connections) if (!busy.has(socket)) socket.destroySoon();
  };

  const allAnswered = async (waiting: readonly ServerResponse[]) => {
    while (waiting.some((res) => answers.has(res))) {
      await new Promise<void>((resolve) => {
        answeredOne = resolve;
      });
    }
  };

  return {
    server,
    get draining() {
      return draining;
    },
    listen: () =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(config.port, config.host, () => {
          server.off("error", reject);
          resolve();
        });
      }),
    async drain() {
      if (draining || !server.listening) return;
      draining = true;
      const inFlight = [...answers];
      for (const res of inFlight) if (!res.headersSent) res.setHeader("Connection", "close");
      const deadline = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      // Who asks meanwhile whether we are ready shall hear that we are not, so the door stays open so long.
      await allAnswered(inFlight);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      hangUpIdle();
      await closed;
      clearTimeout(deadline);
    },
  };
}
