/**
 * The links by which people end mails, of one type or all, without signing in. A link holds for ever: it lies in mails
 * that nobody can change any more.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { type Config, jwtSecret } from "../../lib/config";
import { isError, Unauthenticated } from "../../lib/errors";
import { documentOf, html } from "./mail/templates";
import { UnsubscribeLinkInvalid } from "./notifications.contract";
import type { NotificationsPreferences } from "./notifications.preferences";
import { type NotificationType, TYPES } from "./notifications.rules";

const ID_BYTES = 16;
/** No other signature of ours is under this key, whatever is signed by the same secret. */
const PURPOSE = "marquee: unsubscribe from mails";

/** Whose mails, and of which type; all where it is null. */
interface Subscription {
  userId: string;
  type: NotificationType | null;
}

/** Makes and reads the tokens in these links. */
export function unsubscribeTokens(config: Pick<Config, "jwtSecret" | "dataDir">) {
  const key = Buffer.from(hkdfSync("sha256", jwtSecret(config), "", PURPOSE, 32));
  const signatureOf = (text: string) => createHmac("sha256", key).update(text).digest("base64url");

  return {
    make({ userId, type }: Subscription): string {
      const id = Buffer.from(userId.replaceAll("-", ""), "hex");
      const text = Buffer.concat([id, Buffer.from(type ?? "")]).toString("base64url");
      return `${text}.${signatureOf(text)}`;
    },

    /** @throws UnsubscribeLinkInvalid for a token that was not made here */
    read(token: string): Subscription {
      const [text = "", signature = "", ...more] = token.split(".");
      // As text, of which a signature has one spelling alone.
      const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(text))];
      if (more.length || given.length !== right.length || !timingSafeEqual(given, right)) {
        throw new UnsubscribeLinkInvalid({});
      }
      const bytes = Buffer.from(text, "base64url");
      const hex = bytes.toString("hex", 0, ID_BYTES);
      const name = bytes.toString("utf8", ID_BYTES);
      return {
        userId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
        type: TYPES.find((type) => type === name) ?? null,
      };
    },
  };
}

/** As people say it: `booking.confirmed` is «booking confirmed». */
const wordsOf = (type: NotificationType | null): string =>
  type === null ? "No more mails at all" : `No more mails of the kind «${type.replace(".", " ")}»`;

/** What a link leads to. It changes nothing: programs that look into mails follow it, too. */
const askPage = ({ type }: Subscription): string =>
  documentOf(
    "Unsubscribe",
    html`<h1>Unsubscribe</h1>
<p>${wordsOf(type)}? What you are told in the product stays as it is.</p>
<form method="post"><button type="submit">Unsubscribe</button></form>`,
  );

const donePage = ({ type }: Subscription): string =>
  documentOf(
    "Unsubscribed",
    html`<h1>Unsubscribed</h1>
<p>${wordsOf(type)}. You can have them again by your preferences.</p>`,
  );

/** This part of the service's face. */
export function unsubscribing(config: Config, preferences: NotificationsPreferences) {
  const tokens = unsubscribeTokens(config);
  const urlOf = (subscription: Subscription) =>
    `${config.publicUrl}/api/notifications/unsubscribe?token=${tokens.make(subscription)}`;
  return {
    urlOf,
    ask: (token: string): string => askPage(tokens.read(token)),
    async unsubscribe(token: string): Promise<string> {
      const subscription = tokens.read(token);
      const { userId, type } = subscription;
      const types = type === null ? TYPES : [type];
      const off = types.map((one) => ({ type: one, channel: "email", enabled: false }) as const);
      try {
        await preferences.change(userId, off);
      } catch (error) {
        // Whoever was erased gets nothing anyway; that they were is nobody's business.
        if (!isError(error, Unauthenticated)) throw error;
      }
      return donePage(subscription);
    },
  };
}
