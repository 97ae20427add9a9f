import { setImmediate as turn } from "node:timers/promises";

/**
 * Looks things up together with all that others ask for until then, a batch after the other: however much is asked
 * for at once, one question is under way.
 *
 * @param lookUp finds what there is of these; of what it does not find it says nothing
 */
export function inBatches<T>(
  lookUp: (ids: readonly string[]) => Promise<ReadonlyMap<string, T>>,
): (id: string) => Promise<T | undefined> {
  let asked = new Set<string>();
  let underWay: Promise<unknown> = Promise.resolve();
  let next: Promise<ReadonlyMap<string, T>> | undefined;

  const ask = async (before: Promise<unknown>) => {
    // What went wrong with those before has been said to those who asked for them.
    await Promise.allSettled([before, turn()]);
    const ids = [...asked];
    asked = new Set();
    next = undefined;
    return lookUp(ids);
  };
  return async (id) => {
    asked.add(id);
    if (!next) {
      next = ask(underWay);
      underWay = next;
    }
    return (await next).get(id);
  };
}
