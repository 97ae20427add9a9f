/** The part of the contract by which browsers are told of what happens: Web Push. */
import { ECDH } from "node:crypto";
import { bytesOf } from "../../lib/base64url";
import {
  described,
  id,
  instant,
  integer,
  nullable,
  object,
  optional,
  text,
} from "../../lib/contract/rules";
import { defineError } from "../../lib/errors";

export const PushNotAvailable = defineError(
  "PUSH_NOT_AVAILABLE",
  404,
  "Push not available",
  () => "This server sends no push messages.",
);

const MOST_ENDPOINT_CHARACTERS = 2000;
const LAST_MOMENT = Date.UTC(9999, 11, 31);

function whyNoEndpoint(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") return "must be a URL with https";
  if (url.username || url.password || url.hash) return "must have neither a password nor a #";
  return url.href.length > MOST_ENDPOINT_CHARACTERS
    ? `must have ${MOST_ENDPOINT_CHARACTERS} characters at most`
    : undefined;
}

/** In the one spelling in which browsers give it, so that the same is found again. */
const endpoint = text({
  minLength: 1,
  maxLength: MOST_ENDPOINT_CHARACTERS,
  format: "uri",
  also: whyNoEndpoint,
  normalize: (value) => new URL(value).href,
});

const PUBLIC_KEY_BYTES = 65;
const UNCOMPRESSED = 4;
const SECRET_BYTES = 16;

function isPointOnCurve(key: Buffer): boolean {
  try {
    ECDH.convertKey(key, "prime256v1");
    return true;
  } catch {
    return false;
  }
}

const p256dh = text({
  maxLength: 87,
  also: (value) => {
    const bytes = bytesOf(value, PUBLIC_KEY_BYTES);
    return bytes?.[0] === UNCOMPRESSED && isPointOnCurve(bytes)
      ? undefined
      : "must be an uncompressed public key of P-256 in base64url";
  },
});
const auth = text({
  maxLength: 22,
  also: (value) =>
    bytesOf(value, SECRET_BYTES) ? undefined : `must be ${SECRET_BYTES} bytes in base64url`,
});
const expirationTime = described(
  nullable(integer({ min: 0, max: LAST_MOMENT })),
  "When the browser says that it ends, in milliseconds since 1970; null for never.",
);

export const pushActions = {
  findPushKey: {
    summary: "The key that a browser needs to subscribe: applicationServerKey",
    params: {},
    result: object({ publicKey: text({ maxLength: 87 }) }),
    access: "public",
    rest: { method: "GET", path: "/notifications/push-key" },
    errors: [PushNotAvailable],
  },
  subscribeToPush: {
    summary: "Be told in this browser: the body is what its PushSubscription gives as JSON",
    description:
      "One endpoint belongs to one person: sent again it takes the new keys, and by somebody else it is theirs from " +
      "then on. Of a person's subscriptions the 20 that were sent last are kept.",
    params: {
      endpoint,
      expirationTime: optional(expirationTime),
      keys: object({ p256dh, auth }),
    },
    result: object(
      { id: id(), endpoint, expirationTime, createdAt: instant(), updatedAt: instant() },
      "PushSubscription",
    ),
    access: "signedIn",
    rest: {
      method: "POST",
      path: "/notifications/push-subscriptions",
      status: 201,
      idempotent: true,
    },
    errors: [PushNotAvailable],
  },
  unsubscribeFromPush: {
    summary: "Be told in this browser no more, also where one was not",
    params: { endpoint },
    result: null,
    access: "signedIn",
    rest: { method: "DELETE", path: "/notifications/push-subscriptions", alsoInBody: true },
  },
} as const;
