import { Api } from "../support/people";
import { SPREADS, type Spread, startTestSystem, type TestSystem } from "../support/system";

/**
 * The main job over real HTTP: a host publishes, attendees book until it is full, one cancels, somebody
 * else gets the seat. The same with all services in one process and with a broker for each.
 */
const theMainJob = (spread: Spread) => () => {
  let system: TestSystem;
  let api: Api;
  beforeAll(async () => {
    system = await startTestSystem({ spread });
    api = await Api.at(system.origin);
  });
  afterAll(() => system.stop());

  test("a host registers, signs in and creates an event", async () => {
    const hanna = await api.host("Hanna");
    const signedIn = await api.request("POST", "/auth/login", {
      body: { email: hanna.who.email.toUpperCase(), password: hanna.who.password },
    });
    expect(signedIn.status).toBe(200);
    expect(signedIn.body.user).toMatchObject({ id: hanna.who.id, role: "host" });
    const event = await hanna.createsEvent({ title: "Open air", capacity: 2, tags: ["music"] });
    expect(event).toMatchObject({
      title: "Open air",
      status: "published",
      hostId: hanna.who.id,
      host: { id: hanna.who.id, name: "Hanna" },
      availableTickets: 2,
      version: 1,
    });
  });

  test("attendees find it and book it until it is full; who cancels makes room", async () => {
    const hanna = await api.host("Hanna");
    const event = await hanna.createsEvent({ title: "Zither recital", capacity: 3 });
    const [alice, ben, cleo] = await Promise.all([
      api.attendee("Alice"),
      api.attendee("Ben"),
      api.attendee("Cleo"),
    ]);

    const found = await api.get("/events/search?q=zither");
    expect(found.body.data.map(({ id }: { id: string }) => id)).toEqual([event.id]);

    const booking = await alice.books(event, 2);
    expect(booking).toMatchObject({ status: "confirmed", quantity: 2, event: { id: event.id } });
    expect(new Set(booking.tickets.map(({ code }) => code)).size).toBe(2);
    await ben.books(event);

    const refused = await cleo.triesToBook(event);
    expect(refused.status).toBe(409);
    expect(refused.body.code).toBe("EVENT_SOLD_OUT");

    const seen = await hanna.does(200, "GET", `/events/${event.id}/bookings?order=asc`);
    expect(seen.data.map((b: { attendee: { name: string } }) => b.attendee.name)).toEqual([
      "Alice",
      "Ben",
    ]);

    await alice.cancels(booking);
    await cleo.books(event, 2);
    const after = await api.get(`/events/${event.id}`);
    expect(after.body).toMatchObject({ numberOfAttendees: 3, availableTickets: 0 });
    const rows = await system.database.query(
      `SELECT e.number_of_attendees AS counted,
              (SELECT sum(quantity)::int FROM bookings WHERE event_id = e.id AND status = 'confirmed') AS sold
         FROM events e WHERE id = $1`,
      [event.id],
    );
    expect(rows).toEqual([{ counted: 3, sold: 3 }]);
  });

  test("everybody concerned is told", async () => {
    const hanna = await api.host("Hanna");
    const alice = await api.attendee("Alice");
    const event = await hanna.createsEvent({ title: "Rehearsal" });
    await alice.books(event);
    const [confirmed] = await alice.isTold("booking.confirmed");
    expect(confirmed).toMatchObject({ eventId: event.id, isRead: false });

    await hanna.does(200, "PATCH", `/events/${event.id}`, { location: "Elsewhere" });
    await alice.isTold("event.updated");
    await hanna.does(200, "POST", `/events/${event.id}/cancel`, { reason: "Rain" });
    const [cancelled] = await alice.isTold("event.cancelled");
    expect(cancelled.body).toContain("Rain");
    expect(await alice.does(200, "GET", "/notifications/count")).toEqual({ count: 3 });
    await alice.does(200, "POST", `/notifications/mark-read/${cancelled.id}`);
    expect(await alice.does(200, "POST", "/notifications/mark-all-read")).toEqual({ updated: 2 });
  });

  test("a session that ended is refused by the node that answered at once", async () => {
    const alice = await api.attendee("Alice");
    await alice.does(204, "POST", "/auth/logout");
    expect((await alice.tries("GET", "/auth/me")).status).toBe(401);
  });

  test("errors keep their code and fields on the way between nodes", async () => {
    const hanna = await api.host("Hanna");
    const refused = await hanna.tries("POST", "/events", { title: "", capacity: 0 });
    expect(refused.status).toBe(422);
    expect(refused.body.code).toBe("VALIDATION_FAILED");
    expect(refused.body.errors.map(({ field }: { field: string }) => field).sort()).toEqual([
      "capacity",
      "endDateTime",
      "startDateTime",
      "title",
    ]);
  });
};

describe.each(SPREADS)("The main job in %s", (spread) => theMainJob(spread)());
