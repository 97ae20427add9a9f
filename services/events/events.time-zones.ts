/** Names of IANA that are three letters; Intl takes others, too, and means by them what nobody would: BST is Dhaka. */
const ABBREVIATIONS = "CET EET EST GMT HST MET MST PRC ROC ROK UCT UTC WET";

/** Words of names that do not simply begin with a capital. */
const WRITTEN = new Map(
  (
    `${ABBREVIATIONS} ACT BajaNorte BajaSur CDT CHAT ComodRivadavia CST DeNoronha EasterIsland EDT GB IN LHI ` +
    "MDT NSW NZ PDT PST SU US"
  )
    .split(" ")
    .map((word) => [word.toLowerCase(), word]),
);

/** Main names by their names in capitals, as far as somebody has asked; there are a few hundred zones in all. */
const mainNames = new Map<string, string>();

/**
 * The name of a time zone as the IANA database writes it, e.g. `Europe/Berlin` for `europe/berlin`; undefined
 * for what is none. One of a zone's other names stays that name: Asia/Kolkata does not become Asia/Calcutta,
 * as with some versions of Intl, whose spelling is therefore taken for main names alone.
 */
export function canonicalTimeZone(name: string): string | undefined {
  const upper = name.toUpperCase();
  if (upper.length === 3 && !ABBREVIATIONS.includes(upper)) return undefined;
  const main = mainNames.get(upper) ?? mainNameOf(name);
  if (main === undefined) return undefined;
  mainNames.set(upper, main);
  if (main.toUpperCase() === upper) return main;
  return name
    .toLowerCase()
    .replace(/[a-z]+/g, (word) => WRITTEN.get(word) ?? `${word[0]?.toUpperCase()}${word.slice(1)}`);
}

function mainNameOf(name: string): string | undefined {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}
