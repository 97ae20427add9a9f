import { tryBookingModels } from "../support/booking-commands";
import { World } from "../support/booking-scene";

describe("Whatever is done in whatever order", () => {
  let world: World;
  beforeAll(async () => {
    world = await World.open();
  });
  afterAll(() => world.close());

  test("answers and seats are those of the model", async () => {
    await tryBookingModels(world, { runs: 15, most: 40, withinMs: 100_000 });
  }, 120_000);
});
