import { openDatabase } from "../../lib/database";
import { newId } from "../../lib/ids";
import { notificationsStore } from "../../services/notifications/notifications.store";
import { administrator, WITH_ADMINISTRATOR } from "../support/administrator";
import { crowd } from "../support/crowd";
import { eventually } from "../support/eventually";
import { outboxEvent } from "../support/outbox-event";
import { Api, type Person } from "../support/people";
import { expectRefusal } from "../support/refusals";
import { startTestSystem, type TestSystem } from "../support/system";
import { whileOpen } from "../support/transaction";

let system: TestSystem;
let api: Api;
let admin: Person;
beforeAll(async () => {
  system = await startTestSystem({ environment: WITH_ADMINISTRATOR });
  api = await Api.at(system.origin);
  admin = await administrator(api);
});
afterAll(() => system.stop());

const follow = (person: Person, host: Person) =>
  person.does(204, "POST", `/users/${host.who.id}/follow`);
const unfollow = (person: Person, host: Person) =>
  person.does(204, "DELETE", `/users/${host.who.id}/follow`);
const followedBy = async (person: Person): Promise<string[]> =>
  (await person.does(200, "GET", "/users/me/following")).data.map(({ id }: { id: string }) => id);
const followersOf = async (host: Person, asked = host): Promise<string[]> =>
  (await asked.does(200, "GET", `/users/${host.who.id}/followers`)).data.map(
    ({ id }: { id: string }) => id,
  );

describe("Following a host", () => {
  test("shows on both sides, newest first, once however often it is asked for", async () => {
    const [hanna, otto, alice, ben] = [
      ...[await api.host("Hanna"), await api.host("Otto")],
      ...[await api.attendee("Alice"), await api.attendee("Ben")],
    ] as const;
    await follow(alice, hanna);
    await Promise.all(Array.from({ length: 10 }, () => follow(alice, hanna)));
    await follow(alice, otto);
    await follow(ben, hanna);
    await follow(otto, hanna);
    expect(await followedBy(alice)).toEqual([otto.who.id, hanna.who.id]);
    expect(await followersOf(hanna)).toEqual([otto.who.id, ben.who.id, alice.who.id]);
    expect(await followersOf(hanna, admin)).toHaveLength(3);
    expect((await hanna.does(200, "GET", "/users/me/followers")).data[2]).toEqual({
      id: alice.who.id,
      name: "Alice",
      username: null,
      role: "attendee",
    });
    const first = await hanna.does(200, "GET", "/users/me/followers?limit=2&order=asc");
    const rest = await hanna.does(
      200,
      "GET",
      `/users/me/followers?limit=2&order=asc&cursor=${first.pagination.nextCursor}`,
    );
    expect([...first.data, ...rest.data].map(({ id }) => id)).toEqual([
      ...[alice.who.id, ben.who.id, otto.who.id],
    ]);
  });

  test("ends when it is taken back, also when there is nothing to take back", async () => {
    const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    await unfollow(alice, hanna);
    await follow(alice, hanna);
    await unfollow(alice, hanna);
    await unfollow(alice, hanna);
    expect(await followedBy(alice)).toEqual([]);
    expect(await followersOf(hanna)).toEqual([]);
  });

  test("is refused for who is no host, for oneself, and without an account", async () => {
    const [hanna, alice, ben] = [
      await api.host("Hanna"),
      await api.attendee("Alice"),
      await api.attendee("Ben"),
    ];
    for (const method of ["POST", "DELETE"]) {
      for (const id of [ben.who.id, alice.who.id, "me", newId(), "nobody"]) {
        expectRefusal(await alice.tries(method, `/users/${id}/follow`), 404, "USER_NOT_FOUND");
      }
      const path = `/users/${hanna.who.id}/follow`;
      expectRefusal(await api.request(method, path), 401, "UNAUTHENTICATED");
      expectRefusal(await alice.tries(method, path, { why: 1 }), 422, "VALIDATION_FAILED", ["why"]);
    }
    for (const id of [hanna.who.id, "me"]) {
      expectRefusal(await hanna.tries("POST", `/users/${id}/follow`), 422, "VALIDATION_FAILED", [
        "id",
      ]);
    }
    const rows = await system.database.query("SELECT FROM follows WHERE host_id = $1", [
      hanna.who.id,
    ]);
    expect(rows).toEqual([]);
  });

  test("is known to that host and to administrators alone", async () => {
    const [hanna, otto, alice] = [
      await api.host("Hanna"),
      await api.host("Otto"),
      await api.attendee("Alice"),
    ];
    const path = `/users/${hanna.who.id}/followers`;
    for (const stranger of [otto, alice]) {
      expectRefusal(await stranger.tries("GET", path), 403, "FORBIDDEN");
    }
    expectRefusal(await api.request("GET", path), 401, "UNAUTHENTICATED");
    for (const id of [alice.who.id, newId(), "nobody"]) {
      expectRefusal(await admin.tries("GET", `/users/${id}/followers`), 404, "USER_NOT_FOUND");
    }
  });

  test("leaves nothing behind of who is erased, on either side", async () => {
    const [hanna, otto, alice] = [
      await api.host("Hanna"),
      await api.host("Otto"),
      await api.attendee("Alice"),
    ];
    await follow(alice, hanna);
    await follow(alice, otto);
    await follow(otto, hanna);
    await hanna.does(204, "DELETE", "/users/me");
    expect(await followedBy(alice)).toEqual([otto.who.id]);
    expect(await followedBy(otto)).toEqual([]);
    expectRefusal(
      await alice.tries("POST", `/users/${hanna.who.id}/follow`),
      404,
      "USER_NOT_FOUND",
    );
    await alice.does(204, "DELETE", "/users/me");
    expect(await followersOf(otto)).toEqual([]);
  });

  test("of a host who is being erased comes to nothing, and nobody waits for it", async () => {
    const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    const path = `/users/${hanna.who.id}/follow`;
    await whileOpen(
      system.database,
      `UPDATE users SET name = 'Deleted user', email = NULL, password_hash = NULL, deleted_at = now()
        WHERE id = (SELECT id FROM users WHERE id = $1 FOR UPDATE)`,
      [hanna.who.id],
      async (erasing) => {
        expectRefusal(await alice.tries("POST", path), 503, "SERVICE_UNAVAILABLE");
        await erasing.commits();
      },
    );
    expectRefusal(await alice.tries("POST", path), 404, "USER_NOT_FOUND");
    const rows = await system.database.query("SELECT FROM follows WHERE host_id = $1", [
      hanna.who.id,
    ]);
    expect(rows).toEqual([]);
  });

  test("a host who is one no more is not shown, and can be left", async () => {
    const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    await follow(alice, hanna);
    await admin.does(200, "PATCH", `/users/${hanna.who.id}`, { role: "attendee" });
    expect(await followedBy(alice)).toEqual([]);
    await unfollow(alice, hanna);
    expectRefusal(
      await alice.tries("DELETE", `/users/${hanna.who.id}/follow`),
      404,
      "USER_NOT_FOUND",
    );
  });
});

