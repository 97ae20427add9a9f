import type { AddressInfo } from "node:net";
import { accessTokens } from "../../lib/access-tokens";
import { type Clock, systemClock } from "../../lib/clock";
import type { Call, Caller } from "../../lib/contract/define";
import { newId } from "../../lib/ids";
import type { About } from "../../mixins/nudges";
import { endedSessions } from "../../services/api/ended-sessions";
import type { GatewayRequest } from "../../services/api/gateway-request";
import { type HttpServer, httpServer } from "../../services/api/http-server";
import { type Sockets, type SocketTimes, sockets } from "../../services/api/sockets";
import { takeToken } from "../../services/api/sockets-upgrade";
import type { Contracts } from "../../services/contracts";
import { NEWS } from "../../services/notifications/notifications.contract";
import { MovableClock } from "../support/movable-clock";
import { silent } from "../support/silent";
import { Line } from "../support/sockets";
import { testConfig } from "../support/system";
import { onWire } from "../support/wire";

const config = testConfig("postgres://x/y");
const caller: Caller = { id: newId(), role: "attendee", sessionId: newId() };
const token = accessTokens(config, systemClock).sign(caller);

const eventId = newId();
const state = {
  id: eventId,
  hostId: newId(),
  status: "published",
  version: 1,
  capacity: 10,
  numberOfAttendees: 0,
};
const fresh = { ...state, id: newId() };
const notice = (at: Date, body = "") => ({
  userId: caller.id,
  id: newId(),
  body,
  createdAt: at.toISOString(),
});
/** So large that a socket takes in few of them before somebody reads. */
const heavy = () => notice(new Date(), "x".repeat(500_000));
let isTold = false;
let looks = 0;
interface Asked {
  ids: string[];
  hostIds: string[];
  since: string;
}
let statesFor = async (_asked: Asked) => [state];
let newsSince = async (_since: Date) => (isTold ? [heavy()] : []);
const [statesAsEver, newsAsEver] = [statesFor, newsSince];
afterEach(() => {
  statesFor = statesAsEver;
  newsSince = newsAsEver;
});
const answers: Record<string, (params: Asked) => unknown> = {
  "users.$listHosts": ({ ids }) => ({ ids }),
  "events.$find": () => fresh,
  "events.$liveStates": async (asked) => {
    looks++;
    return { states: await statesFor(asked) };
  },
  "notifications.$listNew": async ({ since }) => ({ data: await newsSince(new Date(since)) }),
};
const call = (async (name: string, params: Asked) =>
  answers[name]?.(params)) as unknown as Call<Contracts>;

let http: HttpServer;
let open: Sockets;
async function start(times: SocketTimes, clock: Clock = systemClock): Promise<string> {
  open = sockets({ config, clock }, { call, sessions: endedSessions() }, times);
  http = httpServer({ ...config, port: 0 }, async (incoming, res) => {
    const req: GatewayRequest = incoming;
    const { since } = takeToken(req);
    req.identity = { caller };
    open.serve(req, res, since);
  });
  await http.listen();
  open.start(silent);
  return `http://127.0.0.1:${(http.server.address() as AddressInfo).port}`;
}
afterEach(async () => {
  await Promise.all([open.drain(), http.drain()]);
});

const upgrade = [
  "GET /ws HTTP/1.1",
  "Host: x",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  `Authorization: Bearer ${token}`,
  "",
  "",
].join("\r\n");

