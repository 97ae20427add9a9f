import { type Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { type Agent as HttpsAgent, request as httpsRequest } from "node:https";

/** Of an answer nobody needs more than a few hundred bytes; what is longer is not read. */
const MOST_ANSWER_BYTES = 65_536;
/** From the look-up of the name to the end of the answer; unless told. */
const ANSWER_WITHIN_MS = 10_000;

export interface Post {
  /** Whose server it is, in words, for errors. */
  to: string;
  headers: Record<string, string | number>;
  body: string | Buffer;
  /** False for a connection of its own, which nobody closes at the moment of sending. */
  agent?: HttpAgent | HttpsAgent | false;
  answerWithinMs?: number;
}
export interface PostAnswer {
  status: number;
  retryAfter: string | undefined;
  /** As much of it as there is in time, and is worth reading; whoever needs the status alone waits for none of it. */
  text: Promise<string>;
}

/** Whatever is read after the status is known may break off: the status is the answer. */
function readText(answer: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = () => resolve(Buffer.concat(chunks).toString());
    answer.on("data", (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > MOST_ANSWER_BYTES) answer.destroy();
    });
    answer.once("error", done);
    answer.once("close", done);
  });
}

/** There was no answer. Says why by a code; the URL may be a secret. */
export class Unreachable extends Error {
  /** Whether the request was written to the end: then it may have been heard. */
  readonly isWritten: boolean;
  /** Whether it was waited for as long as anybody is; not where it was given up before. */
  readonly isTooLate: boolean;
  constructor(whose: string, why: string, how: { isWritten: boolean; isTooLate: boolean }) {
    super(`${whose} could not be reached: ${why}`);
    this.name = "Unreachable";
    this.isWritten = how.isWritten;
    this.isTooLate = how.isTooLate;
  }
}

/**
 * Sends one POST and follows no redirect.
 *
 * @param within gives it up; nobody is given longer than `answerWithinMs` in any case
 * @throws Unreachable where there was no status in time
 */
export function post(
  url: URL,
  { to, headers, body, agent, answerWithinMs = ANSWER_WITHIN_MS }: Post,
  within: AbortSignal,
): Promise<PostAnswer> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const signal = AbortSignal.any([within, AbortSignal.timeout(answerWithinMs)]);
    const request = send(url, { method: "POST", headers, agent, signal });
    request.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new Unreachable(to, signal.aborted ? "no answer in time" : (error.code ?? error.name), {
          isWritten: request.writableFinished,
          isTooLate: signal.aborted && !within.aborted,
        }),
      ),
    );
    request.once("response", (answer) => {
      // One that breaks off from here on fails the request once more, when nobody listens any more.
      request.on("error", () => {});
      const {
        statusCode: status = 0,
        headers: { "retry-after": retryAfter },
      } = answer;
      resolve({ status, retryAfter, text: readText(answer) });
    });
    request.end(body);
  });
}

/** Nobody is waited for longer than this, whatever they ask for. */
const LONGEST_REST_MS = 3_600_000;

const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** How long a `Retry-After` asks to wait, in seconds or until a date; undefined where it says nothing of use. */
export function restMs(retryAfter: string | undefined, now: Date): number | undefined {
  if (retryAfter === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(retryAfter)
    ? Number(retryAfter) * 1000
    : HTTP_DATE.test(retryAfter)
      ? Date.parse(retryAfter) - now.getTime()
      : Number.NaN;
  if (Number.isNaN(ms)) return undefined;
  return Math.min(Math.max(ms, 0), LONGEST_REST_MS);
}
