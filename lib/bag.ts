/**
 * Things that come and go all the time, in no order: a Set for them would keep them alive long after they went.
 *
 * V8's Set makes itself a new table whenever the old one is full of what came and went, and the old one still
 * refers to its things and to the new one. Once a garbage collection has found a table while it was in use and moved
 * it to old space, every later table, dead or not, hangs on it until old space is collected, with all that was ever
 * in them.
 */
export class Bag<T> implements Iterable<T> {
  private readonly things: T[] = [];

  add(thing: T): void {
    this.things.push(thing);
  }

  has(thing: T): boolean {
    return this.things.includes(thing);
  }

  /** Takes out one such thing, if there is one. Looks through all of them: a bag is for some thousands at the most. */
  delete(thing: T): void {
    const place = this.things.indexOf(thing);
    if (place === -1) return;
    const last = this.things.pop() as T;
    if (place < this.things.length) this.things[place] = last;
  }

  /** What is in it now, whatever comes or goes meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.things].values();
  }
}
