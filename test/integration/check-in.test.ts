import { readFileSync } from "node:fs";
import { join } from "node:path";
import { newId } from "../../lib/ids";
import { codeOf } from "../../services/bookings/bookings.tickets";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { MovableClock } from "../support/movable-clock";
import { type Answer, Api, type Booking, type Event, type Person } from "../support/people";
import { takeWalk, walkOf } from "../support/readme-walk";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

const clock = new MovableClock();
let system: TestSystem;
let api: Api;
let hanna: Person;
let otherHost: Person;
let admin: Person;
let alice: Person;
let ben: Person;

beforeAll(async () => {
  system = await startTestSystem({ clock, environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  otherHost = await api.host("Otto");
  admin = await administrator(api);
  alice = await api.attendee("Alice");
  ben = await api.attendee("Ben");
});
afterAll(() => system.stop());
afterEach(() => clock.moveBack());

type Door = "check-in" | "check-in/undo";
const DOORS: readonly Door[] = ["check-in", "check-in/undo"];
const doorOf = (event: { id: string }, door: Door = "check-in") => `/events/${event.id}/${door}`;
const letsIn = (host: Person, event: Event, code: string) =>
  host.does(200, "POST", doorOf(event), { code });
const triesToLetIn = (host: Person, event: Event, code: string): Promise<Answer> =>
  host.tries("POST", doorOf(event), { code });
const undoes = (host: Person, event: Event, code: string) =>
  host.does(200, "POST", doorOf(event, "check-in/undo"), { code });

/** The booking's only ticket, or one of them. */
function ticketIn({ tickets }: Booking, i = 0) {
  const ticket = tickets[i];
  if (!ticket) throw new Error("There is no such ticket");
  return ticket;
}
const statusesOf = async ({ id }: Booking): Promise<string[]> =>
  (await alice.does(200, "GET", `/bookings/${id}`)).tickets.map(
    ({ status }: { status: string }) => status,
  );
const keyOf = async (event: { id: string }): Promise<string> =>
  (await hanna.does(200, "GET", `/events/${event.id}/gate-key`)).key;

/** An event of Hanna's with a booking of Alice's. */
async function booked(quantity = 1): Promise<{ event: Event; booking: Booking; code: string }> {
  const event = await hanna.createsEvent();
  const booking = await alice.books(event, quantity);
  return { event, booking, code: ticketIn(booking).code };
}

describe("Check-in", () => {
  test("lets a ticket in and says whose it is", async () => {
    const { event, booking } = await booked(3);
    const second = ticketIn(booking, 1);
    clock.moveTo(new Date());
    expect(await letsIn(hanna, event, second.code)).toEqual({
      id: second.id,
      code: second.code,
      status: "checked_in",
      bookingId: booking.id,
      checkedInAt: clock.inMinutes(0),
      attendee: { id: alice.who.id, name: "Alice" },
    });
    expect(await statusesOf(booking)).toEqual(["valid", "checked_in", "valid"]);
  });

  test("once, whoever stands at the door; the second is told when the first was", async () => {
    const { event, booking, code } = await booked();
    clock.moveTo(new Date());
    const { checkedInAt } = await letsIn(hanna, event, code);
    clock.moveTo(clock.inMinutes(5));
    for (const person of [hanna, admin]) {
      const answer = await triesToLetIn(person, event, code);
      expectRefusal(answer, 409, "ALREADY_CHECKED_IN");
      expect(answer.body.detail).toContain(checkedInAt);
    }
    expect(await statusesOf(booking)).toEqual(["checked_in"]);
  });

  test("is taken back by the door, once, and may be done again", async () => {
    const { event, booking, code } = await booked();
    const undo = doorOf(event, "check-in/undo");
    expectRefusal(await hanna.tries("POST", undo, { code }), 409, "NOT_CHECKED_IN");
    await letsIn(hanna, event, code);
    expect(await undoes(hanna, event, code)).toMatchObject({ status: "valid", checkedInAt: null });
    expect(await statusesOf(booking)).toEqual(["valid"]);
    expectRefusal(await hanna.tries("POST", undo, { code }), 409, "NOT_CHECKED_IN");
    expect(await letsIn(admin, event, code)).toMatchObject({ status: "checked_in" });
    expect(await undoes(admin, event, code)).toMatchObject({ status: "valid" });
  });

  test("at the door that the ticket is for: elsewhere it is unknown, also at the same host's", async () => {
    const { booking, code } = await booked();
    const elsewhere = await hanna.createsEvent();
    const theirs = await otherHost.createsEvent();
    for (const door of DOORS) {
      for (const [host, event] of [
        [hanna, elsewhere],
        [otherHost, theirs],
      ] as const) {
        const answer = await host.tries("POST", doorOf(event, door), { code });
        expectRefusal(answer, 404, "TICKET_NOT_FOUND");
      }
    }
    expect(await statusesOf(booking)).toEqual(["valid"]);
  });

  test("is over with the booking, before and after it was done, and with the event", async () => {
    const { event, booking } = await booked(2);
    const [used, unused] = [ticketIn(booking), ticketIn(booking, 1)];
    await letsIn(hanna, event, used.code);
    await alice.cancels(booking);
    for (const door of DOORS) {
      for (const { code } of [used, unused]) {
        const answer = await hanna.tries("POST", doorOf(event, door), { code });
        expectRefusal(answer, 404, "TICKET_NOT_FOUND");
      }
    }
    expect(await statusesOf(booking)).toEqual(["cancelled", "cancelled"]);
    const again = ticketIn(await alice.books(event));
    await hanna.does(200, "POST", `/events/${event.id}/cancel`);
    expectRefusal(await triesToLetIn(hanna, event, again.code), 404, "TICKET_NOT_FOUND");
    await hanna.does(204, "DELETE", `/events/${event.id}`);
    expectRefusal(await triesToLetIn(hanna, event, again.code), 404, "EVENT_NOT_FOUND");
  });

  test("goes on while the event does, and after it", async () => {
    const event = await hanna.createsEvent({
      startDateTime: clock.inMinutes(10),
      endDateTime: clock.inMinutes(20),
    });
    const booking = await alice.books(event, 2);
    clock.moveTo(event.startDateTime);
    await letsIn(hanna, event, ticketIn(booking).code);
    clock.moveTo(event.endDateTime);
    await letsIn(hanna, event, ticketIn(booking, 1).code);
    expect(await statusesOf(booking)).toEqual(["checked_in", "checked_in"]);
  });
});

describe("A forged code", () => {
  const flipped = (code: string, at: number) => {
    const bytes = Buffer.from(code, "base64url");
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes.toString("base64url");
  };
  /** Another spelling of the same bytes: base64url has two bits to spare at the end. */
  const respelt = (code: string) => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return code.slice(0, -1) + alphabet[alphabet.indexOf(code.at(-1) ?? "") + 1];
  };

  test.each<[string, (code: string, other: string) => string]>([
    ["of another id", (code) => flipped(code, 15)],
    ["with another signature", (code) => flipped(code, 16)],
    ["with another end", (code) => flipped(code, 31)],
    [
      "of one ticket's id and another's signature",
      (code, other) =>
        Buffer.concat([
          Buffer.from(code, "base64url").subarray(0, 16),
          Buffer.from(other, "base64url").subarray(16),
        ]).toString("base64url"),
    ],
    [
      "without a signature",
      (code) => Buffer.from(code, "base64url").subarray(0, 16).toString("base64url"),
    ],
    ["spelt otherwise", respelt],
    ["that is padded", (code) => `${code}=`],
    ["in ordinary base64", (code) => Buffer.from(code, "base64url").toString("base64")],
    ["in capitals", (code) => code.toUpperCase()],
    ["with something after it", (code) => `${code}A`],
    ["of nothing but zeros", (code) => "A".repeat(code.length)],
    ["of words", () => "let me in"],
    ["of SQL", () => "' OR 1=1 --"],
    ["of signs beyond ASCII", () => "🎟".repeat(20)],
  ])("%s is unknown, and lets nobody in", async (_what, forge) => {
    const { event, booking } = await booked(2);
    const [one, other] = [ticketIn(booking), ticketIn(booking, 1)];
    const forged = forge(one.code, other.code);
    for (const door of DOORS) {
      const answer = await hanna.tries("POST", doorOf(event, door), { code: forged });
      expectRefusal(answer, 404, "TICKET_NOT_FOUND");
    }
    expect(await statusesOf(booking)).toEqual(["valid", "valid"]);
  });

  test("that is well signed is no ticket as long as there is none with its id", async () => {
    const { event } = await booked();
    const code = codeOf(newId(), Buffer.from(await keyOf(event), "hex"));
    expectRefusal(await triesToLetIn(hanna, event, code), 404, "TICKET_NOT_FOUND");
  });

  test.each<[string, unknown]>([
    ["nothing", {}],
    ["null", { code: null }],
    ["a number", { code: 7 }],
    ["a list", { code: ["x"] }],
    ["an empty text", { code: "" }],
    ["a very long text", { code: "A".repeat(201) }],
  ])("that is none is at fault itself: %s", async (_what, body) => {
    const { event } = await booked();
    for (const door of DOORS) {
      const answer = await hanna.tries("POST", doorOf(event, door), body);
      expectRefusal(answer, 422, "VALIDATION_FAILED", ["code"]);
    }
  });
});

describe("Who stands at the door", () => {
  test("its host and administrators: 401, 403 by role, 422, 404, 403, in this order", async () => {
    const { event, booking, code } = await booked();
    for (const door of DOORS) {
      const path = doorOf(event, door);
      const refused = async (person: Person, at: string, body: unknown, ...as: [number, string]) =>
        expectRefusal(await person.tries("POST", at, body), ...as);
      expectRefusal(await api.request("POST", path, { body: { code } }), 401, "UNAUTHENTICATED");
      await refused(alice, path, { code }, 403, "FORBIDDEN");
      await refused(alice, path, {}, 403, "FORBIDDEN");
      await refused(otherHost, path, {}, 422, "VALIDATION_FAILED");
      await refused(otherHost, path, { code }, 403, "FORBIDDEN");
      await refused(otherHost, path, { code: "forged" }, 403, "FORBIDDEN");
      await refused(hanna, path, { code, quantity: 1 }, 422, "VALIDATION_FAILED");
      for (const id of [newId(), "7"]) {
        await refused(hanna, doorOf({ id }, door), { code }, 404, "EVENT_NOT_FOUND");
      }
      const draft = await hanna.createsEvent({ status: "draft" });
      await refused(otherHost, doorOf(draft, door), { code }, 404, "EVENT_NOT_FOUND");
      await refused(hanna, doorOf(draft, door), { code }, 404, "TICKET_NOT_FOUND");
    }
    expect(await statusesOf(booking)).toEqual(["valid"]);
  });

  test("has the gate's key: the event's host and administrators, and nobody else", async () => {
    const event = await hanna.createsEvent();
    const draft = await hanna.createsEvent({ status: "draft" });
    const path = `/events/${event.id}/gate-key`;
    const answer = await hanna.does(200, "GET", path);
    expect(answer).toEqual({ eventId: event.id, key: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await admin.does(200, "GET", path)).toEqual(answer);
    expect(await hanna.does(200, "GET", path)).toEqual(answer);
    expect((await hanna.tries("GET", path)).headers.get("cache-control")).toBe("no-store");
    expectRefusal(await api.get(path), 401, "UNAUTHENTICATED");
    for (const person of [alice, ben, otherHost]) {
      expectRefusal(await person.tries("GET", path), 403, "FORBIDDEN");
    }
    const drafts = await otherHost.tries("GET", `/events/${draft.id}/gate-key`);
    expectRefusal(drafts, 404, "EVENT_NOT_FOUND");
    for (const id of [newId(), "7"]) {
      expectRefusal(await hanna.tries("GET", `/events/${id}/gate-key`), 404, "EVENT_NOT_FOUND");
    }
  });

  test("nobody else finds the key in anything they can read", async () => {
    const { event, booking } = await booked();
    const key = await keyOf(event);
    const readings: [Person, string][] = [
      [alice, `/bookings/${booking.id}`],
      [alice, `/events/${event.id}`],
      [otherHost, `/events?hostId=${hanna.who.id}&limit=100`],
      [hanna, `/events/${event.id}/bookings`],
    ];
    for (const [person, path] of readings) {
      const text = JSON.stringify(await person.does(200, "GET", path));
      expect(text).not.toContain(key);
      expect(text).not.toContain(Buffer.from(key, "hex").toString("base64"));
    }
  });
});

describe("docs/check-in.md", () => {
  const page = readFileSync(join(__dirname, "../../docs/check-in.md"), "utf8");

  test("its example comes true word for word, and is how this system signs", async () => {
    const steps = walkOf(page);
    const outputs = await takeWalk(steps, system.origin);
    expect(outputs).toEqual(steps.map(({ output }) => output ?? ""));
    const [, key = ""] = /^KEY=(\w+)$/m.exec(page) ?? [];
    const [, code] = /^CODE=([\w-]+)$/m.exec(page) ?? [];
    const [, id = ""] = /whose id is ([\w-]+):/.exec(page) ?? [];
    expect(codeOf(id, Buffer.from(key, "hex"))).toBe(code);
  });

  test("its program, with a real key, knows real codes from others", async () => {
    const [program, ..._example] = walkOf(page);
    const { event, booking } = await booked(2);
    const elsewhere = await booked();
    const codes = [...booking.tickets.map(({ code }) => code), elsewhere.code];
    const key = await keyOf(event);
    const scan = { commands: codes.map((code) => `verify ${key} ${code}\n`).join(""), output: "" };
    const [, read] = await takeWalk(program ? [program, scan] : [], system.origin);
    expect(read?.trim().split("\n")).toEqual([
      ...booking.tickets.map(({ id }) => `ticket ${id.replaceAll("-", "")}`),
      "no ticket of this event",
    ]);
  });

  test("the list that a gate takes along tells void and used tickets from good ones", async () => {
    const { event, booking } = await booked(2);
    const cancelled = await ben.books(event);
    await ben.cancels(cancelled);
    await letsIn(hanna, event, ticketIn(booking).code);
    const { data } = await hanna.does(200, "GET", `/events/${event.id}/bookings?limit=100`);
    const statuses = data.flatMap(({ tickets }: Booking) =>
      tickets.map(({ id, status }) => [id, status]),
    );
    expect(Object.fromEntries(statuses)).toEqual({
      [ticketIn(booking).id]: "checked_in",
      [ticketIn(booking, 1).id]: "valid",
      [ticketIn(cancelled).id]: "cancelled",
    });
  });

  test("its statement gives an event another key: old codes are void, new ones are shown, check-ins stay", async () => {
    const { event, booking } = await booked(2);
    const other = await booked();
    const [used, unused] = [ticketIn(booking), ticketIn(booking, 1)];
    await letsIn(hanna, event, used.code);
    const before = await keyOf(event);
    const [, statement = ""] = /```sql\n([\s\S]+?)```/.exec(page) ?? [];
    await system.database.query(statement.replace("<the event>", event.id));
    expect(await keyOf(event)).not.toBe(before);
    expectRefusal(await triesToLetIn(hanna, event, unused.code), 404, "TICKET_NOT_FOUND");
    const now: Booking = await alice.does(200, "GET", `/bookings/${booking.id}`);
    expect(now.tickets.map(({ id, status }) => [id, status])).toEqual([
      [used.id, "checked_in"],
      [unused.id, "valid"],
    ]);
    await letsIn(hanna, event, ticketIn(now, 1).code);
    expectRefusal(await triesToLetIn(hanna, event, ticketIn(now).code), 409, "ALREADY_CHECKED_IN");
    await letsIn(hanna, other.event, other.code);
  });
});
