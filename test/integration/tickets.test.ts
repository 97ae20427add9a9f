import { newId } from "../../lib/ids";
import { codeOf, ticketOf } from "../../services/bookings/bookings.tickets";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { confirmHold } from "../support/holds";
import { Api, type Booking, type Person } from "../support/people";
import { readQr } from "../support/qr";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";

let system: TestSystem;
let api: Api;
let hanna: Person;
let otherHost: Person;
let admin: Person;
let alice: Person;
let ben: Person;

beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  hanna = await api.host("Hanna");
  otherHost = await api.host("Otto");
  admin = await administrator(api);
  alice = await api.attendee("Alice");
  ben = await api.attendee("Ben");
});
afterAll(() => system.stop());

/** The booking's only ticket, or one of them. */
function ticketIn({ tickets }: Booking, i = 0) {
  const ticket = tickets[i];
  if (!ticket) throw new Error("There is no such ticket");
  return ticket;
}
const qrPath = (booking: { id: string }, ticket: { id: string }) =>
  `/bookings/${booking.id}/tickets/${ticket.id}/qr.svg`;

describe("Ticket codes", () => {
  const bytesOf = (code: string) => Buffer.from(code, "base64url");

  test("are 32 bytes in letters that go into any QR code, address or text", async () => {
    const event = await hanna.createsEvent();
    const { tickets } = await alice.books(event, 10);
    for (const { code } of tickets) {
      expect(code).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(bytesOf(code)).toHaveLength(32);
    }
    expect(new Set(tickets.map(({ code }) => code)).size).toBe(10);
  });

  test("have nothing in common beyond the ticket's own id: the rest cannot be told from chance", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 10);
    const signatures = booking.tickets.map(({ id, code }) => {
      expect(bytesOf(code).subarray(0, 16).toString("hex")).toBe(id.replaceAll("-", ""));
      return bytesOf(code).subarray(16);
    });
    // Of two independent signatures about half of the 128 bits differ; under 24 would come once in 10^12 pairs.
    for (const [i, one] of signatures.entries()) {
      for (const other of signatures.slice(i + 1)) {
        const differing = one.reduce((sum, byte, at) => {
          const both = (byte ^ (other[at] ?? 0)).toString(2);
          return sum + both.replaceAll("0", "").length;
        }, 0);
        expect(differing).toBeGreaterThan(24);
      }
    }
  });

  test("are the same whoever looks, and wherever", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 2);
    const seen = [
      (await alice.does(200, "GET", `/bookings/${booking.id}`)).tickets,
      (await alice.bookingOf(event))?.tickets,
      (await hanna.does(200, "GET", `/events/${event.id}/bookings`)).data[0].tickets,
    ];
    expect(seen).toEqual([booking.tickets, booking.tickets, booking.tickets]);
  });

  test("are signed by the event's key: each event has its own", async () => {
    const [one, other] = [await hanna.createsEvent(), await hanna.createsEvent()];
    const keyOf = async (event: { id: string }) =>
      (await hanna.does(200, "GET", `/events/${event.id}/gate-key`)).key;
    const [key, otherKey] = [await keyOf(one), await keyOf(other)];
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(otherKey).not.toBe(key);
    const { id, code } = ticketIn(await alice.books(one));
    expect(ticketOf(code, Buffer.from(key, "hex"))).toBe(id);
    expect(ticketOf(code, Buffer.from(otherKey, "hex"))).toBeUndefined();
    expect(codeOf(id, Buffer.from(key, "hex"))).toBe(code);
  });

  test("lie in no table", async () => {
    const event = await hanna.createsEvent();
    const { code } = ticketIn(await alice.books(event));
    const signature = bytesOf(code).subarray(16);
    for (const table of ["tickets", "bookings", "events", "outbox", "notifications"]) {
      const rows = await system.database.query(
        `SELECT 1 FROM ${table} t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'`,
        [code, signature.toString("hex")],
      );
      expect([table, rows]).toEqual([table, []]);
    }
  });

  test("come with the payment where the event costs something", async () => {
    const event = await hanna.createsEvent({ price: 100, currency: "EUR" });
    const hold = await alice.books(event, 2);
    expect(hold.tickets).toEqual([]);
    const { tickets } = await confirmHold(system, hold);
    expect(tickets).toHaveLength(2);
    expect((await alice.bookingOf(event))?.tickets).toEqual(tickets);
  });
});

describe("A ticket's QR code", () => {
  test("is a picture that reads as the ticket's code", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event, 3);
    const second = ticketIn(booking, 1);
    const answer = await alice.tries("GET", qrPath(booking, second));
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toMatch(/^image\/svg\+xml/);
    expect(answer.body).toMatch(/^<svg [^>]*>.*<\/svg>\s*$/s);
    expect(answer.body).not.toMatch(/<script|href|onload/i);
    expect(readQr(answer.body)).toBe(second.code);
  });

  test("is for the owner alone: not even the event's host shows it at another's door", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event);
    const path = qrPath(booking, ticketIn(booking));
    expectRefusal(await api.get(path), 401, "UNAUTHENTICATED");
    for (const person of [ben, hanna, otherHost, admin]) {
      expectRefusal(await person.tries("GET", path), 404, "BOOKING_NOT_FOUND");
    }
  });

  test("is of a ticket of this very booking", async () => {
    const event = await hanna.createsEvent();
    const [booking, bens] = [await alice.books(event), await ben.books(event)];
    const elsewhere = await alice.books(await hanna.createsEvent());
    for (const id of [newId(), "7", "%00", ticketIn(bens).id, ticketIn(elsewhere).id]) {
      expectRefusal(await alice.tries("GET", qrPath(booking, { id })), 404, "TICKET_NOT_FOUND");
    }
    for (const id of [newId(), "7", bens.id]) {
      const path = qrPath({ id }, ticketIn(booking));
      expectRefusal(await alice.tries("GET", path), 404, "BOOKING_NOT_FOUND");
    }
  });

  test("is there after check-in, and gone with the booking", async () => {
    const event = await hanna.createsEvent();
    const booking = await alice.books(event);
    const { code } = ticketIn(booking);
    const path = qrPath(booking, ticketIn(booking));
    await hanna.does(200, "POST", `/events/${event.id}/check-in`, { code });
    expect((await alice.tries("GET", path)).status).toBe(200);
    await alice.cancels(booking);
    expectRefusal(await alice.tries("GET", path), 404, "TICKET_NOT_FOUND");
  });
});
