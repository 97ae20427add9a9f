import { createLanes } from "../../lib/lanes";

const HELD = new Error("Held");
/** Lanes in which nothing waits for longer than so many milliseconds. */
function lanesOf(waiting = 10, waitMs = 60_000) {
  const lanes = createLanes({ waiting, cannotBeHad: (error) => error === HELD });
  return {
    run: <T>(lane: string, work: () => Promise<T>) =>
      lanes.run(lane, work, performance.now() + waitMs),
  };
}

/** Work that ends when a test likes. */
function piece() {
  let end = { with: (_value: string) => {}, failing: (_error: Error) => {} };
  const ends = new Promise<string>((resolve, reject) => {
    end = { with: resolve, failing: reject };
  });
  const work = jest.fn(() => ends);
  return {
    work,
    ends: (value: string) => end.with(value),
    fails: (error: Error) => end.failing(error),
  };
}
const settle = () => new Promise(setImmediate);

test("Of one lane a piece runs at a time, in order of arrival; another lane waits for none of them", async () => {
  const lanes = lanesOf();
  const [a1, a2, a3, b1] = [piece(), piece(), piece(), piece()];
  const answers = [lanes.run("a", a1.work), lanes.run("a", a2.work), lanes.run("a", a3.work)];
  const other = lanes.run("b", b1.work);
  await settle();
  const begun = () => [a1, a2, a3, b1].map(({ work }) => work.mock.calls.length);
  expect(begun()).toEqual([1, 0, 0, 1]);
  b1.ends("other");
  expect(await other).toBe("other");
  a1.ends("first");
  await settle();
  expect(begun()).toEqual([1, 1, 0, 1]);
  a2.fails(new Error("One's own fault"));
  await expect(answers[1]).rejects.toThrow("One's own fault");
  a3.ends("third");
  expect(await Promise.all([answers[0], answers[2]])).toEqual(["first", "third"]);
});

test("What could not be had for who came first is not waited for again for those behind; who comes later tries", async () => {
  const lanes = lanesOf();
  const [a1, a2, a3] = [piece(), piece(), piece()];
  const [first, second] = [lanes.run("a", a1.work), lanes.run("a", a2.work)];
  a1.fails(HELD);
  await expect(first).rejects.toBe(HELD);
  await expect(second).rejects.toBe(HELD);
  expect(a2.work).not.toHaveBeenCalled();
  a3.ends("later");
  expect(await lanes.run("a", a3.work)).toBe("later");
});

test("Beyond what may wait, one more is refused at once", async () => {
  const lanes = lanesOf(1);
  const [a1, a2] = [piece(), piece()];
  const answers = [lanes.run("a", a1.work), lanes.run("a", a2.work)];
  await expect(lanes.run("a", async () => "one too many")).rejects.toMatchObject({
    type: "SERVICE_UNAVAILABLE",
    data: { retryAfter: 1 },
  });
  a1.ends("1");
  a2.ends("2");
  expect(await Promise.all(answers)).toEqual(["1", "2"]);
});

test("Who has waited for too long in a lane is refused and not done; those behind have their turn", async () => {
  const lanes = lanesOf(10, 20);
  const [a1, a2, a3] = [piece(), piece(), piece()];
  const first = lanes.run("a", a1.work);
  await expect(lanes.run("a", a2.work)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
  const third = lanes.run("a", a3.work);
  a3.ends("3");
  a1.ends("1");
  expect(await Promise.all([first, third])).toEqual(["1", "3"]);
  expect(a2.work).not.toHaveBeenCalled();
});
