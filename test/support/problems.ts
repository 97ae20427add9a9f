import type { Answer } from "./people";

type Body = NonNullable<NonNullable<Parameters<typeof fetch>[1]>["body"]>;

export interface AskOptions {
  headers?: Record<string, string>;
  body?: Body;
}

/**
 * Asks for anything at all, by a path from the root. Unlike `Api` it neither sets a header by itself nor
 * holds the answer against the API's description: that has no word for what is asked here.
 */
export async function ask(
  origin: string,
  method: string,
  path: string,
  { headers = {}, body }: AskOptions = {},
): Promise<Answer> {
  const answer = await fetch(`${origin}${path}`, {
    method,
    headers,
    redirect: "manual",
    ...(body === undefined ? {} : { body, duplex: "half" }),
  });
  const text = await answer.text();
  const isJson = answer.headers.get("content-type")?.includes("json") && text !== "";
  return {
    status: answer.status,
    headers: answer.headers,
    body: isJson ? JSON.parse(text) : text,
  };
}

/** A JSON body with its content type. */
export const json = (value: unknown): AskOptions => ({
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

/** What an answer is, in the two words that clients branch on. */
export const outcome = ({ status, body }: Answer): [number, string | undefined] => [
  status,
  body?.code,
];

/** The fields that a 422 finds fault with. */
export const faultyFields = ({ body }: Answer): string[] =>
  (body.errors ?? []).map(({ field }: { field: string }) => field).sort();

/** Words of the inside that no client may read. */
const INSIDE = /sequelize|postgres|select |insert |node_modules|\.ts\b|\.js\b|\/home\/| at \w+ \(/i;

/** Holds a refusal against RFC 9457 and what the contract adds to it. */
export function expectProblem(answer: Answer, status: number, code: string): void {
  expect(outcome(answer)).toEqual([status, code]);
  const { body, headers } = answer;
  expect(headers.get("content-type")).toMatch(/^application\/problem\+json/);
  expect(body).toEqual({
    type: expect.stringMatching(/^urn:marquee:problem:[a-z-]+$/),
    title: expect.stringMatching(/\S/),
    status,
    detail: expect.stringMatching(/\S/),
    code,
    requestId: headers.get("x-request-id"),
    ...(body.errors ? { errors: expect.any(Array) } : {}),
  });
  for (const error of body.errors ?? []) {
    expect(error).toEqual({
      field: expect.stringMatching(/\S/),
      message: expect.stringMatching(/\S/),
    });
  }
  expect(JSON.stringify(body)).not.toMatch(INSIDE);
}
