/** What a mail says, as text and as HTML. All that comes from people is escaped there; nothing is loaded from elsewhere. */
import type { Message } from "../senders/sender";

/** Control characters, and those that make text run the other way: in a mail they only serve to deceive. */
const CONTROLS = /[\p{Cc}\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/gu;
const LINE_ENDS = /\r\n|[\n\r\u0085\u2028\u2029]/g;

/** Text for a header: one line, whatever it was made of. */
export const oneLine = (text: string): string =>
  text.toWellFormed().replace(LINE_ENDS, " ").replace(CONTROLS, "").replace(/ {2,}/g, " ").trim();

/** Lines of text, without what only deceives. */
const linesOf = (text: string): string[] =>
  text
    .toWellFormed()
    .split(LINE_ENDS)
    .map((line) => line.replace(CONTROLS, ""));

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** HTML that is safe as it is. */
export class Html {
  constructor(readonly source: string) {}
}

type Part = string | Html | readonly Html[];

const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? "");
const sourceOf = (part: Part): string => {
  if (typeof part === "string") return escaped(part);
  return part instanceof Html ? part.source : part.map(({ source }) => source).join("");
};

/** HTML with text put in; the text is escaped, HTML is not. */
export const html = (strings: TemplateStringsArray, ...parts: Part[]): Html =>
  new Html(
    strings.map((piece, i) => piece + (i < parts.length ? sourceOf(parts[i] ?? "") : "")).join(""),
  );

const WHY = "You get this because you have an account with us.";
const greeting = ({ to }: Message): string => `Hello ${oneLine(to.name)},`;
const ticketNumber = (i: number, { length }: { length: number }): string =>
  length === 1 ? "Your ticket" : `Ticket ${i + 1} of ${length}`;

export function textOf(message: Message): string {
  const { notice, tickets = [], link, muteUrl, unsubscribeUrl } = message;
  const shown = tickets.map(({ code }, i) => `${ticketNumber(i, tickets)}: ${code}`);
  const paragraphs = [
    greeting(message),
    linesOf(notice.body).join("\n"),
    ...(shown.length ? [["Shown at the door:", ...shown].join("\n")] : []),
    link,
    [
      "-- ",
      WHY,
      `No more mails like this: ${muteUrl}`,
      `No more mails at all: ${unsubscribeUrl}`,
    ].join("\n"),
  ];
  return `${paragraphs.join("\n\n")}\n`;
}

/** A page or a mail with this in it. */
export const documentOf = (title: string, body: Html): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
</head>
<body style="margin: 0 auto; max-width: 36em; padding: 1em; font-family: sans-serif; line-height: 1.5">
${body}
</body>
</html>
`.source;

export function htmlOf(message: Message): string {
  const { notice, tickets = [], link, muteUrl, unsubscribeUrl } = message;
  const title = oneLine(notice.title);
  const shown = tickets.map(({ code, cid }, i) => {
    const picture = cid
      ? html`<img src="cid:${cid}" alt="QR code of ${code}" width="220" height="220"><br>
`
      : "";
    return html`<p>${ticketNumber(i, tickets)}<br>
${picture}<code>${code}</code></p>
`;
  });
  const body = linesOf(notice.body).map(
    (line) => html`<p>${line}</p>
`,
  );
  return documentOf(
    title,
    html`<p>${greeting(message)}</p>
${body}${
  shown.length
    ? html`<h2>Shown at the door</h2>
${shown}`
    : ""
}<p><a href="${link}">${link}</a></p>
<hr>
<p><small>${WHY} <a href="${muteUrl}">No more mails like this</a> · <a href="${unsubscribeUrl}">No more mails at all</a></small></p>`,
  );
}
