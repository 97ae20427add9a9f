import { Errors } from "moleculer";

/** One field of the input and what is wrong with it, in words for the person who sent it. */
export interface FieldError {
  field: string;
  message: string;
}

/** What every error carries over the wire between nodes: its facts, never a sentence made elsewhere. */
export type Facts = Record<string, unknown> & {
  /** 422 only: the fields at fault. */
  errors?: FieldError[];
  /** 429 and 503: seconds after which another try makes sense. */
  retryAfter?: number;
};

/** A kind of error: its stable code, its HTTP status and its words, defined once. */
export interface ErrorKind<F extends Facts = Facts> {
  new (facts: F): AppError;
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly detail: (facts: F) => string;
}

/**
 * An error that a client may see. Moleculer's fields carry it between nodes: `type` is our stable code
 * and `code` the HTTP status. A remote error loses its class on the way, so branch with {@link isError}.
 */
export class AppError extends Errors.MoleculerError {}

const catalogue = new Map<string, ErrorKind>();

/**
 * Defines a kind of error.
 *
 * @param code stable, SCREAMING_SNAKE; clients branch on it
 * @param status HTTP status
 * @param title the kind in a few words, the same for every occurrence
 * @param detail this occurrence in a sentence, from its facts, which survive the trip between nodes
 * @throws Error when the code is taken: one code has one meaning
 */
export function defineError<F extends Facts = Facts>(
  code: string,
  status: number,
  title: string,
  detail: (facts: F) => string,
): ErrorKind<F> {
  if (catalogue.has(code)) throw new Error(`Error code ${code} is defined twice`);
  const kind = class extends AppError {
    static readonly code = code;
    static readonly status = status;
    static readonly title = title;
    static readonly detail = detail;
    constructor(facts: F) {
      const words = detail(facts);
      // A refusal is an answer: nobody looks for the line that gave it, and to note the lines takes nine times as long
      // as all the rest (12 µs). What is a fault of ours keeps them.
      const { stackTraceLimit } = Error;
      if (status < 500) Error.stackTraceLimit = 0;
      super(words, status, code, facts);
      Error.stackTraceLimit = stackTraceLimit;
      this.name = "AppError";
    }
  };
  // The catalogue reads kinds by code and hands them only the facts that were stored under that code.
  catalogue.set(code, kind as unknown as ErrorKind);
  return kind;
}

/** Every kind defined so far, by code. */
export function errorCatalogue(): ReadonlyMap<string, ErrorKind> {
  return catalogue;
}

/** Whether `error` is of this kind, also when it came from another node and lost its class. */
export function isError(error: unknown, kind: Pick<ErrorKind, "code">): boolean {
  return error instanceof Error && "type" in error && error.type === kind.code;
}

const SECONDS_UNTIL_RETRY = 1;

