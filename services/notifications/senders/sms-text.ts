import { cut } from "./cut";

/** The alphabet in which 160 characters are one SMS (GSM 03.38); with any other character there are 70. */
const ALPHABET = new Set(
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà",
);
/** Those that take two places. */
const EXTENSION = new Set("^{}\\[~]|€\f");

/** What most texts would leave the alphabet for, although it has the same in plain. */
const PLAIN: Readonly<Record<string, string>> = {
  "«": '"',
  "»": '"',
  "“": '"',
  "”": '"',
  "„": '"',
  "‘": "'",
  "’": "'",
  "‚": "'",
  "–": "-",
  "—": "-",
  "…": "...",
  "\u00a0": " ",
  "\u202f": " ",
};
const TYPOGRAPHY = new RegExp(`[${Object.keys(PLAIN).join("")}]`, "g");

const placesOf = (text: string): number =>
  [...text].reduce((sum, character) => sum + (EXTENSION.has(character) ? 2 : 1), 0);
const isInAlphabet = (text: string): boolean =>
  [...text].every((character) => ALPHABET.has(character) || EXTENSION.has(character));
const unitsOf = (text: string): number => text.length;

/** A text of several SMS is put together by the phone; the numbers of the parts take room in each. */
const SEGMENTS = 3;
const PLACES_IN_PART = 153;
const UNITS_IN_PART = 67;

/** What an SMS says: title, text and link, in three parts at most, of which the link is whole. */
export function smsText({
  title,
  body,
  link,
}: {
  title: string;
  body: string;
  link: string;
}): string {
  const words = `${title}\n${body}`.replace(TYPOGRAPHY, (character) => PLAIN[character] ?? "");
  const ending = `\n${link}`;
  return isInAlphabet(words + ending)
    ? cut(words, SEGMENTS * PLACES_IN_PART - placesOf(ending), placesOf, "...") + ending
    : cut(words, SEGMENTS * UNITS_IN_PART - unitsOf(ending), unitsOf) + ending;
}
