/** Everybody concerned hears of what happens, in the product, by mail and on an open socket; unless they want none of it. */
import { allIsSent, getsMail, type Mail, mailsOf } from "../support/mailbox";
import { Api, type Person } from "../support/people";
import { readQr } from "../support/qr";
import { Line } from "../support/sockets";
import { startTestSystem, type TestSystem } from "../support/system";

let system: TestSystem;
let api: Api;
let hanna: Person;
const lines: Line[] = [];
beforeAll(async () => {
  system = await startTestSystem({ environment: { REMINDER_HOURS: "1" } });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
});
afterAll(async () => {
  for (const line of lines) line.hangsUp();
  await system.stop();
});

interface Listener {
  person: Person;
  line: Line;
}
async function listens(name: string): Promise<Listener> {
  const person = await api.attendee(name);
  const line = await Line.to(system.origin, `?token=${person.token}`);
  lines.push(line);
  return { person, line };
}

/** Somebody is told of something once in each of the three ways, and everywhere the same. */
async function isToldEverywhere(
  { person, line }: Listener,
  type: string,
  title: string,
): Promise<Mail> {
  const [[notification], { notification: heard }, [mail]] = await Promise.all([
    person.isTold(type),
    line.hears((said) => said.notification?.type === type),
    getsMail(system, person, title),
  ]);
  expect(notification).toMatchObject({ type, title });
  expect(heard).toEqual(notification);
  if (!mail) throw new Error("There is no mail");
  expect(mail.text).toContain(notification.body);
  expect(mail.html).toContain("</p>");
  return mail;
}
/** Of each type, how many notices somebody has, frames and mails. */
async function counts({ person, line }: Listener) {
  await allIsSent(system);
  const { data } = await person.does(200, "GET", "/notifications?limit=100");
  return {
    notices: data.map(({ type }: { type: string }) => type).sort(),
    frames: line.heard.flatMap(({ notification }) => notification?.type ?? []).sort(),
    mails: (await mailsOf(system, person)).length,
  };
}
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();

test("Who follows a host hears of a new event", async () => {
  const alice = await listens("Alice");
  await alice.person.does(204, "POST", `/users/${hanna.who.id}/follow`);
  await hanna.createsEvent({ title: "Premiere" });
  await isToldEverywhere(alice, "event.created", "New: Premiere");
  const once = ["event.created"];
  expect(await counts(alice)).toEqual({ notices: once, frames: once, mails: 1 });
});

test("Who books gets the tickets, and hears of a change and of the end", async () => {
  const ben = await listens("Ben");
  const event = await hanna.createsEvent({ title: "Recital" });
  const { tickets } = await ben.person.books(event, 2);
  const mail = await isToldEverywhere(ben, "booking.confirmed", "Booked: Recital");
  const pictures = mail.attachments.filter(({ contentType }) => contentType === "image/png");
  expect(pictures.map(({ content }) => readQr(content))).toEqual(tickets.map(({ code }) => code));
  expect(mail.attachments.map(({ filename }) => filename)).toContain("event.ics");
  await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Garden" });
  await isToldEverywhere(ben, "event.updated", "Changed: Recital");
  await hanna.does(200, "POST", `/events/${event.id}/cancel`, { reason: "Rain" });
  const last = await isToldEverywhere(ben, "event.cancelled", "Cancelled: Recital");
  expect(last.text).toContain("Rain");
  const once = ["booking.confirmed", "event.cancelled", "event.updated"];
  expect(await counts(ben)).toEqual({ notices: once, frames: once, mails: 3 });
});

test("Every attendee of an event that is removed hears of it", async () => {
  const all = [await listens("Cleo"), await listens("Dora")];
  const event = await hanna.createsEvent({ title: "Matinee" });
  for (const { person } of all) await person.books(event);
  await hanna.does(204, "DELETE", `/events/${event.id}`);
  for (const one of all) await isToldEverywhere(one, "event.cancelled", "Cancelled: Matinee");
});

test("Who is interested hears when the sale starts", async () => {
  const emma = await listens("Emma");
  const saleStartsAt = new Date(Date.now() + 1_500).toISOString();
  const event = await hanna.createsEvent({ title: "Gala", saleStartsAt });
  await emma.person.does(204, "POST", `/events/${event.id}/interest`);
  await isToldEverywhere(emma, "sale.started", "On sale: Gala");
});

test("Who comes is reminded", async () => {
  const finn = await listens("Finn");
  const [startDateTime, endDateTime] = [inMinutes(80), inMinutes(120)];
  const event = await hanna.createsEvent({ title: "Lecture", startDateTime, endDateTime });
  await finn.person.books(event);
  await hanna.does(200, "PATCH", `/events/${event.id}`, { startDateTime: inMinutes(50) });
  await isToldEverywhere(finn, "event.reminder", "Soon: Lecture");
});

test("Who wants none of it hears nothing", async () => {
  const gina = await listens("Gina");
  const none = { inApp: false, email: false, push: false };
  await gina.person.does(200, "PUT", "/notifications/preferences", {
    "booking.confirmed": none,
    "event.updated": none,
    "event.cancelled": none,
  });
  const event = await hanna.createsEvent({ title: "Soiree" });
  await gina.person.books(event);
  await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Garden" });
  await hanna.does(200, "POST", `/events/${event.id}/cancel`, {});
  // Somebody who is told after her, and by whom one knows that she would have been.
  const hugo = await listens("Hugo");
  await hugo.person.books(await hanna.createsEvent({ title: "Encore" }));
  await isToldEverywhere(hugo, "booking.confirmed", "Booked: Encore");
  expect(await counts(gina)).toEqual({ notices: [], frames: [], mails: 0 });
});
