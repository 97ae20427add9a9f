import { Arena, throwJunkAt } from "../support/arena";
import { everyFieldSpoilt, nameOf, routes } from "../support/junk";
import type { Spread } from "../support/system";

const eachRoute = test.each(routes.map((route) => [nameOf(route), route] as const));

/** Of one route, under whatever else the machine does. */
const WITHIN_MS = 300_000;

/** The same as in the short test, for longer, and other junk each time it is run; over TCP every call is JSON on the way, which has traps of its own. */
describe.each<[Spread, number]>([
  ["one process", 300],
  ["a broker each over TCP", 120],
])("Junk in %s", (spread, runs) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(spread);
  });
  afterAll(() => arena.close());

  eachRoute("%s", async (_, route) => {
    await throwJunkAt(arena, route, runs, WITHIN_MS);
  });
});

describe("Every field with every piece of junk", () => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open();
  });
  afterAll(() => arena.close());

  eachRoute("%s", async (_, route) => {
    const faults: string[] = [];
    for (const request of everyFieldSpoilt(route)) {
      await arena.judge(request).catch((error: Error) => faults.push(error.message));
    }
    expect(faults).toEqual([]);
  });
});
