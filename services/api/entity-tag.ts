import { createHash } from "node:crypto";

/**
 * The entity tag of a body. Weak, because compression may change the bytes; where the thing has a version,
 * the tag begins with it, and `If-Match` compares that part alone.
 *
 * @param data what is sent: the thing itself
 * @param body what is sent: its text or bytes
 */
export function entityTag(data: unknown, body: string | Buffer): string {
  const hash = createHash("sha1").update(body).digest("base64url");
  return `W/"${isVersioned(data) ? data.version : 0}-${hash}"`;
}

/** Whether a thing counts its changes. */
export const isVersioned = (data: unknown): data is { version: number } =>
  typeof data === "object" &&
  data !== null &&
  "version" in data &&
  typeof data.version === "number";

const opaque = (tag: string) => tag.trim().replace(/^W\//, "");

/** Whether an `If-None-Match` header says that the client has what this tag stands for. */
export function isKnown(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return (
    ifNoneMatch.trim() === "*" || ifNoneMatch.split(",").some((one) => opaque(one) === opaque(tag))
  );
}
