import { canonicalTimeZone } from "../../services/events/events.time-zones";
import { withDatabase } from "../support/database";

const isKnown = (name: string) => {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
};

test("Every name that PostgreSQL has from the IANA database is written as there, however it was typed", () =>
  withDatabase(async (database) => {
    const rows: { name: string }[] = await database.query("SELECT name FROM pg_timezone_names");
    const names = rows.map(({ name }) => name).filter(isKnown);
    expect(names.length).toBeGreaterThan(400);
    expect(names).toEqual(expect.arrayContaining(["Asia/Kolkata", "Etc/GMT+5", "US/Eastern"]));
    for (const typed of [
      (name: string) => name.toLowerCase(),
      (name: string) => name.toUpperCase(),
    ])
      expect(names.map((name) => canonicalTimeZone(typed(name)))).toEqual(names);
  }));

test.each(["BST", "ist", "PST", "Europe/Nowhere", "", "Factory", "a/../b"])(
  "%j is the name of none",
  (name) => {
    expect(canonicalTimeZone(name)).toBeUndefined();
  },
);
