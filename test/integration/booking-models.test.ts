import { tryBookingModels } from "../support/booking-commands";
import { World } from "../support/booking-scene";

describe("Whatever is done in whatever order", () => {
  let world: World;
  beforeAll(async () => {
    world = await World.open();
  });
  afterAll(() => world.close());

  test("answers and seats are those of the model", async () => {
    await tryBookingModels(world, { runs: 30, most: 40, withinMs: 25_000 });
  }, 60_000);
});
