/** Notices on their way to phones and browsers, from what happened to whoever speaks for Twilio and the push services. */
import { eventually } from "../support/eventually";
import { allIsSent, mailsOf } from "../support/mailbox";
import { Api, type Person } from "../support/people";
import { type Browser, type PushService, startPushService, VAPID } from "../support/push-service";
import { startTestSystem, type TestSystem } from "../support/system";
import { ACCOUNT, startTwilio, type Twilio } from "../support/twilio";

const FROM = "+15005550006";

let twilio: Twilio;
let pushService: PushService;
let system: TestSystem;
let api: Api;
let hanna: Person;
beforeAll(async () => {
  [twilio, pushService] = await Promise.all([startTwilio(), startPushService()]);
  system = await startTestSystem({
    environment: {
      ...VAPID,
      TWILIO_ACCOUNT_SID: ACCOUNT.accountSid,
      TWILIO_AUTH_TOKEN: ACCOUNT.authToken,
      TWILIO_FROM: FROM,
      TWILIO_API_BASE: twilio.origin,
    },
  });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
});
afterAll(async () => {
  await system.stop();
  await Promise.all([twilio.close(), pushService.close()]);
});

async function subscribed(person: Person): Promise<Browser> {
  const browser = pushService.browser();
  await person.does(201, "POST", "/notifications/push-subscriptions", browser.subscription);
  return browser;
}
const choose = (person: Person, preferences: object) =>
  person.does(200, "PUT", "/notifications/preferences", preferences);
const deliveriesOf = (person: Person) =>
  system.database.query(
    `SELECT channel, status, attempts, error FROM deliveries WHERE user_id = $1
      ORDER BY channel, status, created_at`,
    [person.who.id],
  );
const typesAt = ({ taken }: Browser) => taken.map(({ payload }) => payload.type);
const smsTo = (phone: string) => twilio.taken.filter(({ to }) => to === phone);

test("Whoever wants that is told in each of their browsers, by SMS and by mail, once each", async () => {
  const alice = await api.attendee("Alice");
  const phone = "+436641000001";
  await alice.does(200, "PATCH", "/users/me", { phone });
  await choose(alice, { "booking.confirmed": { sms: true } });
  const [laptop, tablet] = [await subscribed(alice), await subscribed(alice)];
  const event = await hanna.createsEvent({ title: "Recital" });
  await alice.books(event);
  await allIsSent(system);
  const [notice] = (await alice.does(200, "GET", "/notifications")).data;
  for (const { taken } of [laptop, tablet]) {
    expect(taken.map(({ payload }) => payload)).toEqual([
      expect.objectContaining({
        id: notice.id,
        type: "booking.confirmed",
        title: "Booked: Recital",
        eventId: event.id,
      }),
    ]);
  }
  expect(laptop.taken[0]?.topic).not.toBe(tablet.taken[0]?.topic);
  expect(smsTo(phone)).toEqual([
    { to: phone, from: FROM, body: expect.stringContaining("Booked: Recital") },
  ]);
  expect(await mailsOf(system, alice)).toHaveLength(1);
  expect(pushService.refused).toEqual([]);
  expect((await deliveriesOf(alice)).map(({ channel, status }) => `${channel} ${status}`)).toEqual([
    "email sent",
    "push sent",
    "push sent",
    "sms sent",
  ]);
});

test("A browser that is gone is forgotten, and the other one hears once", async () => {
  const ben = await api.attendee("Ben");
  const there = await subscribed(ben);
  const gone = pushService.browser();
  const endpoint = `${gone.subscription.endpoint}x`;
  await ben.does(201, "POST", "/notifications/push-subscriptions", {
    ...gone.subscription,
    endpoint,
  });
  await ben.books(await hanna.createsEvent({ title: "Matinee" }));
  await allIsSent(system);
  expect(typesAt(there)).toEqual(["booking.confirmed"]);
  const pushes = (await deliveriesOf(ben)).filter(({ channel }) => channel === "push");
  expect(pushes.map(({ status }) => status)).toEqual(["refused", "sent"]);
  const left = await system.database.query(
    "SELECT endpoint FROM push_subscriptions WHERE user_id = $1",
    [ben.who.id],
  );
  expect(left).toEqual([{ endpoint: there.subscription.endpoint }]);
});

test("A push service that wants to be left alone is asked later, for the browser that has nothing yet", async () => {
  const cleo = await api.attendee("Cleo");
  const browser = await subscribed(cleo);
  pushService.answers({ status: 429, headers: { "retry-after": "3" } });
  await cleo.books(await hanna.createsEvent({ title: "Soiree" }));
  const asked = await eventually(async () => {
    const [push] = await system.database.query(
      `SELECT attempts, next_try_at - created_at AS wait, status FROM deliveries
        WHERE user_id = $1 AND channel = 'push' AND error IS NOT NULL`,
      [cleo.who.id],
    );
    if (push?.status !== "pending") throw new Error("It was not refused yet");
    return push;
  });
  expect(asked.attempts).toBe(1);
  expect(asked.wait.seconds).toBeGreaterThanOrEqual(3);
  await allIsSent(system);
  expect(typesAt(browser)).toEqual(["booking.confirmed"]);
});

test("An SMS that may have gone out is not sent again", async () => {
  const fay = await api.attendee("Fay");
  await choose(fay, { "booking.confirmed": { sms: true, email: false } });
  await fay.does(200, "PATCH", "/users/me", { phone: "+436641000004" });
  const before = twilio.requests;
  twilio.answers((res) => res.destroy());
  await fay.books(await hanna.createsEvent({ title: "Overture" }));
  await allIsSent(system);
  expect(twilio.requests).toBe(before + 1);
  expect(await deliveriesOf(fay)).toMatchObject([
    { channel: "sms", status: "failed", error: expect.stringMatching(/^Twilio could not be/) },
  ]);
});

test("A number that takes nothing gets nothing more, until the account has another one", async () => {
  const dora = await api.attendee("Dora");
  await choose(dora, { "booking.confirmed": { sms: true }, "booking.cancelled": { sms: true } });
  await dora.does(200, "PATCH", "/users/me", { phone: "+436641000002" });
  const event = await hanna.createsEvent({ title: "Concert" });
  twilio.refuses(400, 21211);
  await dora.books(event);
  await allIsSent(system);
  const ofSms = async () =>
    (await deliveriesOf(dora)).filter(({ channel }) => channel === "sms").map((one) => one.status);
  expect(await ofSms()).toEqual(["refused"]);
  await dora.cancels((await dora.does(200, "GET", "/bookings")).data[0]);
  await allIsSent(system);
  expect(await ofSms()).toEqual(["refused"]);
  await dora.does(200, "PATCH", "/users/me", { phone: "+436641000003" });
  await dora.books(event);
  await allIsSent(system);
  expect(smsTo("+436641000002")).toEqual([]);
  expect(smsTo("+436641000003")).toHaveLength(1);
});

test("Who wants nothing in the browser gets nothing there", async () => {
  const emma = await api.attendee("Emma");
  const browser = await subscribed(emma);
  await choose(emma, { "booking.confirmed": { push: false } });
  await emma.books(await hanna.createsEvent({ title: "Lecture" }));
  await allIsSent(system);
  expect(typesAt(browser)).toEqual([]);
  expect((await deliveriesOf(emma)).map(({ channel }) => channel)).toEqual(["email"]);
});
