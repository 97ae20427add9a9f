import type { IncomingMessage, ServerResponse } from "node:http";
import { raw } from "body-parser";
import {
  BadRequest,
  MalformedJson,
  PayloadTooLarge,
  UnsupportedMediaType,
  ValidationFailed,
} from "../../lib/errors";

const MAX_BODY_BYTES = 1_048_576;
/** No body of the contract is deeper than five; the serializers between nodes recurse, and would overflow. */
const MAX_DEPTH = 32;

const readBytes = raw({ limit: MAX_BODY_BYTES, type: () => true });

const JSON_TYPE = /^application\/(?:json|[\w.+-]+\+json)\s*(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]*)/i;

const isJsonType = (type: string): boolean =>
  JSON_TYPE.test(type) && (CHARSET.exec(type)?.[1] ?? "utf-8").toLowerCase() === "utf-8";

interface ParserError {
  type?: unknown;
}

function translated(error: ParserError): Error {
  switch (error.type) {
    case "entity.too.large":
      return new PayloadTooLarge({});
    case "encoding.unsupported":
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

function parsed(bytes: Buffer): unknown {
  try {
    // Fatal: a decoder that guesses would store something else than was sent.
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new MalformedJson({});
  }
}

/**
 * Reads a JSON body; undefined where there is none.
 *
 * @param isIgnored whether it means nothing, so that it may be anything that is not too large
 * @throws PayloadTooLarge, UnsupportedMediaType, MalformedJson, BadRequest: the first of this order
 */
export async function readBody(
  req: IncomingMessage,
  res: ServerResponse,
  isIgnored = false,
): Promise<unknown> {
  if (!hasBody(req)) return undefined;
  if (Number(req.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw new PayloadTooLarge({});
  const isJson = isJsonType(req.headers["content-type"] ?? "");
  await new Promise<void>((resolve, reject) =>
    readBytes(req, res, (error?: unknown) => {
      if (!error) return resolve();
      const fault = translated(error as ParserError);
      // How much there is comes before what it is, and what it is before what is wrong with it.
      reject(isJson || fault instanceof PayloadTooLarge ? fault : new UnsupportedMediaType({}));
    }),
  );
  // Where body-parser puts what it has read; always bytes, because it takes every type.
  const { body } = req as IncomingMessage & { body: Buffer };
  if (body.length === 0 || isIgnored) return undefined;
  if (!isJson) throw new UnsupportedMediaType({});
  return parsed(body);
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((part) => isDeeper(part, depth - 1));
}

/** @throws ValidationFailed for a body that is nested deeper than any that means something */
export function checkDepth(body: unknown): void {
  if (isDeeper(body, MAX_DEPTH)) {
    throw new ValidationFailed({ errors: [{ field: "body", message: "is nested too deeply" }] });
  }
}