describe("Followers", () => {
  test("are told of a new event, once; nobody else is", async () => {
    const [hanna, otto] = [await api.host("Hanna"), await api.host("Otto")];
    const [alice, ben, cleo] = [
      await api.attendee("Alice"),
      await api.attendee("Ben"),
      await api.attendee("Cleo"),
    ];
    await follow(alice, hanna);
    await follow(ben, hanna);
    await follow(cleo, otto);
    await unfollow(ben, hanna);
    const event = await hanna.createsEvent({ title: "Recital", location: "Hall" });
    const [told] = await alice.isTold("event.created");
    expect(told).toMatchObject({
      type: "event.created",
      title: "New: Recital",
      body: expect.stringMatching(/«Recital».+«Hall»/),
      eventId: event.id,
      data: { eventId: event.id, bookingId: null, reason: null },
      isRead: false,
    });
    await hanna.does(200, "PATCH", `/events/${event.id}`, { title: "Another recital" });
    const later = await otto.createsEvent();
    expect(await cleo.isTold("event.created")).toMatchObject([{ eventId: later.id }]);
    expect(await alice.isTold("event.created")).toHaveLength(1);
    expect((await ben.does(200, "GET", "/notifications")).data).toEqual([]);
  });

  test("hear of a draft when it is published", async () => {
    const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    await follow(alice, hanna);
    const draft = await hanna.createsEvent({ title: "Draft", status: "draft" });
    const event = await hanna.createsEvent({ title: "Published" });
    expect(await alice.isTold("event.created")).toMatchObject([{ eventId: event.id }]);
    await hanna.does(200, "POST", `/events/${draft.id}/publish`);
    const told = await alice.isTold("event.created", 2);
    expect(told.map(({ eventId }) => eventId)).toEqual([draft.id, event.id]);
  });

  const FOLLOWERS = 4_321;
  const addFollowers = async (host: Person): Promise<void> => {
    const people = await crowd(system, api, FOLLOWERS);
    await system.database.query(
      `INSERT INTO follows (id, follower_id, host_id, created_at)
       SELECT gen_random_uuid(), id, $1, now() FROM unnest($2::uuid[]) id`,
      [host.who.id, people.map(({ who }) => who.id)],
    );
  };
  const toldOf = (occurrence: "event_id" | "occurrence_id", id: string) =>
    system.database.query(
      `SELECT count(*)::int AS notices, count(DISTINCT user_id)::int AS people, count(DISTINCT id)::int AS ids
         FROM notifications WHERE ${occurrence} = $1`,
      [id],
    );
  const ALL = [{ notices: FOLLOWERS, people: FOLLOWERS, ids: FOLLOWERS }];

  test("are each told, however many they are", async () => {
    const hanna = await api.host("Hanna");
    await addFollowers(hanna);
    const event = await hanna.createsEvent();
    await eventually(async () => expect(await toldOf("event_id", event.id)).toEqual(ALL));
  });

  test("do not keep others waiting: who books meanwhile is told before the last of them", async () => {
    const [hanna, alice] = [await api.host("Hanna"), await api.attendee("Alice")];
    await addFollowers(hanna);
    const quiet = await (await api.host("Otto")).createsEvent();
    // Their followers are told in fifteen chunks.
    const creating = Array.from({ length: 5 }, () => hanna.createsEvent());
    await alice.books(quiet);
    const events = await Promise.all(creating);
    const [told] = await alice.isTold("booking.confirmed");
    for (const { id } of events) {
      await eventually(async () => expect(await toldOf("event_id", id)).toEqual(ALL));
    }
    const later = await system.database.query(
      "SELECT FROM notifications WHERE type = 'event.created' AND created_at > $1 LIMIT 1",
      [told.createdAt],
    );
    expect(later).toHaveLength(1);
  });

  test("are told once of what is heard twice, also where it broke off in between; who was erased is not", async () => {
    const hanna = await api.host("Hanna");
    await addFollowers(hanna);
    const erased =
      "SELECT follower_id FROM follows WHERE host_id = $1 ORDER BY follower_id LIMIT 1";
    await system.database.query(
      `UPDATE users SET deleted_at = now(), email = NULL, password_hash = NULL WHERE id = (${erased})`,
      [hanna.who.id],
    );
    const database = openDatabase(system.database.url, { connections: 1 });
    try {
      const store = notificationsStore(database);
      const occurrenceId = newId();
      const notice = {
        type: "event.created" as const,
        title: "New",
        body: "It is new.",
        data: { eventId: null, bookingId: null, reason: null },
        eventId: null,
      };
      const now = new Date();
      /** Tells a chunk; gives the last one of it where there are more. */
      const chunk = async (after: string | null): Promise<string | null> => {
        let next: string | null = null;
        const to = { audience: "followers", ofId: hanna.who.id, after } as const;
        await database.transaction((transaction) =>
          store.addForAudience(
            (sql, bind) => database.query(sql, bind, transaction),
            ...([to, occurrenceId, notice, now] as const),
            {
              left(last) {
                next = last;
                return outboxEvent({ ...to, after: last });
              },
              heldBack: () => outboxEvent(),
            },
          ),
        );
        return next;
      };
      await chunk(await chunk(null));
      for (const _time of [1, 2]) {
        let chunks = 0;
        let after: string | null = null;
        do {
          after = await chunk(after);
          chunks++;
        } while (after !== null);
        expect(chunks).toBe(3);
      }
      const all = FOLLOWERS - 1;
      expect(await toldOf("occurrence_id", occurrenceId)).toEqual([
        { notices: all, people: all, ids: all },
      ]);
      const [id] = await system.database.query(
        "SELECT id FROM notifications WHERE occurrence_id = $1 LIMIT 1",
        [occurrenceId],
      );
      // Version 7, with the time in its first 48 bits.
      expect(id?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
      expect(Number.parseInt(String(id?.id).replace("-", "").slice(0, 12), 16)).toBe(now.getTime());
    } finally {
      await database.close();
    }
  });
});
