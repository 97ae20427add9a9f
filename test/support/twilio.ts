import type { IncomingMessage } from "node:http";
import { type Answering, type StandIn, standIn } from "./stand-in-server";

export const ACCOUNT = {
  accountSid: `AC${"0123456789abcdef".repeat(2)}`,
  authToken: "a-token-that-nobody-may-read",
};

/** A message as Twilio has taken it. */
export interface TakenSms {
  to: string;
  from: string;
  body: string;
}

const refusal = (status: number, code: number, message: string): Answering => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ code, message, more_info: "https://example.org/errors", status }),
});

const E164 = /^\+[1-9]\d{1,14}$/;
const MOST_CHARACTERS = 1600;

/** What is wrong with a request, in the order in which Twilio looks; undefined where nothing is. */
function faultOf({ method, url, headers }: IncomingMessage, form: URLSearchParams) {
  const { accountSid, authToken } = ACCOUNT;
  if (method !== "POST" || url !== `/2010-04-01/Accounts/${accountSid}/Messages.json`) {
    return refusal(404, 20404, "The requested resource was not found");
  }
  const expected = Buffer.from(`${accountSid}:${authToken}`).toString("base64");
  if (headers.authorization !== `Basic ${expected}`) return refusal(401, 20003, "Authenticate");
  if (headers["content-type"] !== "application/x-www-form-urlencoded") {
    return refusal(400, 20001, "No form");
  }
  const [to, from, service] = ["To", "From", "MessagingServiceSid"].map((name) => form.get(name));
  if (!to) return refusal(400, 21604, "'To' number is required");
  if (!E164.test(to)) return refusal(400, 21211, `'To' number ${to} is not valid`);
  if (!from === !service) return refusal(400, 21603, "'From' number is required");
  if (from?.startsWith("MG") && from.length === 34) return refusal(400, 21212, "No number");
  if (service && !/^MG\w{32}$/.test(service)) return refusal(400, 21701, "No such service");
  const body = form.get("Body") ?? "";
  if (!body) return refusal(400, 21602, "Message body is required");
  return body.length > MOST_CHARACTERS ? refusal(400, 21617, "Body too long") : undefined;
}

/** A server that speaks Twilio's REST API as far as sending an SMS goes. */
export interface Twilio extends StandIn {
  readonly taken: TakenSms[];
  /** The next answer is a refusal with this code, which names the number in its words, as Twilio's do. */
  refuses(status: number, code: number): void;
}

export async function startTwilio(): Promise<Twilio> {
  const taken: TakenSms[] = [];
  const server = await standIn((req, bytes) => {
    const form = new URLSearchParams(bytes.toString());
    const fault = faultOf(req, form);
    if (fault) return fault;
    const [to = "", from = "", service = "", body = ""] = [
      "To",
      "From",
      "MessagingServiceSid",
      "Body",
    ].map((name) => form.get(name) ?? "");
    taken.push({ to, from: from || service, body });
    return {
      status: 201,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sid: `SM${"0".repeat(32)}`, status: "queued", to, body }),
    };
  });
  return Object.assign(Object.create(server) as StandIn, {
    taken,
    refuses: (status: number, code: number) =>
      server.answers(refusal(status, code, "The number +436641234567 is not well")),
  });
}
