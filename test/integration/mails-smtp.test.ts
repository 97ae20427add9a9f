import { createServer, type Socket } from "node:net";
import { loadConfig } from "../../lib/config";
import { smtp } from "../../services/notifications/mail/smtp";
import { SenderUnavailable } from "../../services/notifications/senders/sender";
import { eventually } from "../support/eventually";
import { freePort } from "../support/free-port";
import { intercepted } from "../support/intercepted";
import { type MailServer, startMailServer } from "../support/mail-server";
import { allIsSent, type Mail } from "../support/mailbox";
import { messageTo } from "../support/messages";
import { Api, type Event, type Person } from "../support/people";
import { startTestSystem, type TestSystem, type TestSystemOptions } from "../support/system";

/** A system that sends by a mail server. */
async function sendingBy(
  server: { url: string },
  options: TestSystemOptions = {},
): Promise<{ system: TestSystem; api: Api; event: Event }> {
  const system = await startTestSystem({ ...options, environment: { SMTP_URL: server.url } });
  const api = await Api.at(system.origin);
  const hanna = await api.host("Hanna");
  const event = await hanna.createsEvent({ title: "Recital", capacity: 100 });
  return { system, api, event };
}

const deliveriesOf = (system: TestSystem, person: Person) =>
  system.database.query(
    `SELECT d.id, type, status, attempts, error FROM deliveries d JOIN notifications n ON n.id = d.notification_id
      WHERE d.user_id = $1 ORDER BY d.created_at`,
    [person.who.id],
  );
const mailsFor = (server: MailServer, { who }: Person, count = 1): Promise<Mail[]> =>
  eventually(async () => {
    const mails = server.of(who.email);
    if (mails.length < count) throw new Error(`${who.name} has ${mails.length} mails`);
    return mails;
  });
/** What is to be tried again some time is so now. */
const hurry = (system: TestSystem) =>
  system.database.query("UPDATE deliveries SET next_try_at = now() WHERE status = 'pending'");

describe("By a mail server", () => {
  let server: MailServer;
  let system: TestSystem;
  let api: Api;
  let event: Event;
  beforeAll(async () => {
    server = await startMailServer({ account: { user: "mailer@x", password: "p/ä:s% s" } });
    ({ system, api, event } = await sendingBy(server));
  });
  afterAll(async () => {
    await system.stop();
    await server.close();
  });

  test("a confirmation arrives whole, and once", async () => {
    const alice = await api.attendee("Alice");
    await alice.books(event, 2);
    const [mail] = await mailsFor(server, alice);
    expect(mail).toMatchObject({
      subject: "Booked: Recital",
      text: expect.stringContaining("Hello Alice,"),
      html: expect.stringContaining("Hello Alice,"),
    });
    expect(mail?.attachments.map(({ contentType }) => contentType).sort()).toEqual([
      "image/png",
      "image/png",
      "text/calendar",
    ]);
    await allIsSent(system);
    expect(server.of(alice.who.email)).toHaveLength(1);
    expect(await deliveriesOf(system, alice)).toMatchObject([{ status: "sent", attempts: 1 }]);
  });

  test("nothing more goes to an address that it refuses for good, until it is another one", async () => {
    const ben = await api.attendee("Ben");
    server.refuses = (address) =>
      address === ben.who.email ? "550 5.1.1 No such user here" : undefined;
    await ben.books(event);
    await allIsSent(system);
    expect(await deliveriesOf(system, ben)).toMatchObject([
      { status: "refused", attempts: 1, error: expect.stringContaining("No such user here") },
    ]);
    await ben.cancels((await ben.bookingOf(event)) ?? { id: "" });
    await ben.isTold("booking.cancelled");
    await allIsSent(system);
    expect(server.asked.filter((address) => address === ben.who.email)).toHaveLength(1);
    const email = `new.${ben.who.email}`;
    await ben.does(200, "PATCH", "/users/me", { email });
    await ben.books(event);
    await eventually(async () => expect(server.of(email)).toHaveLength(1));
    // An operator who knows better lets it be tried again.
    server.refuses = () => undefined;
    await ben.does(200, "PATCH", "/users/me", { email: ben.who.email });
    const [{ id }] = await deliveriesOf(system, ben);
    const [node] = system.systems;
    expect(await node?.broker.call("notifications.$retryDelivery", { id })).toEqual({ retried: 1 });
    await allIsSent(system);
    // Its booking is over by now.
    expect(await deliveriesOf(system, ben)).toMatchObject([
      { status: "dropped" },
      { status: "sent" },
    ]);
  });

  test("what it refuses whatever the address is tried again, and given up in the end", async () => {
    const cleo = await api.attendee("Cleo");
    server.refuses = (address) =>
      address === cleo.who.email ? "554 5.7.1 Relay access denied" : undefined;
    await cleo.books(event);
    await eventually(async () =>
      expect(await deliveriesOf(system, cleo)).toMatchObject([
        { status: "pending", error: expect.stringContaining("Relay access denied") },
      ]),
    );
    await system.database.query(
      "UPDATE deliveries SET attempts = 23, next_try_at = now() WHERE user_id = $1",
      [cleo.who.id],
    );
    await eventually(async () =>
      expect(await deliveriesOf(system, cleo)).toMatchObject([{ status: "failed", attempts: 24 }]),
    );
    server.refuses = () => undefined;
    const [node] = system.systems;
    const listed = await node?.broker.call("notifications.$listDeliveries", { status: "failed" });
    expect(listed).toMatchObject([{ userId: cleo.who.id, channel: "email", nextTryAt: null }]);
    expect(await node?.broker.call("notifications.$retryDelivery", {})).toEqual({ retried: 1 });
    await mailsFor(server, cleo);
    await allIsSent(system);
    const none = await node?.broker.call("notifications.$listDeliveries", { status: "failed" });
    expect(none).toEqual([]);
  });
});

