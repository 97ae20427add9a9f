import type { Duplex } from "node:stream";
import { BadRequest, type ErrorKind, HeadersTooLarge, RequestTimeout } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { PROBLEM_TYPE, problemOf } from "./problem";

/** So long a connection stays after its last answer: one that is cut at once can lose it on the way. */
const LINGER_MS = 2_000;

/** Node's codes for what is wrong with a request before it is one; all others are plain bad HTTP. */
const KINDS: Readonly<Record<string, ErrorKind>> = {
  HPE_HEADER_OVERFLOW: HeadersTooLarge,
  ERR_HTTP_REQUEST_TIMEOUT: RequestTimeout,
};

/** What a client may know of an error of Node's HTTP parser. */
export const faultOfHttp = ({ code = "" }: NodeJS.ErrnoException): Error =>
  new (KINDS[code] ?? BadRequest)({});

/**
 * Answers with a problem where there is no request to answer, and closes the connection. Without a request
 * there is nobody to count it for either, hence no `X-RateLimit-*`.
 */
export function answerOnSocket(socket: Duplex, fault: Error): void {
  // Whoever has gone before the answer is read has not harmed us.
  socket.on("error", () => {});
  const requestId = newId();
  const { problem, headers } = problemOf(fault, requestId);
  const body = JSON.stringify(problem);
  const fields = {
    ...headers,
    "Content-Type": PROBLEM_TYPE,
    "Content-Length": Buffer.byteLength(body),
    "X-Request-Id": requestId,
    Connection: "close",
  };
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
      "",
      body,
    ].join("\r\n"),
  );
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}
