import { createHash } from "node:crypto";

/**
 * The entity tag of a body. Weak, because compression may change the bytes; where the thing has a version,
 * the tag begins with it, and `If-Match` compares that part alone.
 *
 * @param data what is sent: the thing itself
 * @param body what is sent: its text
 */
export function entityTag(data: unknown, body: string): string {
  const hash = createHash("sha1").update(body).digest("base64url");
  const version =
    typeof data === "object" && data !== null && "version" in data ? Number(data.version) : 0;
  return `W/"${version}-${hash}"`;
}
