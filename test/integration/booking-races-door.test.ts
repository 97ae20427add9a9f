import type { Answer, Booking, Event, Person } from "../support/people";
import { type Nodes, startNodes, tally } from "../support/races";
import { aLittleLater, type Rewrite, untilItBites } from "../support/unguarded";

/** Doors at two nodes that scan the same tickets at once, and attendees who give them back meanwhile. */
let nodes: Nodes;
beforeAll(async () => {
  nodes = await startNodes({}, {});
});
afterAll(() => nodes.stop());

type Door = "check-in" | "check-in/undo";
const scans = (host: Person, event: Event, code: string, door: Door = "check-in") =>
  host.tries("POST", `/events/${event.id}/${door}`, { code });

/** Somebody with so many tickets of an event, and its host at both nodes by turns. */
async function doorsOf(tickets: number) {
  const event = await nodes.hanna.createsEvent({ capacity: 20 });
  const alice = await nodes.api.attendee("Alice");
  const booking = await alice.books(event, tickets);
  const hosts = nodes.times(nodes.hanna, 2);
  const codes = booking.tickets.map(({ code }) => code);
  return { event, alice, booking, hosts, codes };
}

/** Every code at so many doors of each node at once. */
const atManyDoors = (
  { event, hosts, codes }: Pick<Awaited<ReturnType<typeof doorsOf>>, "event" | "hosts" | "codes">,
  times: number,
  door?: Door,
): Promise<Answer[]> =>
  Promise.all(
    codes.flatMap((code) =>
      Array.from({ length: times }, () =>
        hosts.map((host) => scans(host, event, code, door)),
      ).flat(),
    ),
  );

const ticketsOf = async ({ id }: Booking): Promise<string[]> => {
  const rows = await nodes.database.query("SELECT status FROM tickets WHERE booking_id = $1", [id]);
  return rows.map(({ status }) => status);
};

/** Each ticket is scanned while its booking is cancelled, which may have begun a little before. */
async function checkInAgainstCancel(start: () => Promise<void> = async () => {}) {
  const doors = await doorsOf(10);
  const { alice, booking } = doors;
  const [answers] = await Promise.all([
    start().then(() => atManyDoors(doors, 1)),
    alice.does(204, "DELETE", `/bookings/${booking.id}`),
  ]);
  return { answers, tickets: await ticketsOf(booking) };
}

describe("A ticket at many doors", () => {
  test("lets one in, and its undo takes that back once, round after round", async () => {
    const doors = await doorsOf(1);
    for (let round = 0; round < 3; round++) {
      expect(tally(await atManyDoors(doors, 10))).toEqual({ 200: 1, "409 ALREADY_CHECKED_IN": 19 });
      expect(tally(await atManyDoors(doors, 5, "check-in/undo"))).toEqual({
        200: 1,
        "409 NOT_CHECKED_IN": 9,
      });
    }
    expect(await ticketsOf(doors.booking)).toEqual(["valid"]);
  });

  test("that is let in and out without end is in as often as out, or once more", async () => {
    const doors = await doorsOf(1);
    const [ins, outs] = await Promise.all([
      atManyDoors(doors, 15),
      atManyDoors(doors, 15, "check-in/undo"),
    ]);
    const [cameIn, wentOut] = [tally(ins)["200"] ?? 0, tally(outs)["200"] ?? 0];
    const isIn = (await ticketsOf(doors.booking))[0] === "checked_in";
    expect(cameIn).toBe(wentOut + (isIn ? 1 : 0));
    expect(cameIn).toBeGreaterThan(0);
  });

  test("lets in before its booking is cancelled or not at all, and is no ticket after that", async () => {
    for (let round = 0; round < 3; round++) {
      const { answers, tickets } = await checkInAgainstCancel();
      const known = ["200", "409 ALREADY_CHECKED_IN", "404 TICKET_NOT_FOUND"];
      expect(known).toEqual(expect.arrayContaining(Object.keys(tally(answers))));
      expect(tickets).toEqual(Array(10).fill("cancelled"));
    }
  });
});

const doorsThatDoNotLook: Rewrite = (sql) => sql.replace(" AND t.status = $from", "");

test("Control: doors that do not look at the ticket's status let everybody in, who has cancelled, too", () =>
  nodes.without(doorsThatDoNotLook, async () => {
    expect(tally(await atManyDoors(await doorsOf(1), 10))).toEqual({ 200: 20 });
    const letIn = await untilItBites(async (round) => {
      const { tickets } = await checkInAgainstCancel(() => aLittleLater(round));
      return tickets.includes("checked_in");
    });
    expect(letIn).toBe(true);
  }));
