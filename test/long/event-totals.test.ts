import { Api, type Event, type Person } from "../support/people";
import { startTestSystem, type TestSystem } from "../support/system";

/** More events than a list counts. */
let system: TestSystem;
let api: Api;
let host: Person;
beforeAll(async () => {
  system = await startTestSystem();
  api = await Api.at(system.origin);
  host = await api.host("Toto");
});
afterAll(() => system.stop());

const insert = (count: number) =>
  system.database.query(
    `INSERT INTO events (id, host_id, title, start_date_time, end_date_time, time_zone, capacity, price, tags, status, created_at, updated_at)
     SELECT gen_random_uuid(), $1, 'Bulk', now() + interval '1 day', now() + interval '2 days', 'UTC', 1, 0, '{}', 'published', now(), now()
       FROM generate_series(1, $2::int)`,
    [host.who.id, count],
  );

/** A page of the host's events. */
const page = async (path: string, more: string) => {
  const answer = await api.get(`${path}?hostId=${host.who.id}&${more}`);
  expect(answer.status).toBe(200);
  const { data, pagination } = answer.body;
  return { ids: data.map(({ id }: Event): string => id), pagination };
};

test("are exact up to 10,000 and capped there", async () => {
  await insert(10_000);
  const exact = await page("/events", "limit=1");
  expect(exact.pagination).toMatchObject({ total: 10_000, totalCapped: false });
  await insert(1);
  const capped = await page("/events", "limit=1");
  expect(capped.pagination).toMatchObject({ total: 10_000, totalCapped: true });
  await insert(20);
  const deep = await page("/events", "offset=10015&limit=10");
  expect(deep.ids).toHaveLength(6);
  expect(deep.pagination).toMatchObject({ total: 10_000, totalCapped: true, nextCursor: null });
  const searched = await page("/events/search", "q=bulk&limit=1");
  expect(searched.pagination).toMatchObject({ total: 10_000, totalCapped: true });
});

test("a walk by cursor reaches every row, also where all have one start", async () => {
  const seen = new Set<string>();
  let cursor: string | null = null;
  let pages = 0;
  do {
    const { ids, pagination } = await page(
      "/events",
      `limit=100${cursor ? `&cursor=${cursor}` : ""}`,
    );
    for (const id of ids) seen.add(id);
    cursor = pagination.nextCursor;
    pages++;
  } while (cursor);
  expect(seen.size).toBe(10_021);
  expect(pages).toBe(101);
});
