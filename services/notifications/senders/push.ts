import { hash } from "node:crypto";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { encrypt, getVapidHeaders } from "web-push";
import type { Clock } from "../../../lib/clock";
import type { Config } from "../../../lib/config";
import type { NotificationType } from "../notifications.rules";
import { post, restMs, Unreachable } from "./http-post";
import { pushPayload } from "./push-payload";
import { type Reach, reach } from "./push-reach";
import { suspects } from "./push-suspects";
import { type Message, RecipientRefused, type Sender, TryLater } from "./sender";

/** The browser has forgotten the subscription (410), or the push service never had it (404): RFC 8030, 7.3. */
const GONE = new Set([404, 410]);
const TOO_MANY = 429;
/** How long a push service keeps what it cannot deliver at once, as to a phone that is off. */
const KEPT_SECONDS = 86_400;
/** To one push service. */
const MOST_CONNECTIONS = 20;
/** A connection that nobody uses is closed: anybody's server may be a push service. */
const IDLE_MS = 15_000;

/** What may not wait until a phone wakes up by itself. */
const URGENT: ReadonlySet<NotificationType> = new Set([
  "waitlist.promoted",
  "event.cancelled",
  "event.reminder",
  "sale.started",
]);

/** Of two messages with one topic the later takes the place of the earlier while that waits: RFC 8030, 5.4. */
const topicOf = (deliveryId: string): string =>
  hash("sha256", deliveryId, "base64url").slice(0, 32);

/**
 * Web Push (RFC 8030, 8291, 8292); undefined where there are no keys. Takes one subscription for each message. Each
 * push service is away for its own browsers alone, so none makes the others wait.
 */
export function pushSender(
  { push }: Pick<Config, "push">,
  clock: Clock,
  whom: Reach = reach(push?.privateNetworks ?? []),
): Sender | undefined {
  if (!push) return undefined;
  const { publicKey, privateKey, subject } = push;
  const silent = suspects();
  const shared = { keepAlive: true, maxSockets: MOST_CONNECTIONS, timeout: IDLE_MS };
  const agents = {
    "https:": new HttpsAgent({ ...shared, lookup: whom.lookupFor("https:") }),
    "http:": new HttpAgent({ ...shared, lookup: whom.lookupFor("http:") }),
  };

  const send = async (message: Message, within: AbortSignal): Promise<void> => {
    const [subscription, ...more] = message.to.pushSubscriptions;
    if (more.length > 0) throw new Error("A push message goes to one subscription");
    if (!subscription) throw new RecipientRefused("", "There is no push subscription");
    const { endpoint, keys } = subscription;
    const url = new URL(endpoint);
    const agent = url.protocol === "http:" ? agents["http:"] : agents["https:"];
    if (!whom.mayLead(url)) throw new Error("The subscription leads to a private network");
    const { cipherText } = encrypt(keys.p256dh, keys.auth, pushPayload(message), "aes128gcm");
    const signed = getVapidHeaders(url.origin, subject, publicKey, privateKey, "aes128gcm");
    const headers = {
      ...signed,
      "content-encoding": "aes128gcm",
      "content-type": "application/octet-stream",
      "content-length": cipherText.length,
      ttl: KEPT_SECONDS,
      urgency: URGENT.has(message.notice.type) ? "high" : "normal",
      topic: topicOf(message.deliveryId),
    };
    const request = { to: "The push service", agent, headers, body: cipherText };
    const { status, retryAfter } = await silent.ask(
      { origin: url.origin, userId: message.userId },
      () => post(url, request, within),
      (error) => error instanceof Unreachable && error.isTooLate,
    );
    if (status >= 200 && status < 300) return;
    const why = `The push service answered ${status}`;
    if (GONE.has(status)) throw new RecipientRefused(endpoint, why);
    const rest = status === TOO_MANY || status >= 500 ? restMs(retryAfter, clock.now()) : undefined;
    throw rest === undefined ? new Error(why) : new TryLater(why, rest);
  };

  return {
    channel: "push",
    send,
    async close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}
