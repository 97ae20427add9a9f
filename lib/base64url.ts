const ALPHABET = /^[A-Za-z0-9_-]*$/;

/** The bytes of a text in base64url, without padding, where it is the one form of exactly so many; else undefined. */
export function bytesOf(text: string, length: number): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  const isExact = ALPHABET.test(text) && bytes.toString("base64url") === text;
  return isExact && bytes.length === length ? bytes : undefined;
}
