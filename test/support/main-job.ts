import { Api } from "./people";

/** The main job, over HTTP, against whatever runs there; throws where something is not as it should be. */
export async function doTheMainJob(origin: string): Promise<void> {
  const api = await Api.at(origin);
  const hanna = await api.host("Hanna");
  const event = await hanna.createsEvent({ title: "Chamber music", capacity: 2 });
  const [alice, ben, cleo] = await Promise.all([
    api.attendee("Alice"),
    api.attendee("Ben"),
    api.attendee("Cleo"),
  ]);
  const booking = await alice.books(event);
  await ben.books(event);
  const refused = await cleo.triesToBook(event);
  expect(refused.body).toMatchObject({ status: 409, code: "EVENT_SOLD_OUT" });

  const seen = await hanna.does(200, "GET", `/events/${event.id}/bookings?order=asc`);
  const names = seen.data.map(({ attendee }: { attendee: { name: string } }) => attendee.name);
  expect(names).toEqual(["Alice", "Ben"]);

  await alice.cancels(booking);
  await cleo.books(event);
  await cleo.isTold("booking.confirmed");
  const after = await api.get(`/events/${event.id}`);
  expect(after.body).toMatchObject({ numberOfAttendees: 2, availableTickets: 0 });
}
