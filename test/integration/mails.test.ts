import { existsSync } from "node:fs";
import { readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../lib/clock";
import type { Environment } from "../../lib/config";
import { openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import {
  type DeliveriesStore,
  deliveriesStore,
} from "../../services/notifications/notifications.deliveries";
import { forgetOld } from "../../services/notifications/notifications.delivering";
import { sendersOf } from "../../services/notifications/senders";
import { readCalendar } from "../support/calendar-file";
import { eventually } from "../support/eventually";
import { allIsSent, getsMail, type Mail, mailsOf } from "../support/mailbox";
import { Api, type Person } from "../support/people";
import { readQr } from "../support/qr";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem, testConfig } from "../support/system";
import { whileOpen } from "../support/transaction";

let system: TestSystem;
let api: Api;
beforeAll(async () => {
  system = await startTestSystem({ environment: { PUBLIC_URL: "https://tickets.example.org/x" } });
  api = await Api.at(system.origin);
});
afterAll(() => system.stop());

const subjectsOf = async (person: Person): Promise<(string | undefined)[]> => {
  await allIsSent(system);
  return (await mailsOf(system, person)).map(({ subject }) => subject);
};
const filesOf = async (person: Person): Promise<string[]> => {
  const rows = await system.database.query("SELECT id FROM deliveries WHERE user_id = $1", [
    person.who.id,
  ]);
  const files = await readdir(join(system.dataDir, "mail"));
  return files.filter((name) => rows.some(({ id }) => name.startsWith(id)));
};
const deliveriesOf = (person: Person) =>
  system.database.query(
    "SELECT type, status, error FROM deliveries d JOIN notifications n ON n.id = d.notification_id WHERE d.user_id = $1 ORDER BY d.created_at",
    [person.who.id],
  );
const choose = (person: Person, preferences: object) =>
  person.does(200, "PUT", "/notifications/preferences", preferences);

test("A booking is confirmed by mail: in words, with its tickets and for the calendar", async () => {
  const hanna = await api.host("Hanna");
  const alice = await api.attendee("Alice");
  const event = await hanna.createsEvent({ title: "Recital", location: "Hall" });
  const { tickets } = await alice.books(event, 2);
  const [mail] = await getsMail(system, alice, "Booked: Recital");
  if (!mail) throw new Error("There is no mail");
  expect(mail.from?.value).toEqual([{ name: "Marquee", address: "no-reply@localhost" }]);
  expect(mail.text).toContain("Hello Alice,");
  expect(mail.text).toContain("You have 2 seats for «Recital».");
  expect(mail.html).toContain("<p>You have 2 seats for «Recital».</p>");
  for (const { code } of tickets) {
    expect(mail.text).toContain(code);
    expect(mail.html).toContain(code);
  }
  const pictures = mail.attachments.filter(({ contentType }) => contentType === "image/png");
  expect(pictures.map(({ content }) => readQr(content))).toEqual(tickets.map(({ code }) => code));
  for (const { cid } of pictures) expect(mail.raw).toContain(`cid:${cid}`.slice(0, 20));
  const calendar = mail.attachments.find(({ contentType }) => contentType === "text/calendar");
  expect(readCalendar(String(calendar?.content)).event).toMatchObject({
    UID: `${event.id}@marquee`,
    SUMMARY: "Recital",
  });
  expect(calendar?.filename).toBe("event.ics");
  expect(mail.headers.get("auto-submitted")).toBe("auto-generated");
  expect(mail.raw).toMatch(
    /^List-Unsubscribe: <https:\/\/tickets\.example\.org\/x\/api\/notifications\/unsubscribe\?token=[\w.-]+>\r$/m,
  );
  expect(mail.raw).toMatch(/^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$/m);
  const [{ id, created_at }] = await system.database.query(
    "SELECT d.id, n.created_at FROM deliveries d JOIN notifications n ON n.id = d.notification_id WHERE d.user_id = $1",
    [alice.who.id],
  );
  expect(mail.messageId).toBe(`<${id}@tickets.example.org>`);
  expect(Math.abs(Number(mail.date) - Number(created_at))).toBeLessThan(1000);
});

test("Mails are for their recipients' eyes", async () => {
  const folder = join(system.dataDir, "mail");
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  const [file = ""] = await readdir(folder);
  expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
});

test("Followers get a mail of a new event, without tickets", async () => {
  const hanna = await api.host("Hanna");
  const alice = await api.attendee("Alice");
  await alice.does(204, "POST", `/users/${hanna.who.id}/follow`);
  const event = await hanna.createsEvent({ title: "Recital" });
  const [mail] = await getsMail(system, alice, "New: Recital");
  expect(mail?.attachments).toEqual([]);
  expect(mail?.text).toContain(`https://tickets.example.org/x/events/${event.id}`);
  expect(await subjectsOf(hanna)).toEqual([]);
});

describe("Preferences", () => {
  test("are all on but SMS, and each can be changed by itself", async () => {
    const alice = await api.attendee("Alice");
    const path = "/notifications/preferences";
    const before = await alice.does(200, "GET", path);
    expect(Object.keys(before)).toHaveLength(11);
    for (const channels of Object.values(before)) {
      expect(channels).toEqual({ inApp: true, email: true, sms: false, push: true });
    }
    const sms = await choose(alice, { "event.reminder": { sms: true, email: false } });
    const reminder = { inApp: true, email: false, sms: true, push: true };
    expect(sms).toEqual({ ...before, "event.reminder": reminder });
    expect(await alice.does(200, "GET", path)).toEqual(sms);
    expect(await choose(alice, { "event.reminder": { sms: false, email: true } })).toEqual(before);
    const kept = "SELECT FROM notification_preferences WHERE user_id = $1";
    expect(await system.database.query(kept, [alice.who.id])).toEqual([]);
  });

  test.each([
    [{ "event.burned": { email: false } }, "event.burned"],
    [{ "event.reminder": { pigeon: false } }, "event.reminder.pigeon"],
    [{ "event.reminder": { email: "no" } }, "event.reminder.email"],
    [{ "event.reminder": { email: null } }, "event.reminder.email"],
    [{ "event.reminder": null }, "event.reminder"],
    [{ "event.reminder": [] }, "event.reminder"],
    [{ "event.reminder": true }, "event.reminder"],
    [{}, "body"],
  ])("change nothing with %j", async (wrong, field) => {
    const alice = await api.attendee("Alice");
    const asked = { "event.created": { email: false }, ...wrong };
    const answer = await alice.tries(
      "PUT",
      "/notifications/preferences",
      field === "body" ? {} : asked,
    );
    expectRefusal(answer, 422, "VALIDATION_FAILED", [field]);
    const now = await alice.does(200, "GET", "/notifications/preferences");
    expect(now["event.created"].email).toBe(true);
  });

  test("of one person that change at once end as one of them", async () => {
    const alice = await api.attendee("Alice");
    const both = [true, false].map((email) => ({
      "event.created": { email },
      "event.updated": { email },
      "event.reminder": { email },
    }));
    await Promise.all(Array.from({ length: 20 }, (_, i) => choose(alice, both[i % 2] ?? {})));
    const now = await alice.does(200, "GET", "/notifications/preferences");
    const shown = ["event.created", "event.updated", "event.reminder"].map(
      (type) => now[type].email,
    );
    expect(new Set(shown).size).toBe(1);
  });

  test("without mails: silence there, and the notice in the product", async () => {
    const hanna = await api.host("Hanna");
    const [alice, ben] = [await api.attendee("Alice"), await api.attendee("Ben")];
    await choose(alice, { "booking.confirmed": { email: false } });
    const event = await hanna.createsEvent({ title: "Recital" });
    await alice.books(event);
    await ben.books(event);
    await getsMail(system, ben, "Booked: Recital");
    expect(await subjectsOf(alice)).toEqual([]);
    expect(await alice.isTold("booking.confirmed")).toHaveLength(1);
    await alice.cancels((await alice.bookingOf(event)) ?? { id: "" });
    await getsMail(system, alice, "Cancelled: Recital");
  });

  test("without the product: a mail, and nothing in lists, counts or anywhere", async () => {
    const hanna = await api.host("Hanna");
    const alice = await api.attendee("Alice");
    await choose(alice, { "booking.confirmed": { inApp: false } });
    await alice.books(await hanna.createsEvent({ title: "Recital" }));
    await getsMail(system, alice, "Booked: Recital");
    const { data, pagination } = await alice.does(200, "GET", "/notifications");
    expect([data, pagination.total]).toEqual([[], 0]);
    expect(await alice.does(200, "GET", "/notifications/count")).toEqual({ count: 0 });
    const find = "SELECT id FROM notifications WHERE user_id = $1";
    const [{ id }] = await system.database.query(find, [alice.who.id]);
    const missing = [404, "NOTIFICATION_NOT_FOUND"] as const;
    expectRefusal(await alice.tries("GET", `/notifications/${id}`), ...missing);
    expectRefusal(await alice.tries("POST", `/notifications/mark-read/${id}`), ...missing);
    const all = await alice.does(200, "POST", "/notifications/mark-all-read");
    expect(all).toEqual({ updated: 0 });
  });
});

describe("A mail's link", () => {
  /** Where a mail reader's own button goes, on this machine. */
  const oneClickOf = (mail: Mail | undefined): string => {
    const url = /^List-Unsubscribe: <(.+)>\r$/m.exec(mail?.raw ?? "")?.[1] ?? "";
    return url.replace("https://tickets.example.org/x", system.origin);
  };
  let hanna: Person;
  let alice: Person;
  let mail: Mail | undefined;
  beforeEach(async () => {
    [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    await alice.books(await hanna.createsEvent({ title: "Recital" }));
    [mail] = await getsMail(system, alice, "Booked: Recital");
  });
  const CLICKS: [string, RequestInit][] = [
    ["as a form", { body: new URLSearchParams({ "List-Unsubscribe": "One-Click" }) }],
    ["as a form in parts", { body: form() }],
    ["without a body", {}],
    ["as JSON", { body: "{}", headers: { "content-type": "application/json" } }],
    ["as whatever", { body: "{", headers: { "content-type": "text/plain" } }],
  ];
  function form(): FormData {
    const data = new FormData();
    data.set("List-Unsubscribe", "One-Click");
    return data;
  }

  test.each(CLICKS)(
    "ends all mails with one click, sent %s, also the second time",
    async (_, how) => {
      for (const _time of [1, 2]) {
        const answer = await fetch(oneClickOf(mail), { method: "POST", ...how });
        expect([answer.status, answer.headers.get("content-type")]).toEqual([
          200,
          "text/html; charset=utf-8",
        ]);
        expect(await answer.text()).not.toMatch(/Alice|@/);
      }
      const event = await hanna.createsEvent({ title: "Matinee" });
      await alice.books(event);
      await hanna.does(200, "POST", `/events/${event.id}/cancel`);
      await alice.isTold("event.cancelled");
      expect(await subjectsOf(alice)).toEqual(["Booked: Recital"]);
      // Whoever wants them again says so.
      await choose(alice, { "booking.confirmed": { email: true } });
      await alice.books(await hanna.createsEvent({ title: "Encore" }));
      await getsMail(system, alice, "Booked: Encore");
    },
  );

  test("asks a person first, and whatever program follows it: nothing is changed by that", async () => {
    for (const method of ["GET", "HEAD"]) {
      const answer = await fetch(oneClickOf(mail), { method });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("cache-control")).toBe("no-store");
      const page = await answer.text();
      if (method === "GET") expect(page).toMatch(/<form method="post"><button type="submit">/);
      expect(page).not.toMatch(/Alice|@example/);
    }
    await alice.books(await hanna.createsEvent({ title: "Matinee" }));
    await getsMail(system, alice, "Booked: Matinee");
  });

  test("ends those of one kind alone, where a person chooses that", async () => {
    const url = /No more mails like this: https:\/\/tickets.example.org\/x(\S+)/.exec(
      mail?.text ?? "",
    );
    const answer = await fetch(`${system.origin}${url?.[1]}`, { method: "POST" });
    expect(answer.status).toBe(200);
    const event = await hanna.createsEvent({ title: "Matinee" });
    await alice.cancels(await alice.books(event));
    await getsMail(system, alice, "Cancelled: Matinee");
    expect(await subjectsOf(alice)).toEqual(["Booked: Recital", "Cancelled: Matinee"]);
  });

  test("that was forged or cut off is none, and one of somebody erased tells nothing of that", async () => {
    const token = new URL(oneClickOf(mail)).searchParams.get("token") ?? "";
    const [text = "", signature = ""] = token.split(".");
    const other = Buffer.from(text, "base64url");
    other.writeUInt8((other.readUInt8(0) + 1) % 256, 0);
    const forged = [
      ...["x", ".", `${text}.`, `.${signature}`, text, `${token}.`, token.slice(0, -1)],
      ...[`${other.toString("base64url")}.${signature}`, `${text}.${signature.toLowerCase()}`],
      ...[`${token}A`, alice.token.slice(0, 200), "\u0000", "ü".repeat(50)],
    ];
    for (const wrong of forged) {
      const path = `/notifications/unsubscribe?token=${encodeURIComponent(wrong)}`;
      for (const method of ["GET", "POST"]) {
        const answer = await api.request(method, path);
        if (answer.status === 422) expectRefusal(answer, 422, "VALIDATION_FAILED", ["token"]);
        else expectRefusal(answer, 404, "UNSUBSCRIBE_LINK_INVALID");
      }
    }
    expectRefusal(
      await api.request("POST", "/notifications/unsubscribe"),
      422,
      "VALIDATION_FAILED",
    );
    await alice.does(204, "DELETE", "/users/me");
    expect((await fetch(oneClickOf(mail), { method: "POST" })).status).toBe(200);
  });

  test("takes any form, but no other path does, and nothing that is too large", async () => {
    const body = new URLSearchParams({ "List-Unsubscribe": "One-Click" });
    const elsewhere = await fetch(`${system.origin}/api/notifications/mark-all-read`, {
      method: "POST",
      body,
      headers: { authorization: `Bearer ${alice.token}` },
    });
    expect(elsewhere.status).toBe(415);
    const large = await fetch(oneClickOf(mail), { method: "POST", body: "x".repeat(1_100_000) });
    expect(large.status).toBe(413);
    await alice.books(await hanna.createsEvent({ title: "Matinee" }));
    await getsMail(system, alice, "Booked: Matinee");
  });
});

/** A mail that was sent to somebody, as its store on another node sees it. */
async function withSentMail(
  work: (store: DeliveriesStore, id: string, person: Person) => Promise<void>,
): Promise<void> {
  const alice = await api.attendee("Alice");
  await alice.books(await (await api.host("Hanna")).createsEvent({ title: "Recital" }));
  await getsMail(system, alice, "Booked: Recital");
  await allIsSent(system);
  const database = openDatabase(system.database.url, { connections: 1 });
  try {
    const find = "SELECT id FROM deliveries WHERE user_id = $1";
    const [{ id }] = await system.database.query(find, [alice.who.id]);
    await work(deliveriesStore(database), id, alice);
  } finally {
    await database.close();
  }
}
const unsettle = (id: string, attempts: number, nextTryAt: string) =>
  system.database.query(
    "UPDATE deliveries SET status = 'pending', settled_at = NULL, attempts = $2, next_try_at = $3 WHERE id = $1",
    [id, attempts, nextTryAt],
  );
const refusalsOf = ({ who }: Person) =>
  system.database.query("SELECT address FROM refused_addresses WHERE user_id = $1", [who.id]);

test("A refusal is noted later where somebody holds the person's row, and lifted for a message that is named", () =>
  withSentMail(async (store, id, alice) => {
    const delivery = { id, channel: "email", attempts: 1 } as const;
    const no = new Error("No such user");
    await unsettle(id, 1, "infinity");
    const lock = "SELECT FROM users WHERE id = $1 FOR UPDATE";
    await whileOpen(system.database, lock, [alice.who.id], async () => {
      await store.refused(delivery, alice.who.email, no);
      expect(await deliveriesOf(alice)).toMatchObject([{ status: "pending", error: no.message }]);
      expect(await refusalsOf(alice)).toEqual([]);
      await unsettle(id, 1, "infinity");
    });
    await store.refused(delivery, alice.who.email, no);
    expect(await deliveriesOf(alice)).toMatchObject([{ status: "refused" }]);
    expect(await refusalsOf(alice)).toEqual([{ address: alice.who.email }]);
    await system.database.query("UPDATE deliveries SET status = 'failed' WHERE id = $1", [id]);
    expect(await store.retry(undefined)).toBe(1);
    await allIsSent(system);
    expect(await deliveriesOf(alice)).toMatchObject([{ status: "dropped" }]);
    expect(await refusalsOf(alice)).toHaveLength(1);
    expect(await store.retry(id)).toBe(1);
    expect(await refusalsOf(alice)).toEqual([]);
  }));

test("A reminder of an event that is not to be then is dropped as late as when it would go", () =>
  withSentMail(async (_store, id, alice) => {
    await unsettle(id, 1, "infinity");
    await system.database.query(
      "UPDATE notifications SET type = 'event.reminder' WHERE user_id = $1",
      [alice.who.id],
    );
    await system.database.query(
      "UPDATE events SET status = 'postponed' WHERE id IN (SELECT event_id FROM notifications WHERE user_id = $1)",
      [alice.who.id],
    );
    await unsettle(id, 1, "now");
    await allIsSent(system);
    const error = "The event does not take place then.";
    expect(await deliveriesOf(alice)).toMatchObject([{ status: "dropped", error }]);
  }));

test("A message whose every attempt has ended the process is given up", () =>
  withSentMail(async (_store, id, alice) => {
    await unsettle(id, 24, "now");
    await allIsSent(system);
    const error = "Each attempt ended the process, or took longer than it may.";
    expect(await deliveriesOf(alice)).toMatchObject([{ status: "failed", error }]);
  }));

describe("Whoever is erased", () => {
  test("has no mail left that was being sent meanwhile; one that two nodes have sent stays", async () => {
    const hanna = await api.host("Hanna");
    const alice = await api.attendee("Alice");
    await alice.books(await hanna.createsEvent({ title: "Recital" }));
    await getsMail(system, alice, "Booked: Recital");
    await allIsSent(system);
    const database = openDatabase(system.database.url, { connections: 1 });
    try {
      const store = deliveriesStore(database);
      const [{ id }] = await system.database.query("SELECT id FROM deliveries WHERE user_id = $1", [
        alice.who.id,
      ]);
      expect(await store.sent(id)).toBe(true);
      await alice.does(204, "DELETE", "/users/me");
      expect(await store.sent(id)).toBe(false);
    } finally {
      await database.close();
    }
  });

  test("gets nothing more, and the files of their mails are gone", async () => {
    const hanna = await api.host("Hanna");
    const alice = await api.attendee("Alice");
    await alice.books(await hanna.createsEvent({ title: "Recital" }));
    await getsMail(system, alice, "Booked: Recital");
    await choose(alice, { "event.created": { email: false } });
    const [file = ""] = await filesOf(alice);
    expect(file).toMatch(/\.eml$/);
    await alice.does(204, "DELETE", "/users/me");
    expect(await readdir(join(system.dataDir, "mail"))).not.toContain(file);
    for (const table of ["deliveries", "notification_preferences", "refused_addresses"]) {
      const left = await system.database.query(`SELECT FROM ${table} WHERE user_id = $1`, [
        alice.who.id,
      ]);
      expect({ table, left }).toEqual({ table, left: [] });
    }
  });
});

test("Of a booking that is over by then there is no confirmation", async () => {
  const hanna = await api.host("Hanna");
  const alice = await api.attendee("Alice");
  const event = await hanna.createsEvent({ title: "Recital" });
  // Nobody decides of it for a moment.
  await whileOpen(system.database, "LOCK TABLE deliveries IN SHARE MODE", [], async () => {
    await alice.cancels(await alice.books(event));
    await alice.isTold("booking.cancelled");
  });
  expect(await subjectsOf(alice)).toEqual(["Cancelled: Recital"]);
  expect(await deliveriesOf(alice)).toContainEqual({
    type: "booking.confirmed",
    status: "dropped",
    error: "The booking is over.",
  });
});

test("Nothing that people call themselves or their events gets into a header", async () => {
  const hanna = await api.host("Hanna");
  const evil = '<b>Ünï</b> \u202emoc.live\u202c "q" & Bcc: eve@example.org, x@example.org';
  const alice = await api.registers(`Alice ${evil}`.slice(0, 100));
  const title = `${evil} ${"x".repeat(200)}`.slice(0, 200);
  const event = await hanna.createsEvent({ title });
  // No API takes these; they are there all the same, as by an import.
  await system.database.query("UPDATE users SET name = $2 WHERE id = $1", [
    alice.who.id,
    `Alice\r\nBcc: eve@example.org\n\n<script>alert(1)</script>`,
  ]);
  await alice.books(event);
  await alice.isTold("booking.confirmed");
  await allIsSent(system);
  const [mail] = await mailsOf(system, alice);
  if (!mail) throw new Error("There is no mail");
  const [head = ""] = mail.raw.split("\r\n\r\n", 1);
  expect(head).not.toMatch(/^(Bcc|Cc):/im);
  expect(mail.headerLines.filter(({ key }) => key === "to" || key === "subject")).toHaveLength(2);
  for (const line of head.split("\r\n")) expect(line).toMatch(/^[\x20-\x7e\t]{0,998}$/);
  const to = Array.isArray(mail.to) ? mail.to[0] : mail.to;
  expect(to?.value).toEqual([
    {
      address: alice.who.email,
      name: "Alice Bcc: eve@example.org <script>alert(1)</script>",
    },
  ]);
  expect(mail.subject).toBe(`Booked: ${title.replace(/[\u202e\u202c]/g, "")}`);
  const html = String(mail.html);
  expect(html).not.toMatch(/<script|<b>|\u202e/);
  expect(html).toContain("&lt;b&gt;Ünï&lt;/b&gt;");
});

/** Forgets what a node does by and by. */
async function forgetAll(environment: Environment = {}): Promise<void> {
  const database = openDatabase(system.database.url, { connections: 1 });
  try {
    const config = testConfig(system.database.url, {
      DATA_DIR: system.dataDir,
      ...environment,
    });
    const never = new AbortController().signal;
    await forgetOld(database, deliveriesStore(database), sendersOf(config, systemClock), never);
  } finally {
    await database.close();
  }
}

test("Of files that are no mail any more none stays, and what others keep there does", async () => {
  const hanna = await api.host("Hanna");
  const alice = await api.attendee("Alice");
  await alice.books(await hanna.createsEvent({ title: "Recital" }));
  await getsMail(system, alice, "Booked: Recital");
  const [kept = ""] = await filesOf(alice);
  const folder = join(system.dataDir, "mail");
  const gone = [`${newId()}.eml`, `${newId()}.eml.part`];
  const others = ["notes.txt", `${newId()}.eml.bak`];
  for (const name of [...gone, ...others]) await writeFile(join(folder, name), "x");
  await forgetAll();
  const files = await readdir(folder);
  expect(files).toEqual(expect.arrayContaining([kept, ...others]));
  expect(files.filter((name) => gone.includes(name))).toEqual([]);
  // A month later the mail is forgotten as well.
  await system.database.query(
    "UPDATE deliveries SET settled_at = now() - interval '31 days' WHERE user_id = $1",
    [alice.who.id],
  );
  await forgetAll();
  expect(await readdir(folder)).not.toContain(kept);
  expect(await alice.isTold("booking.confirmed")).toHaveLength(1);
});

test("Files from before there was a mail server are forgotten as well, also when a process starts", async () => {
  const folder = join(system.dataDir, "mail");
  const file = join(folder, `${newId()}.eml`);
  await writeFile(file, "x");
  const byServer = { SMTP_URL: "smtp://127.0.0.1:9" };
  await forgetAll(byServer);
  expect(existsSync(file)).toBe(false);
  await writeFile(file, "x");
  const environment = { ...byServer, DATA_DIR: system.dataDir };
  const second = await startTestSystem({ database: system.database, environment });
  try {
    await eventually(async () => expect(existsSync(file)).toBe(false));
  } finally {
    await second.stop();
  }
});

test("Where mails cannot be written bookings go on, and the mails come when they can", async () => {
  const folder = join(system.dataDir, "mail");
  const hanna = await api.host("Hanna");
  const alice = await api.attendee("Alice");
  await allIsSent(system);
  await rename(folder, `${folder}-away`);
  await writeFile(folder, "in the way");
  await alice.books(await hanna.createsEvent({ title: "Recital" }));
  await alice.isTold("booking.confirmed");
  await eventually(async () => {
    const pending = { type: "booking.confirmed", status: "pending" };
    const error = expect.stringMatching(/^DATA_DIR cannot hold mails in .+: ENOTDIR$/);
    expect(await deliveriesOf(alice)).toEqual([{ ...pending, error }]);
  });
  await rm(folder);
  await rename(`${folder}-away`, folder);
  await getsMail(system, alice, "Booked: Recital");
});
