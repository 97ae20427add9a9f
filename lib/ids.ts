import { randomFillSync } from "node:crypto";
import { V7Generator } from "uuidv7";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Random numbers are had by the thousand: asking for a few costs as much. */
const random = new Uint32Array(1024);
let used = random.length;
const generator = new V7Generator({
  nextUint32() {
    if (used === random.length) {
      randomFillSync(random);
      used = 0;
    }
    // The list has no holes.
    return random[used++] as number;
  },
});

/**
 * A new identifier: UUID version 7, so that rows made together lie together in an index. Made in the
 * application and not by the database, because PostgreSQL learned `uuidv7()` only in version 18.
 */
export function newId(): string {
  return generator.generate().toString();
}

/** The least identifier that can be made at a time: whatever is less was made before. */
export function leastIdAt(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** Whether the text has the form of a UUID, of any version. */
export function isId(value: unknown): value is string {
  return typeof value === "string" && UUID.test(value);
}
