/** Properties of the one event in an iCalendar file, and of the calendar around it; values as text. */
export interface CalendarFile {
  calendar: Record<string, string>;
  event: Record<string, string>;
}

const CONTENT_LINE = /^([A-Z][A-Z-]*)((?:;[A-Z-]+=(?:"[^"]*"|[^";:,]*))*):(.*)$/u;
const UNESCAPED = /\\([\\;,nN])/g;

const textOf = (value: string): string =>
  value.replace(UNESCAPED, (_, char: string) => (char.toLowerCase() === "n" ? "\n" : char));

/**
 * Reads a file as RFC 5545 (3.1, 3.3.11) lays it down, strictly: lines of 75 octets at most that end in
 * CRLF, no control characters, every text escaped.
 *
 * @throws Error that names the line at fault
 */
export function readCalendar(file: string): CalendarFile {
  if (!file.endsWith("\r\n") && !file.endsWith("END:VCALENDAR")) {
    throw new Error("The file does not end with its calendar");
  }
  const physical = file.split("\r\n");
  for (const line of physical) {
    if (Buffer.byteLength(line) > 75) throw new Error(`Longer than 75 octets: ${line}`);
    // What RFC 5545 calls CONTROL: neither the tab nor those above ASCII are among them.
    if (/[^\P{Cc}\t\u0080-\u009f]/u.test(line)) {
      throw new Error(`Holds control characters: ${JSON.stringify(line)}`);
    }
  }
  const lines = physical
    .join("\r\n")
    .replace(/\r\n[ \t]/g, "")
    .split("\r\n");
  const found: CalendarFile = { calendar: {}, event: {} };
  const open: string[] = [];
  for (const line of lines.filter((content) => content !== "")) {
    const [, name = "", , value = ""] = CONTENT_LINE.exec(line) ?? [];
    if (!name) throw new Error(`No content line: ${line}`);
    if (name === "BEGIN") open.push(value);
    else if (name === "END") {
      if (open.pop() !== value) throw new Error(`Ends what is not open: ${line}`);
    } else {
      const component = open.at(-1) === "VEVENT" ? found.event : found.calendar;
      if (name in component) throw new Error(`Comes twice: ${line}`);
      component[name] = textOf(value);
    }
  }
  if (open.length) throw new Error(`Never ended: ${open.join(", ")}`);
  return found;
}
