import { inBatches } from "../../services/api/batches";

/** Asks that are answered when the test says so. */
function questions() {
  const asked: { ids: readonly string[]; answer(error?: Error): void }[] = [];
  const find = inBatches<string>(
    (ids) =>
      new Promise((resolve, reject) => {
        const found = new Map(ids.filter((id) => id !== "none").map((id) => [id, `${id}!`]));
        asked.push({ ids, answer: (error) => (error ? reject(error) : resolve(found)) });
      }),
  );
  return { asked, find };
}
const aWhile = () => new Promise((resolve) => setTimeout(resolve, 20));

test("What is asked for together is looked up at once, and nothing else until that is answered", async () => {
  const { asked, find } = questions();
  const first = [find("a"), find("b"), find("none"), find("a")];
  await aWhile();
  const later = [find("c"), find("a")];
  await aWhile();
  later.push(find("d"));
  await aWhile();
  expect(asked.map(({ ids }) => ids)).toEqual([["a", "b", "none"]]);
  asked[0]?.answer();
  expect(await Promise.all(first)).toEqual(["a!", "b!", undefined, "a!"]);
  await aWhile();
  expect(asked.slice(1).map(({ ids }) => ids)).toEqual([["c", "a", "d"]]);
  asked[1]?.answer();
  expect(await Promise.all(later)).toEqual(["c!", "a!", "d!"]);
});

test("What cannot be looked up fails for those who asked for it, and for nobody behind them", async () => {
  const { asked, find } = questions();
  const first = find("a");
  await aWhile();
  const second = find("b");
  asked[0]?.answer(new Error("Nobody is there"));
  await expect(first).rejects.toThrow("Nobody is there");
  await aWhile();
  asked[1]?.answer();
  expect(await second).toBe("b!");
});
