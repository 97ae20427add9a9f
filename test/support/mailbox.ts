import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ParsedMail, simpleParser } from "mailparser";
import { eventually } from "./eventually";
import type { Person } from "./people";
import type { TestSystem } from "./system";

/** A mail as a mail reader sees it, and as it lies there. */
export interface Mail extends ParsedMail {
  raw: string;
}

export const parsed = async (raw: Buffer): Promise<Mail> =>
  Object.assign(await simpleParser(raw), { raw: raw.toString("utf8") });

const addressOf = ({ to }: Mail): string | undefined =>
  (Array.isArray(to) ? to[0] : to)?.value[0]?.address;

/** Every mail that a system has written to files for somebody, in the order of their notices. */
export async function mailsOf(
  system: Pick<TestSystem, "dataDir">,
  person: Person,
): Promise<Mail[]> {
  const folder = join(system.dataDir, "mail");
  const files = (await readdir(folder)).filter((name) => name.endsWith(".eml"));
  const mails = await Promise.all(
    files.map(async (name) => {
      // Whom it was for may be erased just now.
      const raw = await readFile(join(folder, name)).catch(() => undefined);
      return raw?.includes(person.who.email) ? [await parsed(raw)] : [];
    }),
  );
  return mails
    .flat()
    .filter((mail) => addressOf(mail) === person.who.email)
    .sort((a, b) => Number(a.date) - Number(b.date));
}

/** Those with this subject, once there are so many. */
export const getsMail = (
  system: Pick<TestSystem, "dataDir">,
  person: Person,
  subject: string,
  count = 1,
): Promise<Mail[]> =>
  eventually(async () => {
    const mails = (await mailsOf(system, person)).filter((mail) => mail.subject === subject);
    if (mails.length < count) throw new Error(`${person.who.name} got no mail «${subject}»`);
    return mails;
  });

/** Waits until nothing is left to be told or sent. */
export const allIsSent = (system: Pick<TestSystem, "database">): Promise<void> =>
  eventually(async () => {
    const [left] = await system.database.query(
      `SELECT (SELECT count(*)::int FROM outbox) AS outbox, (SELECT count(*)::int FROM dispatches) AS dispatches,
              (SELECT count(*)::int FROM deliveries WHERE status = 'pending') AS pending`,
    );
    if (left.outbox + left.dispatches + left.pending > 0) throw new Error(JSON.stringify(left));
  });