test("Who does not answer whether they are there is cut off, and nobody else", async () => {
  const origin = await start({ heartbeatMs: 100, closeMs: 100 });
  const line = await Line.to(origin, `?token=${token}`);
  await onWire(origin, async (wire) => {
    expect((await wire.says(upgrade).hears()).status).toBe(101);
    const startedAt = performance.now();
    await wire.isClosed();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
  expect(line.closed).toBeUndefined();
  await line.says({ action: "ping" }).hears({ type: "pong" });
  line.hangsUp();
});

/** A text frame as a client sends it: masked, by zeros. */
const masked = (text: string) =>
  Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);

/** What a node is told that runs a gateway. */
const nudge = (whom: About = "many") => {
  const events = open.events as Record<string, { handler(ctx: object): void }>;
  events[NEWS]?.handler({ params: { whom } });
};

test("Who does not read what is sent to them is dropped, and nobody else", async () => {
  const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
  const line = await Line.to(origin, `?token=${token}`);
  const deaf = await Line.to(origin, `?token=${token}`);
  await deaf.says({ action: "ping" }).hears({ type: "pong" });
  deaf.socket.pause();
  isTold = true;
  // The buffers of the system hold some of them.
  for (let i = 0; i < 60; i++) {
    nudge();
    await line.hears({ type: "notification" });
  }
  isTold = false;
  deaf.socket.resume();
  expect(await deaf.isClosed()).toBe(1006);
  expect(deaf.heard.length).toBeLessThan(60);
  expect(line.closed).toBeUndefined();
  line.hangsUp();
});

test("Nobody who watches, no question", async () => {
  const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
  const line = await Line.to(origin, `?token=${token}`);
  const before = looks;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(looks).toBe(before);
  await line.says({ action: "subscribe", eventId }).hears({ type: "subscribed" });
  line.hangsUp();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const after = looks;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(after).toBeGreaterThan(before);
  expect(looks).toBe(after);
});

describe("Somebody hears what they are told", () => {
  let line: Line | undefined;
  afterEach(() => line?.hangsUp());
  const times = { heartbeatMs: 60_000, closeMs: 100 };
  const told: ReturnType<typeof notice>[] = [];
  const toldSince = async (since: Date) =>
    told.filter(({ createdAt }) => new Date(createdAt) >= since);
  beforeEach(() => {
    told.length = 0;
  });

  test("while it is looked up what they have had", async () => {
    const meanwhile = notice(new Date());
    told.push(notice(new Date(Date.now() - 1_000)));
    newsSince = async (since) => {
      if (told.length === 1) told.push({ ...meanwhile, createdAt: new Date().toISOString() });
      return toldSince(since);
    };
    line = await Line.to(await start(times), `?token=${token}`);
    expect((await line.hears({ type: "notification" })).notification.id).toBe(meanwhile.id);
    expect(line.heard).toHaveLength(1);
  });

  test("while nobody could look it up, however long that was", async () => {
    const clock = new MovableClock();
    newsSince = toldSince;
    line = await Line.to(await start(times, clock), `?token=${token}`);
    await line.says({ action: "ping" }).hears({ type: "pong" });
    newsSince = () => Promise.reject(new Error("The database is away"));
    const missed = notice(new Date(clock.inMinutes(1)));
    told.push(missed);
    clock.moveTo(clock.inMinutes(10));
    nudge();
    await new Promise((resolve) => setTimeout(resolve, 50));
    newsSince = toldSince;
    expect((await line.hears({ type: "notification" })).notification.id).toBe(missed.id);
  });

  test("without waiting for a look at everybody", async () => {
    newsSince = toldSince;
    line = await Line.to(await start(times), `?token=${token}`);
    await line.says({ action: "ping" }).hears({ type: "pong" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    let letGo = () => {};
    newsSince = async () => {
      newsSince = toldSince;
      await new Promise<void>((resolve) => {
        letGo = resolve;
      });
      return [];
    };
    nudge();
    await new Promise((resolve) => setTimeout(resolve, 50));
    told.push(notice(new Date()));
    nudge([caller.id]);
    await line.hears({ type: "notification" });
    letGo();
  });
});

describe("Who watches a host hears of what is new, also when", () => {
  const host = { action: "subscribe", hostId: state.hostId };

  test("somebody watches the new event before it was looked at", async () => {
    // Whoever looks at the host alone has not found it yet.
    statesFor = async ({ ids }) => (ids.includes(fresh.id) ? [state, fresh] : [state]);
    const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
    const line = await Line.to(origin, `?token=${token}`);
    await line.says(host).hears({ type: "subscribed" });
    const other = await Line.to(origin, `?token=${token}`);
    await other.says({ action: "subscribe", eventId: fresh.id }).hears({ action: "availability" });
    expect((await line.hears({ type: "event" })).action).toBe("created");
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect([line.heard.length, other.heard.length]).toEqual([2, 2]);
    line.hangsUp();
    other.hangsUp();
  });

  test("somebody else begins to watch the host at the same moment, and sees more", async () => {
    let asked = 0;
    statesFor = async () => {
      if (asked++ > 0) return [state, fresh];
      await new Promise((resolve) => setTimeout(resolve, 200));
      return [state];
    };
    const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
    const [line, other] = [
      await Line.to(origin, `?token=${token}`),
      await Line.to(origin, `?token=${token}`),
    ];
    line.says(host);
    while (asked === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    other.says(host);
    await line.hears({ type: "subscribed" });
    expect((await line.hears({ type: "event" })).action).toBe("created");
    line.hangsUp();
    other.hangsUp();
  });
});

test("Where it stops, whoever is slow to hear of it has their time", async () => {
  const origin = await start({ heartbeatMs: 60_000, closeMs: 400 });
  await onWire(origin, async (wire) => {
    expect((await wire.says(upgrade).hears()).status).toBe(101);
    const startedAt = performance.now();
    const stopped = Promise.all([open.drain(), http.drain()]);
    await wire.isClosed();
    expect(performance.now() - startedAt).toBeGreaterThan(350);
    await stopped;
  });
});

test("Where it stops, whoever hears nothing does not keep it", async () => {
  const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
  await onWire(origin, async (wire) => {
    expect((await wire.says(upgrade).hears()).status).toBe(101);
    wire.says(masked('{"action":"ping"}'));
    const startedAt = performance.now();
    await open.drain();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

test("Where it stops, nobody is let in any more", async () => {
  const origin = await start({ heartbeatMs: 60_000, closeMs: 100 });
  await open.drain();
  await expect(Line.to(origin, `?token=${token}`)).rejects.toMatchObject({
    status: 503,
    code: "SERVICE_UNAVAILABLE",
  });
});
