/** Figures of rounds and what they say against a bar. No input or output. */

/** A baseline whose rounds are further than this from their median says nothing: the machine was not quiet. */
const UNSTEADY = 0.15;

/** @throws Error for no values: there is no middle of nothing */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new Error("No values, no median");
  return (lower + upper) / 2;
}

/**
 * The value that so many percent of all are not above (nearest rank); NaN for none.
 *
 * @param percent above 0, at most 100
 */
export function percentile(values: Iterable<number>, percent: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? Number.NaN;
}

/** Whether no round is further from the median of all than a quiet machine's would be. */
export function isSteady(rounds: readonly number[]): boolean {
  const middle = median(rounds);
  return rounds.every((round) => Math.abs(round - middle) <= UNSTEADY * middle);
}

/** What is to be reached: at least, or at most, so much. */
export type Bar = { readonly least: number } | { readonly most: number };

export type Verdict = "reached" | "missed" | "no verdict" | "reported";

/**
 * @param bar undefined where a figure is only reported
 * @param baseline rounds of what the value was measured against
 */
export function verdictOf(value: number, bar?: Bar, baseline: readonly number[] = []): Verdict {
  if (bar === undefined) return "reported";
  if (!Number.isFinite(value) || (baseline.length > 0 && !isSteady(baseline))) return "no verdict";
  const reached = "least" in bar ? value >= bar.least : value <= bar.most;
  return reached ? "reached" : "missed";
}

/** One line of the results. */
export interface Finding {
  what: string;
  value: number;
  /** Stands behind the value and the bar; empty for a ratio. */
  unit: "" | "ms";
  bar?: Bar;
  verdict: Verdict;
  /** What it was made of, round by round. */
  made: string;
}

/** A finding with its verdict. */
export function finding({
  baseline,
  ...found
}: Omit<Finding, "verdict"> & { baseline?: readonly number[] }): Finding {
  return { ...found, verdict: verdictOf(found.value, found.bar, baseline) };
}

/** Of a machine whose processors somebody else uses more than this, nothing is known. */
const BUSY = 0.2;

/** What a finding is worth where this share of the processors was somebody else's before it was measured. */
export function onMachineThatIs(busy: number, found: Finding): Finding {
  if (busy <= BUSY || found.bar === undefined) return found;
  const made = `${found.made}; the machine was ${Math.round(busy * 100)} % busy before it began`;
  return { ...found, verdict: "no verdict", made };
}

/** 12345.6 as 12,346; 2.345 as 2.35. */
export const written = (value: number): string =>
  value.toLocaleString("en-GB", { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 });

/** `bookings/s 5,012 · 5,100 · 4,950` */
export const roundsOf = (what: string, rounds: readonly number[]): string =>
  `${what} ${rounds.map(written).join(" · ")}`;
