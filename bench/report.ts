import type { Bar, Finding } from "./figures";
import { written } from "./figures";

export interface Results {
  title: string;
  date: Date;
  /** What and how much. */
  machine: readonly (readonly [string, string])[];
  seconds: number;
  rounds: number;
  findings: readonly Finding[];
  /** Scenarios that could not be measured, and why. */
  skipped: readonly string[];
  /** What must never be and was. */
  faults: readonly string[];
  /** The command that repeats it. */
  command: string;
}

const barOf = (bar: Bar | undefined, unit: string): string => {
  if (bar === undefined) return "report";
  return "least" in bar ? `≥ ${written(bar.least)}${unit}` : `≤ ${written(bar.most)}${unit}`;
};

/** A table in Markdown whose columns stand below each other, as the formatter of this repository wants it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((cells) => [...(cells[column] ?? "")].length)),
  );
  const row = (cells: readonly string[]) => {
    const padded = widths.map((width, column) => {
      const cell = cells[column] ?? "";
      return cell + " ".repeat(width - [...cell].length);
    });
    return `| ${padded.join(" | ")} |`;
  };
  return [row(head), row(widths.map((width) => "-".repeat(width))), ...rows.map(row)].join("\n");
}

const measured = ({ value, unit }: Finding) =>
  Number.isNaN(value) ? "nothing" : `${written(value)}${unit && ` ${unit}`}`;

/** The findings as a table in Markdown. */
export const findingsTable = (findings: readonly Finding[]): string =>
  table(
    ["what", "measured", "bar", "verdict"],
    findings.map((found) => [
      found.what,
      measured(found),
      barOf(found.bar, found.unit && ` ${found.unit}`),
      found.verdict,
    ]),
  );

const list = (lines: readonly string[]) => lines.map((line) => `- ${line}`).join("\n");

/** All that was measured, as a page in Markdown. */
export function page(results: Results): string {
  const { title, date, machine, seconds, rounds, findings, skipped, faults, command } = results;
  const parts = [
    `# ${title}`,
    `Measured on ${date.toISOString().slice(0, 10)} with ${seconds} s for each measurement, medians of ${rounds} rounds. ` +
      "What each line means is in [docs/benchmarks.md](../../docs/benchmarks.md).",
    findingsTable(findings),
    faults.length === 0
      ? "After every run the counts in the database agreed, and nobody was answered what nobody may be answered."
      : `**Faults**, for which nothing above counts:\n\n${list(faults)}`,
    ...(skipped.length > 0 ? [`Not measured:\n\n${list(skipped)}`] : []),
    "## The machine",
    table(["what", "value"], machine),
    "The load generator and the database ran on the same machine as the system.",
    "## Round by round",
    list(findings.map(({ what, made }) => `${what}: ${made}`)),
    "## Again",
    `\`\`\`sh\n${command}\n\`\`\``,
  ];
  return `${parts.join("\n\n")}\n`;
}
