import { MOST_TOKEN_CHARACTERS } from "../../lib/access-tokens";
import { defineContract, ROLES } from "../../lib/contract/define";
import {
  boolean,
  id,
  instant,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
} from "../../lib/contract/rules";
import { ServiceUnavailable, Unauthenticated } from "../../lib/errors";

/** bcrypt looks at the first 72 bytes alone; longer input is refused instead of being cut in silence. */
const secretText = text({ minLength: 1, maxLength: 72, maxBytes: 72, verbatim: true });

export const claims = object({ id: id(), role: oneOf(ROLES), sessionId: id() });

const serviceName = text({ minLength: 1, maxLength: 100 });
const undelivered = object({
  consumer: serviceName,
  eventId: id(),
  name: text({ maxLength: 100 }),
  attempts: integer({ min: 0 }),
  error: text({ maxLength: 1000, multiline: true }),
  nextTryAt: nullable(instant()),
  deadAt: nullable(instant()),
});

export const core = defineContract({
  name: "core",
  description: "Hashing and tokens; what became of events that a service could not handle.",
  actions: {
    $hashText: {
      summary: "Hash a text with bcrypt",
      params: { text: secretText },
      result: object({ hash: text({ maxLength: 100 }) }),
      errors: [ServiceUnavailable],
    },
    $compareText: {
      summary: "Compare a text with a bcrypt hash",
      params: { text: secretText, hash: text({ maxLength: 100 }) },
      result: object({ matches: boolean() }),
      errors: [ServiceUnavailable],
    },
    $signJwt: {
      summary: "Sign an access token for a session",
      params: { claims },
      result: object({ token: text({ maxLength: MOST_TOKEN_CHARACTERS }), expiresIn: integer() }),
    },
    $verifyJwt: {
      summary: "Verify an access token: signature, algorithm, issuer, audience, expiry",
      params: { token: text({ maxLength: MOST_TOKEN_CHARACTERS, verbatim: true }) },
      result: claims,
      errors: [Unauthenticated],
    },
    $listUndelivered: {
      summary: "Events that a service could not handle: dead, or to be tried again",
      params: {
        consumer: optional(serviceName),
        dead: optional(boolean()),
        limit: optional(integer({ min: 1, max: 1000 })),
      },
      result: list(undelivered),
    },
    $replay: {
      summary: "Let a service try its dead events again: one, or all",
      params: { consumer: serviceName, eventId: optional(id()) },
      result: object({ replayed: integer({ min: 0 }) }),
    },
  },
  events: {},
});
