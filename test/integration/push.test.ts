import { inspect } from "node:util";
import { generateVAPIDKeys } from "web-push";
import { loadConfig } from "../../lib/config";
import { newId } from "../../lib/ids";
import { pushSender } from "../../services/notifications/senders/push";
import {
  type Message,
  RecipientRefused,
  type Sender,
  TryLater,
} from "../../services/notifications/senders/sender";
import { eventually } from "../support/eventually";
import { messageTo } from "../support/messages";
import { MovableClock } from "../support/movable-clock";
import { type Browser, type PushService, startPushService, VAPID } from "../support/push-service";
import { endless, silence } from "../support/stand-in-server";

const clock = new MovableClock();
let service: PushService;
let sender: Sender;
let strict: Sender;
let browser: Browser;
const senderWith = (networks?: string): Sender => {
  const environment = networks === undefined ? {} : { PUSH_NETWORKS: networks };
  const made = pushSender(loadConfig({ ...VAPID, ...environment }), clock);
  if (!made) throw new Error("There is no sender");
  return made;
};
beforeAll(async () => {
  service = await startPushService();
  sender = senderWith();
  // As in production: no network of one's own that matters here.
  strict = senderWith("10.255.255.255");
});
beforeEach(() => {
  browser = service.browser();
});
afterEach(() => {
  service.answers();
  service.refused.length = 0;
  clock.moveBack();
});
afterAll(async () => {
  await Promise.all([sender.close?.(), strict.close?.(), service.close()]);
});

const patience = () => AbortSignal.timeout(20_000);
const to = (...browsers: Pick<Browser, "subscription">[]) => ({
  pushSubscriptions: browsers.map(({ subscription }) => subscription),
});
const sends = (message: Message, within = patience()) => sender.send(message, within);
/** How sending fails; nobody is told the endpoint by it, which whoever knows it may send to. */
async function failure(sending: Promise<void> = sends(messageTo(to(browser)))): Promise<unknown> {
  const error: unknown = await sending.then(
    () => "It was sent",
    (reason: unknown) => reason,
  );
  const told = inspect(error, { depth: 10 });
  expect(told).not.toContain(new URL(browser.subscription.endpoint).pathname);
  expect(told).not.toContain(browser.subscription.keys.auth);
  expect(told).not.toContain(VAPID.VAPID_PRIVATE_KEY);
  return error;
}

test("Without keys there is no push", () => {
  expect(pushSender(loadConfig({}), clock)).toBeUndefined();
});

test("A browser is told what the notice says, encrypted for it alone and signed for its service", async () => {
  const message = messageTo(to(browser), { title: "Ünïcode «🎻»" });
  expect(sender.channel).toBe("push");
  await sends(message);
  expect(service.refused).toEqual([]);
  const { type, title, body, eventId, data } = message.notice;
  expect(browser.taken).toEqual([
    {
      payload: {
        id: message.notificationId,
        ...{ type, title, body, eventId, data, link: message.link },
      },
      ttl: "86400",
      urgency: "normal",
      topic: expect.stringMatching(/^[\w-]{32}$/),
    },
  ]);
});

test("Control: a server with other keys is not who the browser has let in", async () => {
  const { publicKey, privateKey } = generateVAPIDKeys();
  const keys = { VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: privateKey };
  const other = pushSender(loadConfig({ ...VAPID, ...keys }), clock);
  const error = await failure(other?.send(messageTo(to(browser)), patience()));
  expect(error).toMatchObject({ message: "The push service answered 403" });
  expect([service.refused, browser.taken]).toEqual([["Error: Another key"], []]);
  await other?.close?.();
});

test("Sent again, it takes the place of the first; another one does not", async () => {
  const deliveryId = newId();
  for (const id of [deliveryId, deliveryId, newId()]) {
    await sends(messageTo(to(browser), { deliveryId: id }));
  }
  const [first, again, other] = browser.taken.map(({ topic }) => topic);
  expect(again).toBe(first);
  expect(other).not.toBe(first);
});

test("What may not wait is urgent", async () => {
  for (const type of ["event.created", "waitlist.promoted", "event.cancelled"] as const) {
    await sends(messageTo(to(browser), { type }));
  }
  expect(browser.taken.map(({ urgency }) => urgency)).toEqual(["normal", "high", "high"]);
});

test("The longest notice that there is fits", async () => {
  const long = { title: "🎻".repeat(500), body: '"\n'.repeat(2500) };
  const data = { eventId: null, bookingId: null, reason: "ü".repeat(500) };
  await sends(messageTo(to(browser), { ...long, data }));
  expect(service.refused).toEqual([]);
  expect(browser.taken).toHaveLength(1);
});