test("While no mail server is there all else goes on; then each who still wants it has a mail", async () => {
  const port = await freePort();
  const { system, api, event } = await sendingBy({ url: `smtp://127.0.0.1:${port}` });
  try {
    const people = await Promise.all(["Alice", "Ben", "Cleo"].map(api.attendee));
    const [erased, tired] = [await api.attendee("Emil"), await api.attendee("Tim")];
    await erased.books(event);
    await tired.books(event);
    for (const person of people) {
      await person.books(event);
      await person.isTold("booking.confirmed");
    }
    await eventually(async () => {
      const tried = await system.database.query("SELECT FROM deliveries WHERE error IS NOT NULL");
      expect(tried).not.toEqual([]);
    });
    await eventually(async () => {
      expect(await deliveriesOf(system, erased)).toMatchObject([{ status: "pending" }]);
      expect(await deliveriesOf(system, tired)).toMatchObject([{ status: "pending" }]);
    });
    // However long that lasts, it costs no attempt: none of these would have another one.
    await system.database.query(
      "UPDATE deliveries SET attempts = 23, error = NULL, next_try_at = now()",
    );
    await eventually(async () => {
      const tried = await system.database.query("SELECT FROM deliveries WHERE error IS NOT NULL");
      expect(tried).not.toEqual([]);
    });
    await erased.does(204, "DELETE", "/users/me");
    const off = { "booking.confirmed": { email: false } };
    await tired.does(200, "PUT", "/notifications/preferences", off);
    const server = await startMailServer({ port });
    try {
      await eventually(async () => {
        await hurry(system);
        expect(server.mails.length).toBeGreaterThanOrEqual(3);
      });
      await allIsSent(system);
      expect(server.mails).toHaveLength(3);
      expect(await deliveriesOf(system, tired)).toMatchObject([{ status: "dropped" }]);
      for (const { who } of people) expect(server.of(who.email)).toHaveLength(1);
    } finally {
      await system.stop();
      await server.close();
    }
  } finally {
    await system.stop();
  }
});

