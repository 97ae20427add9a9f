import type { Clock } from "../../../lib/clock";
import type { Config } from "../../../lib/config";
import { MESSAGING_SERVICE } from "../../../lib/config-senders";
import { post, restMs, Unreachable } from "./http-post";
import {
  type Message,
  RecipientRefused,
  type Sender,
  SenderUnavailable,
  Unanswered,
} from "./sender";
import { smsText } from "./sms-text";

/**
 * Twilio's codes for a number that will never take an SMS: not a number (21211), a short code (21265), the sender's own
 * (21266), somebody who has unsubscribed (21610), no mobile (21614), a landline (21635).
 */
const REFUSED = new Set([21211, 21265, 21266, 21610, 21614, 21635]);
/** Long, for what is not answered is lost. */
const ANSWER_WITHIN_MS = 30_000;
/** The account is wrong or may not, sends too much, or Twilio itself is in trouble: so it is for everybody. */
const isForAll = (status: number): boolean =>
  [401, 403, 404, 429].includes(status) || status >= 500;

/** The code in Twilio's own words; those themselves may name the number. */
function codeIn(text: string): number | undefined {
  try {
    const { code } = Object(JSON.parse(text)) as { code?: unknown };
    return typeof code === "number" ? code : undefined;
  } catch {
    return undefined;
  }
}

/**
 * SMS by Twilio's REST API; undefined where no account is configured.
 *
 * Twilio knows no key for a repetition: what it was asked for and has not answered is not asked for again. Of whoever
 * dies between its answer and their own note of it, it sends a second.
 */
export function smsSender({ sms }: Pick<Config, "sms">, clock: Clock): Sender | undefined {
  if (!sms) return undefined;
  const { accountSid, authToken, from, apiBase } = sms;
  const url = new URL(`${apiBase}/2010-04-01/Accounts/${accountSid}/Messages.json`);
  const authorization = `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString("base64")}`;
  const sender: Record<string, string> = MESSAGING_SERVICE.test(from)
    ? { MessagingServiceSid: from }
    : { From: from };

  return {
    channel: "sms",
    async send(message: Message, within: AbortSignal): Promise<void> {
      const { phone } = message.to;
      if (phone === null) throw new RecipientRefused("", "There is no phone number");
      const { title, body } = message.notice;
      const text = smsText({ title, body, link: message.link });
      const form = new URLSearchParams({ To: phone, ...sender, Body: text });
      const answer = await post(
        url,
        {
          to: "Twilio",
          headers: {
            authorization,
            accept: "application/json",
            "content-type": "application/x-www-form-urlencoded",
          },
          body: form.toString(),
          agent: false,
          answerWithinMs: ANSWER_WITHIN_MS,
        },
        within,
      ).catch((error: unknown) => {
        if (!(error instanceof Unreachable)) throw error;
        throw error.isWritten
          ? new Unanswered(error.message)
          : new SenderUnavailable(error.message);
      });
      const { status } = answer;
      if (status >= 200 && status < 300) return;
      const code = codeIn(await answer.text);
      const why = `Twilio answered ${status}${code === undefined ? "" : ` with code ${code}`}`;
      if (status === 400 && code !== undefined && REFUSED.has(code)) {
        throw new RecipientRefused(phone, why);
      }
      const rest = restMs(answer.retryAfter, clock.now());
      throw isForAll(status) ? new SenderUnavailable(why, rest) : new Error(why);
    },
  };
}