export const ValidationFailed = defineError<{ errors: FieldError[] }>(
  "VALIDATION_FAILED",
  422,
  "Validation failed",
  ({ errors }) =>
    errors?.length === 1 && errors[0]
      ? `${errors[0].field}: ${errors[0].message}`
      : `${errors?.length ?? 0} fields are not acceptable; see errors.`,
);
export const MalformedJson = defineError(
  "MALFORMED_JSON",
  400,
  "Malformed JSON",
  () => "The body is not valid JSON.",
);
export const BadRequest = defineError(
  "BAD_REQUEST",
  400,
  "Bad request",
  () => "The request is not valid HTTP or broke off before its end.",
);
export const Unauthenticated = defineError<{ token?: "refresh" }>(
  "UNAUTHENTICATED",
  401,
  "Authentication required",
  ({ token }) =>
    token === "refresh"
      ? "The refresh token is unknown, used already or expired, or its session has ended; sign in again."
      : "This needs a valid access token: Authorization: Bearer <token>.",
);
export const Forbidden = defineError(
  "FORBIDDEN",
  403,
  "Forbidden",
  () => "You may not do this with this account.",
);
export const NotFound = defineError("NOT_FOUND", 404, "Not found", () => "There is nothing here.");
export const MethodNotAllowed = defineError<{ allow: string[] }>(
  "METHOD_NOT_ALLOWED",
  405,
  "Method not allowed",
  ({ allow }) => `This path knows ${(allow ?? []).join(", ")}.`,
);
export const RequestTimeout = defineError(
  "REQUEST_TIMEOUT",
  408,
  "Request timeout",
  () => "The request did not arrive in time; send it again, faster.",
);
export const PreconditionFailed = defineError<{ version: number }>(
  "PRECONDITION_FAILED",
  412,
  "Precondition failed",
  ({ version }) => `It has changed since you read it; it is at version ${version} now.`,
);
export const PayloadTooLarge = defineError(
  "PAYLOAD_TOO_LARGE",
  413,
  "Payload too large",
  () => "A body may have 1 MiB at most.",
);
export const UnsupportedMediaType = defineError(
  "UNSUPPORTED_MEDIA_TYPE",
  415,
  "Unsupported media type",
  () => "Send the body as application/json in UTF-8.",
);
export const HeadersTooLarge = defineError(
  "HEADERS_TOO_LARGE",
  431,
  "Request header fields too large",
  () => "The header of the request is too long.",
);
export const RateLimited = defineError<{ retryAfter: number }>(
  "RATE_LIMITED",
  429,
  "Too many requests",
  ({ retryAfter }) => `Too many requests; try again in ${retryAfter} s.`,
);
export const UpgradeRequired = defineError(
  "UPGRADE_REQUIRED",
  426,
  "Upgrade required",
  () => "This is a WebSocket (RFC 6455, version 13); open it as one.",
);
export const TooManySubscriptions = defineError<{ most: number }>(
  "TOO_MANY_SUBSCRIPTIONS",
  409,
  "Too many subscriptions",
  ({ most }) => `One socket has ${most} subscriptions at the most; end others first.`,
);
export const IdempotencyKeyReused = defineError(
  "IDEMPOTENCY_KEY_REUSED",
  422,
  "Idempotency key reused",
  () => "This Idempotency-Key stands for another request of yours; take a new one.",
);
export const IdempotencyInProgress = defineError<{ retryAfter: number }>(
  "IDEMPOTENCY_IN_PROGRESS",
  409,
  "Request in progress",
  () => "A request with this Idempotency-Key is still under way; send it again in a moment.",
);
export const Internal = defineError(
  "INTERNAL",
  500,
  "Internal error",
  () => "Something went wrong on our side; quote the requestId when you report it.",
);
export const ServiceUnavailable = defineError<{ retryAfter?: number }>(
  "SERVICE_UNAVAILABLE",
  503,
  "Service unavailable",
  ({ retryAfter = SECONDS_UNTIL_RETRY }) =>
    `Not available at the moment; try again in ${retryAfter} s.`,
);

/** Moleculer's own failures that mean «nobody could do it now», by their `type`. */
const UNAVAILABLE_TYPES = new Set([
  "SERVICE_NOT_FOUND",
  "SERVICE_NOT_AVAILABLE",
  "REQUEST_TIMEOUT",
  "REQUEST_SKIPPED",
  "REQUEST_REJECTED",
  "QUEUE_FULL",
  "BAD_GATEWAY",
]);

interface ForeignError {
  type?: unknown;
  code?: unknown;
  data?: unknown;
}

/**
 * What a client may know of any error whatsoever: the kind from the catalogue and its facts. What is not
 * in the catalogue is {@link ServiceUnavailable} where Moleculer could not reach anybody, else
 * {@link Internal}; its own message stays in the log.
 */
export function exposedError(error: unknown): { kind: ErrorKind; facts: Facts } {
  const fields = typeof error === "object" && error !== null ? error : {};
  const { type, code, data } = fields as ForeignError;
  // Moleculer has a REQUEST_TIMEOUT as well, of calls between services: 504 there, where ours is 408.
  const isMoleculers = type === RequestTimeout.code && code !== RequestTimeout.status;
  const kind = typeof type === "string" && !isMoleculers ? catalogue.get(type) : undefined;
  if (kind)
    return { kind, facts: (typeof data === "object" && data !== null ? data : {}) as Facts };
  if (typeof type === "string" && UNAVAILABLE_TYPES.has(type)) {
    return {
      // Constructor types are invariant in their facts; the catalogue handles all kinds alike.
      kind: ServiceUnavailable as unknown as ErrorKind,
      facts: { retryAfter: SECONDS_UNTIL_RETRY },
    };
  }
  return { kind: Internal, facts: {} };
}

/** @throws whatever is more than «not at the moment» */
export function unlessUnavailable(error: unknown): void {
  if (!isError(error, ServiceUnavailable)) throw error;
}
