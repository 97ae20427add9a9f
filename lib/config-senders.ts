/** What reaches people by SMS and by Web Push: each a group of variables, all of which are set or none. */
import { createECDH } from "node:crypto";
import { bytesOf } from "./base64url";
import type { Reader } from "./config";
import { EMAIL } from "./email";

/** An account with Twilio. */
export interface SmsConfig {
  accountSid: string;
  authToken: string;
  /** A number, a short code, a name, or the SID of a messaging service (`MG…`). */
  from: string;
  /** Without a slash at its end. */
  apiBase: string;
}

/** By which push services know this server (VAPID, RFC 8292). */
export interface PushConfig {
  /** Base64url, as browsers take it. */
  publicKey: string;
  privateKey: string;
  /** Whom a push service writes to: `mailto:` or `https:`. */
  subject: string;
  /** Addresses or networks (CIDR) that a subscription may lead to although they are not public. */
  privateNetworks: readonly string[];
}

const TWILIO_API = "https://api.twilio.com";
const ACCOUNT_SID = /^AC[0-9A-Za-z]{32}$/;
/** It becomes a part of a header. */
const TOKEN = /^[\x21-\x7e]{1,200}$/;
const NUMBER = /^\+[1-9]\d{6,14}$/;
const SHORT_CODE = /^\d{3,8}$/;
/** A messaging service of Twilio, which picks the number by itself. */
export const MESSAGING_SERVICE = /^MG[0-9A-Za-z]{32}$/;
const SENDER_NAME = /^(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}$/;

/** The values of a group that goes together; undefined where none is set, and where one is missing. */
function together<N extends string>(
  read: Reader,
  names: readonly N[],
): Record<N, string> | undefined {
  const given = names.flatMap((name) => {
    const value = read.text(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  if (given.length === 0) return undefined;
  for (const name of names) {
    if (given.some(([set]) => set === name)) continue;
    read.fail(
      name,
      `is missing; ${names.slice(0, -1).join(", ")} and ${names.at(-1)} go together.`,
    );
  }
  if (given.length < names.length) return undefined;
  // Each of them was found above.
  return Object.fromEntries(given) as Record<N, string>;
}

/** In clear to Twilio itself the token would be anybody's; to another server that is the operator's own concern. */
function isApiBase(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, search, hash, username, password } = new URL(value);
  if (search || hash || username || password) return false;
  const isTwilio = hostname === "twilio.com" || hostname.endsWith(".twilio.com");
  return protocol === "https:" || (protocol === "http:" && !isTwilio);
}

function readApiBase(read: Reader): string {
  const value = read.text("TWILIO_API_BASE") ?? TWILIO_API;
  if (!isApiBase(value)) {
    read.fail(
      "TWILIO_API_BASE",
      "must be a URL that begins with https://, or http:// for another server than Twilio's, without a query or password.",
    );
  }
  return value.replace(/\/+$/, "");
}

export function readSms(read: Reader): SmsConfig | undefined {
  const apiBase = readApiBase(read);
  const group = together(read, ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"]);
  if (!group) return undefined;
  const [accountSid, authToken, from] = [
    group.TWILIO_ACCOUNT_SID,
    group.TWILIO_AUTH_TOKEN,
    group.TWILIO_FROM,
  ];
  // Whoever mixes them up may have the token in the place of another one, so none is repeated.
  if (!ACCOUNT_SID.test(accountSid)) {
    read.fail("TWILIO_ACCOUNT_SID", "must be AC and 32 letters and digits.");
  }
  if (!TOKEN.test(authToken)) {
    read.fail("TWILIO_AUTH_TOKEN", "must be 1 to 200 characters of ASCII without white space.");
  }
  if (![NUMBER, SHORT_CODE, MESSAGING_SERVICE, SENDER_NAME].some((form) => form.test(from))) {
    read.fail(
      "TWILIO_FROM",
      "must be a phone number in E.164 form (+, country code, number), a short code, the SID of a messaging service (MG and 32 letters and digits) or a name of 1 to 11 letters, digits and spaces.",
    );
  }
  return { accountSid, authToken, from, apiBase };
}

const PUBLIC_KEY_BYTES = 65;
const PRIVATE_KEY_BYTES = 32;
const UNCOMPRESSED = 4;

/** The public key of a private one; undefined for a number that is none on this curve. */
function publicKeyOf(privateKey: Buffer): Buffer | undefined {
  const pair = createECDH("prime256v1");
  try {
    pair.setPrivateKey(privateKey);
    return pair.getPublicKey();
  } catch {
    return undefined;
  }
}

function checkKeys(read: Reader, publicText: string, privateText: string): void {
  const publicKey = bytesOf(publicText, PUBLIC_KEY_BYTES);
  const privateKey = bytesOf(privateText, PRIVATE_KEY_BYTES);
  const isPoint = publicKey?.[0] === UNCOMPRESSED;
  const belonging = privateKey && publicKeyOf(privateKey);
  if (!isPoint) {
    read.fail(
      "VAPID_PUBLIC_KEY",
      "must be 65 bytes in base64url, 87 characters: an uncompressed point of P-256.",
    );
  }
  if (!belonging) {
    read.fail(
      "VAPID_PRIVATE_KEY",
      "must be 32 bytes in base64url, 43 characters: a private key of P-256.",
    );
  }
  if (isPoint && belonging && !belonging.equals(publicKey)) {
    read.fail("VAPID_PUBLIC_KEY", "does not belong to VAPID_PRIVATE_KEY; make both together.");
  }
}

/** Not the machine itself: there are push services that take nothing from it then. */
function isSubject(value: string): boolean {
  if (value.startsWith("mailto:")) return EMAIL.test(value.slice("mailto:".length));
  if (!value.startsWith("https://") || !URL.canParse(value)) return false;
  return new URL(value).hostname !== "localhost";
}

/** @param networks what the operator allows besides public addresses, checked already */
export function readPush(read: Reader, networks: readonly string[]): PushConfig | undefined {
  const group = together(read, ["VAPID_PUBLIC_KEY", "VAPID_PRIVATE_KEY", "VAPID_SUBJECT"]);
  if (!group) return undefined;
  const [publicKey, privateKey, subject] = [
    group.VAPID_PUBLIC_KEY,
    group.VAPID_PRIVATE_KEY,
    group.VAPID_SUBJECT,
  ];
  checkKeys(read, publicKey, privateKey);
  if (!isSubject(subject)) {
    read.fail(
      "VAPID_SUBJECT",
      `must be mailto: and an address, or a page on the internet with https://, not "${subject}".`,
    );
  }
  return { publicKey, privateKey, subject, privateNetworks: networks };
}
