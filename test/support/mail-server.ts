import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { SMTPServer } from "smtp-server";
import { type Mail, parsed } from "./mailbox";

/** A real mail server, which keeps what it takes. */
export interface MailServer {
  /** With who may send, where somebody must say who they are. */
  readonly url: string;
  readonly port: number;
  /** Everything it took, in order. */
  readonly mails: readonly Mail[];
  /** Every address that it was asked about, in order. */
  readonly asked: readonly string[];
  /** What it says about an address, like `550 5.1.1 No such user`; undefined where it takes mail for it. */
  refuses: (address: string) => string | undefined;
  of(address: string): Mail[];
  close(): Promise<void>;
}

interface Account {
  user: string;
  password: string;
}

const refusal = (reply: string): Error =>
  Object.assign(new Error(reply.slice(4)), { responseCode: Number(reply.slice(0, 3)) });

/** @param how.port any that is free unless told */
export async function startMailServer(
  how: { port?: number; account?: Account } = {},
): Promise<MailServer> {
  const { port = 0, account } = how;
  const mails: Mail[] = [];
  const asked: string[] = [];
  const server = new SMTPServer({
    authOptional: account === undefined,
    allowInsecureAuth: true,
    logger: false,
    closeTimeout: 100,
    onAuth({ username, password }, _session, callback) {
      const isRight = username === account?.user && password === account?.password;
      if (isRight) callback(null, { user: username });
      else callback(refusal("535 5.7.8 Not you"));
    },
    onRcptTo({ address }, _session, callback) {
      asked.push(address);
      const reply = self.refuses(address);
      callback(reply === undefined ? null : refusal(reply));
    },
    onData(stream, _session, callback) {
      buffer(stream)
        .then(parsed)
        .then((mail) => {
          mails.push(mail);
          callback(null, "Taken");
        }, callback);
    },
  });
  // A client that goes away in the middle is what some tests are about.
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const listensAt = (server.server.address() as AddressInfo).port;
  const who = account
    ? `${encodeURIComponent(account.user)}:${encodeURIComponent(account.password)}@`
    : "";
  const self: MailServer = {
    url: `smtp://${who}127.0.0.1:${listensAt}`,
    port: listensAt,
    mails,
    asked,
    refuses: () => undefined,
    of: (address) =>
      mails.filter(({ to }) => (Array.isArray(to) ? to[0] : to)?.value[0]?.address === address),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return self;
}
