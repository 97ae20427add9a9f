import type { TestDatabase } from "./database";

/** What was committed to an outbox since it was watched, whoever has heard of it meanwhile. */
export interface Announced {
  /** Names of what happened to an event, in order. */
  of(event: { id: string }): Promise<string[]>;
  /** The data of everything of that name, in order. */
  data(name: string): Promise<Record<string, unknown>[]>;
  forget(): Promise<void>;
}

/** Watches an outbox: a trigger of the test's own database keeps what is written, in the same transaction. */
export async function watchOutbox(database: TestDatabase): Promise<Announced> {
  await database.query(`
    CREATE TABLE announced (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, data jsonb NOT NULL)`);
  await database.query(`
    CREATE FUNCTION keep_announced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO announced (name, data) VALUES (NEW.type || 's.' || NEW.action, NEW.data::jsonb);
      RETURN NULL;
    END $$`);
  await database.query(
    "CREATE TRIGGER keep_announced AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION keep_announced()",
  );
  return {
    async of({ id }) {
      const rows = await database.query(
        "SELECT name FROM announced WHERE name LIKE 'events.%' AND data->>'eventId' = $1 ORDER BY n",
        [id],
      );
      return rows.map(({ name }) => String(name));
    },
    async data(name) {
      const rows = await database.query("SELECT data FROM announced WHERE name = $1 ORDER BY n", [
        name,
      ]);
      return rows.map(({ data }) => data as Record<string, unknown>);
    },
    async forget() {
      await database.query("DELETE FROM announced");
    },
  };
}
