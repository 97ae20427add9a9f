import { inspect } from "node:util";
import { loadConfig } from "../../lib/config";
import {
  RecipientRefused,
  type Sender,
  SenderUnavailable,
  Unanswered,
} from "../../services/notifications/senders/sender";
import { smsSender } from "../../services/notifications/senders/sms";
import { messageTo } from "../support/messages";
import { MovableClock } from "../support/movable-clock";
import { endless, silence } from "../support/stand-in-server";
import { ACCOUNT, startTwilio, type Twilio } from "../support/twilio";

const NUMBER = "+436641234567";
const clock = new MovableClock();
let twilio: Twilio;
beforeAll(async () => {
  twilio = await startTwilio();
});
afterEach(() => {
  twilio.answers();
  twilio.taken.length = 0;
  clock.moveBack();
});
afterAll(() => twilio.close());

function senderWith(changes: Record<string, string> = {}): Sender {
  const config = loadConfig({
    TWILIO_ACCOUNT_SID: ACCOUNT.accountSid,
    TWILIO_AUTH_TOKEN: ACCOUNT.authToken,
    TWILIO_FROM: "+15005550006",
    TWILIO_API_BASE: `${twilio.origin}/`,
    ...changes,
  });
  const sender = smsSender(config, clock);
  if (!sender) throw new Error("There is no sender");
  return sender;
}

const patience = () => AbortSignal.timeout(20_000);
const sends = (sender = senderWith(), within = patience()) =>
  sender.send(messageTo({ phone: NUMBER }), within);
/** How sending fails; nobody is told the number or the token by it. */
async function failure(sending: Promise<void> = sends()): Promise<unknown> {
  const error: unknown = await sending.then(
    () => "It was sent",
    (reason: unknown) => reason,
  );
  const told = inspect(error, { depth: 10, showHidden: false });
  expect(told).not.toContain(NUMBER.slice(1));
  expect(told).not.toContain(ACCOUNT.authToken);
  expect(told).not.toContain(
    Buffer.from(`${ACCOUNT.accountSid}:${ACCOUNT.authToken}`).toString("base64"),
  );
  return error;
}

test("Without an account there is no SMS", () => {
  expect(smsSender(loadConfig({}), clock)).toBeUndefined();
});

test("An SMS says what the notice says, and where to go", async () => {
  const sender = senderWith();
  expect(sender.channel).toBe("sms");
  const message = messageTo({ phone: NUMBER });
  await sender.send(message, patience());
  expect(twilio.taken).toEqual([
    {
      to: NUMBER,
      from: "+15005550006",
      body: `Changed: Recital\n"Recital" has changed. New place: "Hall".\n${message.link}`,
    },
  ]);
});

test("An SMS is sent by a messaging service where one is named, or under a name", async () => {
  const service = `MG${"f".repeat(32)}`;
  await sends(senderWith({ TWILIO_FROM: service }));
  await sends(senderWith({ TWILIO_FROM: "MG Tickets" }));
  expect(twilio.taken.map(({ from }) => from)).toEqual([service, "MG Tickets"]);
});

describe("A number that will never take one ends the channel for it", () => {
  test.each([21211, 21265, 21266, 21610, 21614, 21635])("code %d", async (code) => {
    twilio.refuses(400, code);
    const error = await failure();
    expect(error).toBeInstanceOf(RecipientRefused);
    expect(error).toMatchObject({
      address: NUMBER,
      message: `Twilio answered 400 with code ${code}`,
    });
  });

  test("and so does having none", async () => {
    const sending = senderWith().send(messageTo({ phone: null }), patience());
    expect(await failure(sending)).toBeInstanceOf(RecipientRefused);
  });

  test("but not a fault of ours, or one that may be mended", async () => {
    for (const code of [21602, 21606, 21408, 21612, 30001]) {
      twilio.refuses(400, code);
      const error = await failure();
      expect(error).toBeInstanceOf(Error);
      expect(error).not.toBeInstanceOf(RecipientRefused);
      expect(error).not.toBeInstanceOf(SenderUnavailable);
      expect((error as Error).message).toContain(String(code));
    }
  });
});

describe("While Twilio takes nothing from us everybody waits", () => {
  test("where the account is wrong", async () => {
    const wrong = senderWith({ TWILIO_AUTH_TOKEN: "not-the-token" });
    expect(await failure(sends(wrong))).toBeInstanceOf(SenderUnavailable);
    const unknown = senderWith({ TWILIO_ACCOUNT_SID: `AC${"9".repeat(32)}` });
    expect(await failure(sends(unknown))).toBeInstanceOf(SenderUnavailable);
    expect(twilio.taken).toEqual([]);
  });

  test.each([
    [429, { "retry-after": "7" }, 7_000],
    [503, { "retry-after": "0" }, 0],
    [503, { "retry-after": "Fri, 27 Nov 2026 12:00:30 GMT" }, 30_000],
    [503, { "retry-after": "Fri, 27 Nov 2026 11:00:00 GMT" }, 0],
    [429, { "retry-after": "999999999" }, 3_600_000],
    [500, { "retry-after": "soon" }, undefined],
    [429, { "retry-after": "5.5" }, undefined],
    [429, { "retry-after": "-1" }, undefined],
    [502, {}, undefined],
    [403, {}, undefined],
  ] as const)("%d with %j", async (status, headers, afterMs) => {
    clock.moveTo("2026-11-27T12:00:00Z");
    twilio.answers({ status, headers });
    const error = await failure();
    expect(error).toBeInstanceOf(SenderUnavailable);
    expect(error).toMatchObject({ afterMs });
  });

  test("where nobody is there, nobody answers or the connection breaks", async () => {
    const nobody = senderWith({ TWILIO_API_BASE: "http://127.0.0.1:9" });
    expect(await failure(sends(nobody))).toMatchObject({ name: "SenderUnavailable" });
    twilio.answers(silence);
    const silent = await failure(sends(senderWith(), AbortSignal.timeout(200)));
    // It may have gone out by then.
    expect(silent).toBeInstanceOf(SenderUnavailable);
    expect(silent).toMatchObject({
      name: "Unanswered",
      message: "Twilio could not be reached: no answer in time",
    });
    twilio.answers((res) => res.destroy());
    expect(await failure()).toBeInstanceOf(Unanswered);
  });

  test("where it does not say what it should, at any length", async () => {
    for (const body of ["", "null", "[]", '{"code":"21211"}', "<html>", "{"]) {
      twilio.answers({ status: 400, body });
      expect(await failure()).toMatchObject({ message: "Twilio answered 400" });
    }
    twilio.answers(endless(500));
    expect(await failure()).toBeInstanceOf(SenderUnavailable);
  });
});

test("An SMS that was taken is sent, however the answer ends", async () => {
  twilio.answers(endless(201));
  await sends();
  twilio.answers((res) => {
    res.writeHead(201, { "content-length": "100" });
    res.write("{");
    setTimeout(() => res.destroy(), 50);
  });
  await sends();
});

test("A redirect is followed nowhere: the token is for Twilio", async () => {
  const before = twilio.requests;
  twilio.answers({ status: 307, headers: { location: `${twilio.origin}/elsewhere` } });
  expect(await failure()).toMatchObject({ message: "Twilio answered 307" });
  expect(twilio.requests).toBe(before + 1);
});
