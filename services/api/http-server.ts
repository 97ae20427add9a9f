import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import compression from "compression";
import cors from "cors";
import helmet from "helmet";
import type { Config } from "../../lib/config";
import { BadRequest, HeadersTooLarge } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { PROBLEM_TYPE, problemOf, sendProblem } from "./problem";

/** A client that sends slower than this is not served: it would hold a connection for nothing. */
const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** Longer than load balancers keep theirs (60 s is common), so that they never write into a closed one. */
const KEEP_ALIVE_MS = 65_000;
/** Requests in flight have this long to end when the server stops. */
const DRAIN_MS = 5_000;

const REQUEST_ID = /^[\w.-]{1,100}$/;

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

/**
 * Headers and encodings that every answer gets. CORS is by exact origin; without origins there is none.
 *
 * Answers under /auth are not compressed: they hold tokens beside what the client sent, and compression
 * would tell by their length what they have in common (BREACH).
 */
function middlewaresOf(config: Config): Middleware[] {
  // These packages are written for Express, whose requests are Node's with more on them; they use Node's part.
  const asPlain = (middleware: unknown) => middleware as Middleware;
  return [
    asPlain(
      helmet({
        contentSecurityPolicy: {
          // The documentation must work over plain HTTP too, where there is nothing to upgrade to.
          directives: { "upgrade-insecure-requests": null },
        },
      }),
    ),
    ...(config.corsOrigins.length
      ? [
          asPlain(
            cors({
              origin: [...config.corsOrigins],
              methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
              exposedHeaders: [
                "ETag",
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
      : []),
    asPlain(
      compression({
        filter: (req, res) => !req.url?.startsWith("/api/auth/") && compression.filter(req, res),
      }),
    ),
  ];
}

/** What HTTP itself goes wrong with never becomes a request; the answer is written to the bare socket. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const kind = error.code === "HPE_HEADER_OVERFLOW" ? HeadersTooLarge : BadRequest;
  const requestId = newId();
  const { problem } = problemOf(new kind({}), requestId);
  const body = JSON.stringify(problem);
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      `Content-Type: ${PROBLEM_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${requestId}`,
      "Connection: close",
      "",
      body,
    ].join("\r\n"),
  );
}

export interface HttpServer {
  readonly server: Server;
  /** Whether it has begun to stop. */
  readonly draining: boolean;
  /**
   * @throws NodeJS.ErrnoException with code EADDRINUSE when the port is taken
   */
  listen(): Promise<void>;
  /** Stops to accept, lets requests in flight end, then closes. */
  drain(): Promise<void>;
}

/** Handles a request whose headers are prepared; it must not throw. */
export type RequestHandler = (
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
) => Promise<void>;

export function httpServer(config: Config, handle: RequestHandler): HttpServer {
  const middlewares = middlewaresOf(config);
  let draining = false;

  const server = createServer(async (req, res) => {
    const requestId = requestIdOf(req);
    // Moleculer-web takes the id of its context from here, and would prefer the other header.
    req.headers["x-request-id"] = requestId;
    delete req.headers["x-correlation-id"];
    res.setHeader("X-Request-Id", requestId);
    if (draining) res.setHeader("Connection", "close");
    try {
      for (const middleware of middlewares) await run(middleware, req, res);
      await handle(req, res, requestId);
    } catch (error) {
      sendProblem(req, res, error, requestId);
    }
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("clientError", answerBrokenRequest);

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
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
      await closed;
      clearTimeout(late);
    },
  };
}
