import bcrypt from "bcrypt";
import { newId } from "../lib/ids";
import type { Run, Step } from "../lib/steps";

/** Who can sign in to a fresh installation with demo data. */
export const DEMO_PASSWORD = "marquee-demo-1";
export const DEMO_USERS = [
  { email: "hanna@demo.example", username: "hanna_host", name: "Hanna Holm", role: "host" },
  { email: "omar@demo.example", username: "omar_host", name: "Omar Okafor", role: "host" },
  { email: "alice@demo.example", username: "alice", name: "Alice Arden", role: "attendee" },
  { email: "ben@demo.example", username: "ben", name: "Ben Brandt", role: "attendee" },
] as const;
export type DemoLogin = (typeof DEMO_USERS)[number];

/** Those of the demo accounts with which one can still sign in: neither removed nor given another password. */
export async function demoLogins(run: Run): Promise<DemoLogin[]> {
  const rows = await run<{ email: string; hash: string }>(
    "SELECT email, password_hash AS hash FROM users WHERE email = ANY ($emails)",
    { emails: DEMO_USERS.map(({ email }) => email) },
  );
  const same = await Promise.all(rows.map(({ hash }) => bcrypt.compare(DEMO_PASSWORD, hash)));
  return DEMO_USERS.filter((user) =>
    rows.some(({ email }, i) => email === user.email && same[i] === true),
  );
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Of the four demo accounts alone: nobody else's password is made with it. */
const BCRYPT_ROUNDS = 10;

interface DemoEvent {
  host: DemoLogin["email"];
  type: string;
  title: string;
  description: string;
  location: string;
  place: [number, number];
  timeZone: string;
  inDays: number;
  minutes: number;
  capacity: number;
  tags: string[];
  price?: [number, string];
}

const EVENTS: readonly DemoEvent[] = [
  {
    host: "hanna@demo.example",
    type: "Meetup",
    title: "TypeScript Evening",
    description: "Two talks, one about types that tell the truth, and pizza.",
    location: "Kulturhuset, Oslo",
    place: [59.9139, 10.7522],
    timeZone: "Europe/Oslo",
    inDays: 14,
    minutes: 150,
    capacity: 60,
    tags: ["typescript", "meetup"],
  },
  {
    host: "hanna@demo.example",
    type: "Workshop",
    title: "Bread for Beginners",
    description: "From flour to loaf in an afternoon. Aprons are there.",
    location: "Grünerløkka, Oslo",
    place: [59.9226, 10.7585],
    timeZone: "Europe/Oslo",
    inDays: 21,
    minutes: 240,
    capacity: 12,
    tags: ["food", "workshop"],
  },
  {
    host: "hanna@demo.example",
    type: "Guided tour",
    title: "The Old Harbour on Foot",
    description: "Two hours between cranes and fishing boats.",
    location: "Bryggen, Bergen",
    place: [60.3975, 5.3245],
    timeZone: "Europe/Oslo",
    inDays: 9,
    minutes: 120,
    capacity: 25,
    tags: ["outdoors", "history"],
  },
  {
    host: "omar@demo.example",
    type: "Concert",
    title: "Highlife at the Harbour",
    description: "A twelve-piece band, brass first.",
    location: "Freedom Park, Lagos",
    place: [6.4482, 3.3963],
    timeZone: "Africa/Lagos",
    inDays: 30,
    minutes: 180,
    capacity: 400,
    tags: ["music", "open-air"],
    price: [1500, "USD"],
  },
  {
    host: "omar@demo.example",
    type: "Lecture",
    title: "How Queues Work",
    description: "Why the other line is always faster, with proof.",
    location: "City Library, Vienna",
    place: [48.2057, 16.3411],
    timeZone: "Europe/Vienna",
    inDays: 5,
    minutes: 90,
    capacity: 150,
    tags: ["science"],
  },
];

async function addUsers(run: Run): Promise<Map<string, string>> {
  const hash = await bcrypt.hash(DEMO_PASSWORD, BCRYPT_ROUNDS);
  for (const { email, username, name, role } of DEMO_USERS) {
    await run(
      `INSERT INTO users (id, name, username, email, role, password_hash, created_at, updated_at)
       VALUES ($id, $name, $username, $email, $role, $hash, now(), now()) ON CONFLICT DO NOTHING`,
      { id: newId(), email, username, name, role, hash },
    );
  }
  const rows = await run<{ id: string; email: string }>(
    "SELECT id, email FROM users WHERE email = ANY ($emails)",
    { emails: DEMO_USERS.map(({ email }) => email) },
  );
  return new Map(rows.map(({ id, email }) => [email, id]));
}

/** Demo hosts, attendees and events some days ahead of the day on which they are made. */
export const demo: Step = {
  name: "0002-demo",
  async up(run) {
    const ids = await addUsers(run);
    const noon = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS + DAY_MS / 2).getTime();
    for (const event of EVENTS) {
      const start = noon + event.inDays * DAY_MS;
      await run(
        `INSERT INTO events (id, host_id, available_event_id, title, description, location, latitude, longitude,
                start_date_time, end_date_time, time_zone, capacity, price, currency, tags, status, created_at, updated_at)
         SELECT $id::uuid, $hostId::uuid, (SELECT id FROM available_events WHERE name = $type), $title, $description,
                $location, $latitude, $longitude, $start::timestamptz, $end::timestamptz, $timeZone, $capacity, $price, $currency,
                $tags::text[], 'published', now(), now()
          WHERE $hostId::uuid IS NOT NULL`,
        {
          id: newId(),
          hostId: ids.get(event.host) ?? null,
          type: event.type,
          title: event.title,
          description: event.description,
          location: event.location,
          latitude: event.place[0],
          longitude: event.place[1],
          start: new Date(start),
          end: new Date(start + event.minutes * MINUTE_MS),
          timeZone: event.timeZone,
          capacity: event.capacity,
          price: event.price?.[0] ?? 0,
          currency: event.price?.[1] ?? null,
          tags: event.tags,
        },
      );
    }
  },
  async down(run) {
    const emails = DEMO_USERS.map(({ email }) => email);
    const ofDemo = "(SELECT id FROM users WHERE email = ANY ($emails))";
    // Seats that demo attendees took at others' events are given back before their bookings go.
    await run(
      `UPDATE events e SET number_of_attendees = number_of_attendees - b.seats
         FROM (SELECT event_id, sum(quantity)::int AS seats FROM bookings
                WHERE user_id IN ${ofDemo} AND status IN ('pending', 'confirmed') GROUP BY event_id) b
        WHERE e.id = b.event_id`,
      { emails },
    );
    await run(
      `DELETE FROM bookings WHERE user_id IN ${ofDemo}
           OR event_id IN (SELECT id FROM events WHERE host_id IN ${ofDemo})`,
      { emails },
    );
    // Whoever waits for a demo event goes with it.
    await run(`DELETE FROM waitlist WHERE user_id IN ${ofDemo}`, { emails });
    await run(`DELETE FROM events WHERE host_id IN ${ofDemo}`, { emails });
    await run(`DELETE FROM idempotency_keys WHERE user_id IN ${ofDemo}`, { emails });
    await run("DELETE FROM users WHERE email = ANY ($emails)", { emails });
  },
};
