import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Bag } from "../../lib/bag";

describe("A bag", () => {
  test("holds what was put into it until it is taken out, in any order", () => {
    const bag = new Bag<string>();
    for (const thing of ["a", "b", "c", "d"]) bag.add(thing);
    bag.delete("b");
    expect([...bag].sort()).toEqual(["a", "c", "d"]);
    expect([bag.has("a"), bag.has("b")]).toEqual([true, false]);
    for (const thing of ["d", "a", "c"]) bag.delete(thing);
    expect([...bag]).toEqual([]);
  });

  test("takes out one of two that are alike, and nothing where there is none", () => {
    const bag = new Bag<string>();
    for (const thing of ["a", "a"]) bag.add(thing);
    bag.delete("z");
    bag.delete("a");
    expect([...bag]).toEqual(["a"]);
  });

  test("may change while somebody goes through it", () => {
    const bag = new Bag<number>();
    for (const thing of [1, 2, 3]) bag.add(thing);
    const seen: number[] = [];
    for (const thing of bag) {
      seen.push(thing);
      bag.delete(thing);
      bag.add(thing + 10);
    }
    expect(seen).toEqual([1, 2, 3]);
    expect([...bag].sort()).toEqual([11, 12, 13]);
  });
});

interface Thing {
  weight: number[];
}

interface Coming {
  add(thing: Thing): void;
  delete(thing: Thing): unknown;
}

/** Things that are there at a time, as requests in flight are. */
const AT_A_TIME = 64;
const A_ROUND = 1_000;
const ROUNDS = 20;

const oldBytes = () =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space")?.space_used_size ??
  0;

/** Bytes that only a collection of everything would free, after many have come and gone. */
function keptAlive(place: Coming): number {
  setFlagsFromString("--expose-gc");
  // The flag shows in contexts made after it.
  const collect = runInNewContext("gc") as (options?: { type: "minor" }) => void;
  collect();
  const before = oldBytes();
  const here: (Thing | undefined)[] = Array(AT_A_TIME).fill(undefined);
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < A_ROUND; i++) {
      const thing = { weight: Array.from({ length: 50 }, () => i) };
      const first = here[i % AT_A_TIME];
      if (first) place.delete(first);
      here[i % AT_A_TIME] = thing;
      place.add(thing);
    }
    collect({ type: "minor" });
  }
  return oldBytes() - before;
}

describe("What came and went", () => {
  test("is gone from a bag, and would not be from a Set", () => {
    const [ofBag, ofSet] = [keptAlive(new Bag()), keptAlive(new Set())];
    expect(ofBag).toBeLessThan(1_000_000);
    expect(ofSet).toBeGreaterThan(5_000_000);
  });
});
