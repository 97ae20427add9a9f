/** What is tried again later and later, and what is kept of why it could not be done. */

/**
 * Milliseconds until something is tried again that has failed so often: twice as long each time, by half of that more or
 * less, so that what failed together is not tried together.
 */
export const backOffMs = (
  attempts: number,
  { firstMs, longestMs }: { firstMs: number; longestMs: number },
  random = Math.random(),
): number => Math.round(Math.min(firstMs * 2 ** (attempts - 1), longestMs) * (0.5 + random));

/** Characters of an error that are kept. */
const MOST_OF_ERROR = 1_000;

/** The words of an error as PostgreSQL's texts can hold them: whole characters, and no NUL. */
export const storableWords = (words: string): string =>
  words.slice(0, MOST_OF_ERROR).toWellFormed().replaceAll("\u0000", "");
