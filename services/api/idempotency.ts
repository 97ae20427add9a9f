import type { IncomingMessage } from "node:http";
import { ValidationFailed } from "../../lib/errors";

export const MOST_KEY_CHARACTERS = 255;

/**
 * The `Idempotency-Key` of a request, if it has one.
 *
 * @throws ValidationFailed for one of a length that the API's contract does not allow
 */
export function idempotencyKeyOf({ headers }: IncomingMessage): string | undefined {
  const key = headers["idempotency-key"];
  if (key === undefined) return undefined;
  const message =
    typeof key !== "string" || key.length < 1 || key.length > MOST_KEY_CHARACTERS
      ? `must have 1 to ${MOST_KEY_CHARACTERS} characters`
      : undefined;
  if (message) throw new ValidationFailed({ errors: [{ field: "Idempotency-Key", message }] });
  return String(key);
}
