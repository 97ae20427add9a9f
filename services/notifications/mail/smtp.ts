import { createTransport } from "nodemailer";
import { RecipientRefused, type Sender, SenderUnavailable } from "../senders/sender";
import { mailOf, type Post } from "./mail";

/** As many as are sent at a time (notifications.delivering.ts). */
const SMTP_CONNECTIONS = 4;
const MESSAGES_A_CONNECTION = 100;
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * So long a server may be silent: one that looks closely at what it has taken answers late, and what was not answered is
 * sent again.
 */
const SILENCE_MS = 75_000;

const PORTS: Readonly<Record<string, number>> = { "smtp:": 587, "smtps:": 465 };

const isOfThisMachine = (host: string) => /^(localhost|127\.[\d.]+|\[::1\])$/.test(host);

interface SmtpError {
  code?: string;
  command?: string;
  responseCode?: number;
  response?: string;
  message?: string;
}

/** Enhanced status codes (RFC 3463) that say that there is no such mailbox, or that it is closed. */
const NO_MAILBOX = /^\d{3}[ -]5\.(1\.[01236]|2\.1)\b/;
const ENHANCED = /^\d{3}[ -]5\.\d+\.\d+\b/;
/** What a server says without one. All else it may also say to us, whatever the address. */
const REFUSALS: readonly (number | undefined)[] = [550, 551, 553];

/** What is wrong: the address for good, the server for the moment, or this one mail. */
function translated(error: unknown, address: string): unknown {
  const { code, command, responseCode, response = "", message = "" } = error as SmtpError;
  const words = response || message;
  if (command === "RCPT TO") {
    const isRefusal = ENHANCED.test(response)
      ? NO_MAILBOX.test(response)
      : REFUSALS.includes(responseCode);
    if (isRefusal) return new RecipientRefused(address, words);
  }
  const isOfThisMail = responseCode !== undefined && responseCode !== 421 && code !== "EAUTH";
  // Ours to get wrong, as with an address that the server has no way to take.
  const neverSent = code === "EENVELOPE" || code === "EMESSAGE";
  return isOfThisMail || neverSent ? error : new SenderUnavailable(words);
}

/** Sends mails by a server. It keeps a few connections, which it makes when there is something to send. */
export function smtp(smtpUrl: string, post: Post): Sender {
  const { protocol, hostname, port, username, password } = new URL(smtpUrl);
  const transport = createTransport({
    pool: true,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || PORTS[protocol] || 25,
    secure: protocol === "smtps:",
    ...(username
      ? { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }
      : {}),
    // A server on this very machine has a certificate of its own making as a rule, and nobody sits in between.
    ...(isOfThisMachine(hostname) ? { tls: { rejectUnauthorized: false } } : {}),
    maxConnections: SMTP_CONNECTIONS,
    maxMessages: MESSAGES_A_CONNECTION,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    greetingTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_MS,
    dnsTimeout: CONNECT_TIMEOUT_MS,
  });
  return {
    channel: "email",
    async send(message, within) {
      try {
        await transport.sendMail({ ...mailOf(message, post), signal: within });
      } catch (error) {
        throw translated(error, message.to.email);
      }
    },
    async close() {
      transport.close();
    },
  };
}
