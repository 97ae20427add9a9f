import { tryBookingModels } from "../support/booking-commands";
import { World } from "../support/booking-scene";

/** The same as in the short test, for longer. */
const RUNS = 500;
const WITHIN_MS = 900_000;

describe("Whatever is done in whatever order, for long", () => {
  let world: World;
  beforeAll(async () => {
    world = await World.open();
  });
  afterAll(() => world.close());

  test.each([
    ["many short sequences", RUNS, 15],
    ["long ones", RUNS / 5, 80],
  ])(
    "%s: answers and seats are those of the model",
    async (_what, runs, most) => {
      await tryBookingModels(world, { runs, most, withinMs: WITHIN_MS });
    },
    WITHIN_MS + 60_000,
  );
});
