import { Client } from "undici";

/** A server that needs longer than this does not answer. */
const ANSWER_WITHIN_MS = 20_000;

export interface Answer {
  status: number;
  retryAfter: string | undefined;
  location: string | undefined;
  /** Of a refusal; a success is not read. */
  body: string;
}

/** One connection that is kept alive and carries one request at a time. */
export interface Connection {
  /**
   * @param headers names and values in turn
   * @throws the client's error when there is no whole answer
   */
  post(path: string, headers: string[], body: string): Promise<Answer>;
  close(): Promise<void>;
}

const only = (header: string | string[] | undefined) =>
  Array.isArray(header) ? header[0] : header;

export function openConnection(origin: string): Connection {
  const client = new Client(origin, {
    pipelining: 1,
    headersTimeout: ANSWER_WITHIN_MS,
    bodyTimeout: ANSWER_WITHIN_MS,
    keepAliveTimeout: 60_000,
  });
  return {
    // dispatch, the lowest of undici's doors: the load is on the same processors as what it measures.
    post: (path, headers, body) =>
      new Promise((resolve, reject) => {
        const answer: Answer = { status: 0, retryAfter: undefined, location: undefined, body: "" };
        client.dispatch(
          { method: "POST", path, headers, body },
          {
            onRequestStart() {},
            onResponseStart(_controller, status, given) {
              answer.status = status;
              answer.retryAfter = only(given["retry-after"]);
              answer.location = only(given.location);
            },
            onResponseData(_controller, chunk) {
              if (answer.status >= 300) answer.body += chunk.toString();
            },
            onResponseEnd: () => resolve(answer),
            onResponseError: (_controller, error) => reject(error),
          },
        );
      }),
    close: () => client.destroy(),
  };
}
