import type { IncomingMessage, ServerResponse } from "node:http";
import { exposedError } from "../../lib/errors";

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

/** A problem's `type`: a name and no address, because it must not depend on where this runs. */
const typeOf = (code: string) => `urn:marquee:problem:${code.toLowerCase().replaceAll("_", "-")}`;

/** What there is to upgrade to (RFC 9110, 15.5.22; RFC 6455, 4.4). */
const SOCKET = { Upgrade: "websocket", "Sec-WebSocket-Version": "13" };

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  requestId: string;
  errors?: { field: string; message: string }[];
}

/** Any error as what a client may know of it (RFC 9457), and the headers that go with it. */
export function problemOf(
  error: unknown,
  requestId: string,
): { problem: Problem; headers: Record<string, string> } {
  const { kind, facts } = exposedError(error);
  const headers: Record<string, string> = { "Cache-Control": "no-store" };
  if (facts.retryAfter !== undefined) headers["Retry-After"] = String(facts.retryAfter);
  if (kind.status === 401) headers["WWW-Authenticate"] = 'Bearer realm="marquee"';
  if (kind.status === 426) Object.assign(headers, SOCKET);
  if (Array.isArray(facts.allow)) headers.Allow = facts.allow.join(", ");
  return {
    problem: {
      type: typeOf(kind.code),
      title: kind.title,
      status: kind.status,
      detail: kind.detail(facts),
      code: kind.code,
      requestId,
      ...(facts.errors ? { errors: facts.errors } : {}),
    },
    headers,
  };
}

/** Answers a request with a problem; gives its status. */
export function sendProblem(
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  requestId: string,
): number {
  const { problem, headers } = problemOf(error, requestId);
  if (res.headersSent) {
    // Half an answer is out: all that is left is to break off, so that nobody takes it for a whole one.
    res.destroy();
    return problem.status;
  }
  for (const name of ["ETag", "Location", "Content-Encoding"]) res.removeHeader(name);
  const body = JSON.stringify(problem);
  res.writeHead(problem.status, { ...headers, "Content-Type": PROBLEM_TYPE });
  res.end(req.method === "HEAD" ? undefined : body);
  return problem.status;
}
