/**
 * Everything that can be expected to go wrong with the embedded PostgreSQL. The message is one
 * sentence that an operator can act on; print it without the stack.
 */
export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

/** The way out that every dead end names. */
export const USE_YOUR_OWN = "set DATABASE_URL to use a PostgreSQL of your own";

const BY_CODE: Readonly<Record<string, string>> = {
  ENOSPC: "there is no space left on the disk",
  EDQUOT: "the disk quota is used up",
  EROFS: "the file system is read-only",
  EACCES: "permission is denied",
  EPERM: "the operation is not permitted",
  ENOENT: "a part of the path does not exist",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "a file is in its place",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
};

/**
 * The `code` of a system or PostgreSQL error, else undefined. Not by `instanceof Error`: where code
 * runs in a context of its own (Jest), Node's errors are of another Error than ours.
 */
export function codeOf(error: unknown): string | undefined {
  return textOf(error, "code");
}

export function messageOf(error: unknown): string {
  return textOf(error, "message") ?? String(error);
}

function textOf(error: unknown, property: string): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const value: unknown = Reflect.get(error, property);
  return typeof value === "string" ? value : undefined;
}

/**
 * Makes the operator's sentence of an error of the file system. What is not expected there
 * comes back unchanged: its stack is worth more than a sentence.
 */
export function explained(error: unknown, doing: string): unknown {
  if (error instanceof EmbeddedPostgresError) return error;
  const reason = BY_CODE[codeOf(error) ?? ""];
  if (reason === undefined) return error;
  const path = textOf(error, "path");
  const where = path === undefined ? "" : ` (${path})`;
  return new EmbeddedPostgresError(`Cannot ${doing}: ${reason}${where}`, { cause: error });
}

/** The line of a PostgreSQL program's output that says what failed; its last line when none does. */
export function failureLine(output: string): string {
  const lines = output
    .split("\n")
    // Without initdb's progress, the time and the process that stand before a message.
    .map((line) => line.replace(/^.*?\d{4}-\d\d-\d\d \S+ \S+ \[\d+\] /, "").trim())
    .filter((line) => line !== "");
  // Of several the first is the cause, and what follows its consequences.
  const telling =
    lines.find((line) => /No space left|Disk quota/.test(line)) ??
    lines.find((line) => /\b(PANIC|FATAL|ERROR|error):/.test(line));
  return telling ?? lines.at(-1) ?? "no output";
}
