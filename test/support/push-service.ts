/** A push service with its browsers: checks what it is sent as RFC 8030, 8188, 8291 and 8292 ask, and opens it. */
import {
  createDecipheriv,
  createECDH,
  createPublicKey,
  type ECDH,
  hkdfSync,
  randomBytes,
  verify,
} from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type StandIn, standIn } from "./stand-in-server";

/** Keys for tests, a pair. */
export const VAPID = {
  VAPID_PUBLIC_KEY:
    "BEFhpuy5Tg80yEAEw6ihLMLLh2ClcYNR-GiQP1JZdyHoPGEprTRNKC2DJ3ytRIsBGqHpkNq4W_ilYhUurAmLG1k",
  VAPID_PRIVATE_KEY: "VoEkCXDkkLGhvoGNAi4QIN7HNWIBFgV8aGqRdXuu-I0",
  VAPID_SUBJECT: "mailto:ops@example.org",
};

/** A message as a browser's service worker is given it, with what the push service was told about it. */
export interface TakenPush {
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it sent
  payload: any;
  ttl: string | undefined;
  urgency: string | undefined;
  topic: string | undefined;
}

export interface Browser {
  /** As its PushSubscription gives it. */
  readonly subscription: {
    endpoint: string;
    expirationTime: null;
    keys: { p256dh: string; auth: string };
  };
  readonly taken: TakenPush[];
}

interface Keys {
  pair: ECDH;
  auth: Buffer;
}

const UNCOMPRESSED_BYTES = 65;
const TAG_BYTES = 16;
const LAST_RECORD = 2;

/** Opens what is encrypted to a browser: RFC 8291 with one record of RFC 8188. */
function opened(body: Buffer, { pair, auth }: Keys): string {
  const salt = body.subarray(0, 16);
  const recordSize = body.readUInt32BE(16);
  const idLength = body.readUInt8(20);
  const theirs = body.subarray(21, 21 + idLength);
  const record = body.subarray(21 + idLength);
  if (idLength !== UNCOMPRESSED_BYTES || record.length > recordSize) {
    throw new Error("The header of aes128gcm is wrong");
  }
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), pair.getPublicKey(), theirs]);
  const secret = Buffer.from(hkdfSync("sha256", pair.computeSecret(theirs), auth, info, 32));
  const key = hkdfSync("sha256", secret, salt, "Content-Encoding: aes128gcm\0", 16);
  const nonce = hkdfSync("sha256", secret, salt, "Content-Encoding: nonce\0", 12);
  const decipher = createDecipheriv("aes-128-gcm", Buffer.from(key), Buffer.from(nonce));
  decipher.setAuthTag(record.subarray(-TAG_BYTES));
  const text = Buffer.concat([decipher.update(record.subarray(0, -TAG_BYTES)), decipher.final()]);
  const end = text.findLastIndex((byte) => byte !== 0);
  if (text[end] !== LAST_RECORD) throw new Error("The record has no end");
  return text.subarray(0, end).toString();
}

const partOf = (part = "") => JSON.parse(Buffer.from(part, "base64url").toString());
const DAY_S = 86_400;
const MOST_BYTES = 4096;

function check(fact: boolean, words: string): void {
  if (!fact) throw new Error(words);
}

/** @throws Error where the sender is not who a browser's subscription is for: RFC 8292 */
function checkSender(authorization: string | undefined, origin: string): void {
  const [, token = "", key = ""] =
    /^vapid t=([\w.-]+), ?k=([\w-]+)$/.exec(authorization ?? "") ?? [];
  check(key === VAPID.VAPID_PUBLIC_KEY, "Another key");
  const [head, claims, signature = ""] = token.split(".");
  const point = Buffer.from(key, "base64url");
  const jwk = {
    ...{ kty: "EC", crv: "P-256" },
    x: point.subarray(1, 33).toString("base64url"),
    y: point.subarray(33).toString("base64url"),
  };
  const isSigned = verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  check(isSigned && partOf(head).alg === "ES256", "No signature");
  const { aud, exp, sub } = partOf(claims);
  const now = Date.now() / 1000;
  check(aud === origin, `For ${aud}`);
  check(exp > now && exp <= now + DAY_S, `Until ${exp}`);
  check(sub === VAPID.VAPID_SUBJECT, `From ${sub}`);
}

/** @throws Error where it is not as RFC 8030 asks */
function taken({ method, headers }: IncomingMessage, body: Buffer, keys: Keys): TakenPush {
  const { ttl, urgency, topic } = headers as Record<string, string>;
  check(method === "POST", "No POST");
  check(headers["content-encoding"] === "aes128gcm", "Not encrypted");
  check(/^\d+$/.test(ttl ?? ""), "No TTL");
  check(/^(very-low|low|normal|high)$/.test(urgency ?? ""), "No urgency");
  check(/^[\w-]{1,32}$/.test(topic ?? ""), "No topic");
  check(body.length <= MOST_BYTES, "Too long");
  return { payload: JSON.parse(opened(body, keys)), ttl, urgency, topic };
}

export interface PushService extends StandIn {
  /** Somebody lets a site send them push messages. */
  browser(): Browser;
  /** Why messages were not taken. */
  readonly refused: string[];
}

export async function startPushService(): Promise<PushService> {
  const browsers = new Map<string, { keys: Keys; taken: TakenPush[] }>();
  const refused: string[] = [];
  const server = await standIn((req, body) => {
    const browser = browsers.get(req.url ?? "");
    if (!browser) return { status: 404 };
    try {
      checkSender(req.headers.authorization, `http://${req.headers.host}`);
      browser.taken.push(taken(req, body, browser.keys));
      return { status: 201 };
    } catch (error) {
      refused.push(String(error));
      return { status: 403 };
    }
  });
  return Object.assign(Object.create(server) as StandIn, {
    refused,
    browser() {
      const pair = createECDH("prime256v1");
      const p256dh = pair.generateKeys("base64url");
      const auth = randomBytes(16);
      const path = `/push/${randomBytes(12).toString("hex")}`;
      const received: TakenPush[] = [];
      browsers.set(path, { keys: { pair, auth }, taken: received });
      const keys = { p256dh, auth: auth.toString("base64url") };
      const endpoint = `${server.origin}${path}`;
      return { subscription: { endpoint, expirationTime: null, keys }, taken: received };
    },
  });
}
