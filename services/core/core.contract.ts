import { MOST_TOKEN_CHARACTERS } from "../../lib/access-tokens";
import { defineContract, ROLES } from "../../lib/contract/define";
import { boolean, id, integer, object, oneOf, text } from "../../lib/contract/rules";
import { ServiceUnavailable, Unauthenticated } from "../../lib/errors";

/** bcrypt looks at the first 72 bytes alone; longer input is refused instead of being cut in silence. */
const secretText = text({ minLength: 1, maxLength: 72, maxBytes: 72, verbatim: true });

export const claims = object({ id: id(), role: oneOf(ROLES), sessionId: id() });

export const core = defineContract({
  name: "core",
  description: "Hashing and tokens.",
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
  },
  events: {},
});