describe("A browser that is gone ends the channel for it", () => {
  test.each([404, 410])("%d", async (status) => {
    service.answers({ status });
    const error = await failure();
    expect(error).toBeInstanceOf(RecipientRefused);
    expect(error).toMatchObject({
      address: browser.subscription.endpoint,
      message: `The push service answered ${status}`,
    });
  });

  test("and so does one that the service never had, and having none", async () => {
    const { endpoint, ...rest } = browser.subscription;
    const unknown = { subscription: { ...rest, endpoint: `${endpoint}0` } };
    expect(await failure(sends(messageTo(to(unknown))))).toBeInstanceOf(RecipientRefused);
    expect(await failure(sends(messageTo(to())))).toBeInstanceOf(RecipientRefused);
  });

  test("others that there are would get it twice: two in one message are refused", async () => {
    const both = messageTo(to(browser, service.browser()));
    expect(await failure(sends(both))).not.toBeInstanceOf(RecipientRefused);
    expect(browser.taken).toEqual([]);
  });
});

describe("What cannot be sent now is tried again", () => {
  test.each([
    [429, { "retry-after": "7" }, 7_000],
    [503, { "retry-after": "Fri, 27 Nov 2026 12:00:30 GMT" }, 30_000],
    [429, { "retry-after": "999999999" }, 3_600_000],
  ] as const)("after the time that is asked for: %d with %j", async (status, headers, afterMs) => {
    clock.moveTo("2026-11-27T12:00:00Z");
    service.answers({ status, headers });
    const error = await failure();
    expect(error).toBeInstanceOf(TryLater);
    expect(error).toMatchObject({ afterMs });
  });

  test.each([400, 401, 403, 413, 429, 500])("%d", async (status) => {
    service.answers({ status });
    const error = await failure();
    expect(error).toMatchObject({ message: `The push service answered ${status}`, name: "Error" });
    await sends(messageTo(to(browser)));
  });

  test("but nobody waits for the end of an answer whose status is known", async () => {
    service.answers((res) => {
      res.writeHead(201, { "content-length": "100" });
      res.write("{");
      setTimeout(() => res.destroy(), 2_000);
    });
    const startedAt = performance.now();
    await sends(messageTo(to(browser)));
    expect(performance.now() - startedAt).toBeLessThan(1_500);
  });

  test("where nobody answers, the connection breaks or nobody is there", async () => {
    service.answers(silence);
    const silent = sends(messageTo(to(browser)), AbortSignal.timeout(200));
    expect(await failure(silent)).toMatchObject({
      message: "The push service could not be reached: no answer in time",
    });
    service.answers((res) => res.destroy());
    expect(await failure()).toMatchObject({ name: "Unreachable" });
    const away = { ...browser.subscription, endpoint: "http://127.0.0.1:9/x" };
    const error = await failure(sends(messageTo(to({ subscription: away }))));
    expect(error).toMatchObject({
      message: "The push service could not be reached: ECONNREFUSED",
    });
  });
});

test("What was taken is sent, however long the answer is", async () => {
  service.answers(endless(201), endless(410));
  await sends(messageTo(to(browser)));
  expect(await failure()).toBeInstanceOf(RecipientRefused);
});

test("A connection is used again, and closed with the sender", async () => {
  const own = senderWith();
  const before = service.connections;
  for (let i = 0; i < 5; i++) await own.send(messageTo(to(browser)), patience());
  expect(service.connections).toBe(before + 1);
  expect(service.open).toBeGreaterThan(0);
  await Promise.all([own.close?.(), sender.close?.()]);
  await eventually(async () => expect(service.open).toBe(0));
});

describe("Nobody is reached whom only this server can reach", () => {
  const trap = (endpoint: string) => ({ subscription: { ...browser.subscription, endpoint } });
  const port = () => new URL(service.origin).port;

  test("by a redirect", async () => {
    const before = service.requests;
    service.answers({ status: 307, headers: { location: browser.subscription.endpoint } });
    expect(await failure()).toMatchObject({ message: "The push service answered 307" });
    expect(service.requests).toBe(before + 1);
  });

  test("by an address", async () => {
    const before = service.requests;
    for (const host of ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "localhost"]) {
      for (const protocol of ["http", "https"]) {
        const message = messageTo(to(trap(`${protocol}://${host}:${port()}/x`)));
        const error = await failure(strict.send(message, patience()));
        expect(String(error)).toMatch(/leads to a private network|OUT_OF_REACH/);
      }
    }
    expect(service.requests).toBe(before);
  });

  test("Control: where an operator allows it, both are", async () => {
    const before = service.requests;
    for (const host of ["127.0.0.1", "localhost"]) {
      await failure(sends(messageTo(to(trap(`http://${host}:${port()}/x`)))));
    }
    expect(service.requests).toBe(before + 2);
  });

  test("and what is to be encrypted is", async () => {
    const before = service.requests;
    const error = await failure(sends(messageTo(to(trap(`https://127.0.0.1:${port()}/x`)))));
    expect(error).toMatchObject({ name: "Unreachable" });
    expect(service.requests).toBe(before);
  });
});
