import type { IncomingMessage, ServerResponse } from "node:http";
import { json } from "body-parser";
import { BadRequest, MalformedJson, PayloadTooLarge, UnsupportedMediaType } from "../../lib/errors";

const MAX_BODY_BYTES = 1_048_576;

const parse = json({ limit: MAX_BODY_BYTES, strict: false, type: () => true });

const JSON_TYPE = /^application\/(?:json|[\w.+-]+\+json)\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

interface ParserError {
  type?: unknown;
}

function translated(error: ParserError): Error {
  switch (error.type) {
    case "entity.too.large":
      return new PayloadTooLarge({});
    case "encoding.unsupported":
    case "charset.unsupported":
      return new UnsupportedMediaType({});
    case "request.aborted":
    case "request.size.invalid":
      return new BadRequest({});
    default:
      return new MalformedJson({});
  }
}

/** Whether a request brings a body; `Content-Length: 0` is none. */
const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;

/**
 * Reads a JSON body; undefined where there is none.
 *
 * @throws PayloadTooLarge, UnsupportedMediaType, MalformedJson, BadRequest: the first of this order
 */
export async function readBody(req: IncomingMessage, res: ServerResponse): Promise<unknown> {
  if (!hasBody(req)) return undefined;
  if (Number(req.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw new PayloadTooLarge({});
  if (!JSON_TYPE.test(req.headers["content-type"] ?? "")) throw new UnsupportedMediaType({});
  await new Promise<void>((resolve, reject) =>
    parse(req, res, (error?: unknown) =>
      error ? reject(translated(error as ParserError)) : resolve(),
    ),
  );
  return (req as IncomingMessage & { body?: unknown }).body;
}