test("A mail server that says nothing keeps nobody waiting, nor the end of the process for long", async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => sockets.add(socket.on("error", () => {})));
  const port = await freePort();
  await new Promise<void>((resolve) => silent.listen(port, "127.0.0.1", resolve));
  const { system, api, event } = await sendingBy({ url: `smtp://127.0.0.1:${port}` });
  try {
    const people = await Promise.all(
      Array.from({ length: 12 }, (_, i) => api.attendee(`Alice${i}`)),
    );
    for (const person of people) await person.books(event);
    await eventually(async () => expect(sockets.size).toBeGreaterThan(0));
    const startedAt = performance.now();
    const late = await api.attendee("Late");
    await late.books(event);
    await late.isTold("booking.confirmed");
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  } finally {
    const startedAt = performance.now();
    await system.stop();
    expect(performance.now() - startedAt).toBeLessThan(9_000);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  }
});

test("A mail server that never comes to an end, but is never silent, is left in time", async () => {
  let open = 0;
  const dripping = createServer((socket) => {
    open++;
    const drips = setInterval(() => socket.write("220-Wait\r\n"), 20);
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(drips);
      open--;
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => dripping.listen(port, "127.0.0.1", resolve));
  const { mailFrom, publicUrl } = loadConfig({});
  const sender = smtp(`smtp://127.0.0.1:${port}`, { from: mailFrom, publicUrl });
  try {
    const sending = sender.send(messageTo({}), AbortSignal.timeout(500));
    await expect(sending).rejects.toBeInstanceOf(SenderUnavailable);
    await eventually(async () => expect(open).toBe(0));
  } finally {
    await sender.close?.();
    await new Promise((resolve) => dripping.close(resolve));
  }
});

test("What cannot be noted for a moment is sent once; what a crash keeps from it, again as the same mail", async () => {
  const server = await startMailServer();
  let crashes = 3;
  const wrapDatabase = intercepted((sql) => {
    if (/UPDATE deliveries SET status/.test(sql) && crashes-- > 0) throw new Error("Gone");
    return sql;
  });
  const { system, api, event } = await sendingBy(server, { wrapDatabase });
  try {
    const alice = await api.attendee("Alice");
    await alice.books(event);
    await mailsFor(server, alice);
    await allIsSent(system);
    expect(server.of(alice.who.email)).toHaveLength(1);
    await system.database.query(
      "UPDATE deliveries SET status = 'pending', settled_at = NULL, next_try_at = now()",
    );
    const [first, again] = await mailsFor(server, alice, 2);
    await allIsSent(system);
    expect(first?.messageId).toMatch(/^<[0-9a-f-]{36}@127\.0\.0\.1>$/);
    expect(again?.raw).toBe(first?.raw);
    expect(server.of(alice.who.email)).toHaveLength(2);
  } finally {
    await system.stop();
    await server.close();
  }
});

test("Two nodes send one mail each time, also of what is told again", async () => {
  const server = await startMailServer();
  const { system, api, event } = await sendingBy(server);
  const second = await startTestSystem({
    database: system.database,
    environment: { SMTP_URL: server.url },
  });
  try {
    const people = await Promise.all(
      Array.from({ length: 20 }, (_, i) => api.attendee(`Alice${i}`)),
    );
    await Promise.all(people.map((person) => person.books(event)));
    await Promise.all(people.map((person) => mailsFor(server, person)));
    await allIsSent(system);
    // As if nobody had decided yet what is to be sent.
    await system.database.query(
      `INSERT INTO dispatches (urgency, id, notification_ids)
       SELECT i % 2, gen_random_uuid(), (SELECT array_agg(id) FROM notifications) FROM generate_series(1, 10) AS i`,
    );
    await allIsSent(system);
    expect(server.mails).toHaveLength(20);
    expect(new Set(server.mails.map(({ messageId }) => messageId)).size).toBe(20);
  } finally {
    await second.stop();
    await system.stop();
    await server.close();
  }
});
