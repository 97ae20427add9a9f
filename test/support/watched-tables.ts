/**
 * Tables under watch: triggers note what becomes of each row, so that a look costs what has changed and not what there
 * is. Whether the notes tell all of it is checked against the tables themselves.
 */
import type { Client } from "pg";
import { asJson } from "./junk";

export type Row = Record<string, unknown>;

/** What has become of a row: one that was not there has no `before`, one that is gone no `after`. */
export interface Change {
  table: string;
  key: string;
  before: Row | undefined;
  after: Row | undefined;
  columns: string[];
}

interface Note {
  of_table: string;
  was: Row | null;
  became: Row | null;
}

/** What goes as it is told, a moment later or before anybody looks: here only what comes counts. */
const OUTBOX = "outbox";

const NOTES = `
  CREATE TABLE row_notes
    (n bigint GENERATED ALWAYS AS IDENTITY, of_table text NOT NULL, was jsonb, became jsonb);
  CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO row_notes (of_table, was, became) VALUES (
        TG_TABLE_NAME,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'search' END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'search' END);
      RETURN NULL;
    END $$;
  CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'Rows of % would go without a note', TG_TABLE_NAME; END $$`;

/** What tells a row from the others of its table. */
const keyOf = (row: Row): string =>
  String(
    row.id ??
      row.token_hash ??
      row.name ??
      [
        ...[row.consumer, row.event_id, row.user_id, row.key, row.kind, row.moment],
        ...[row.type, row.channel, row.address],
      ].join(" "),
  );

function changeOf(table: string, key: string, before?: Row, after?: Row): Change {
  const columns = Object.keys(before ?? after ?? {}).filter(
    (column) => asJson(before?.[column]) !== asJson(after?.[column]),
  );
  return { table, key, before, after, columns };
}

export class WatchedTables {
  /** Rows by table and key, as of the last look. */
  private readonly known = new Map<string, Map<string, Row>>();

  private constructor(private readonly sql: Client) {}

  /** Watches every table of the database behind a connection that has no other use meanwhile. */
  static async open(sql: Client): Promise<WatchedTables> {
    const watched = new WatchedTables(sql);
    const { rows } = await sql.query(
      "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    );
    // Triggers keep writers away until the end of the transaction, so no row comes between them and the first look.
    await sql.query("BEGIN");
    await sql.query(NOTES);
    for (const { table_name: table } of rows) {
      const acts = table === OUTBOX ? "INSERT" : "INSERT OR UPDATE OR DELETE";
      await sql.query(
        `CREATE TRIGGER note_row AFTER ${acts} ON ${table} FOR EACH ROW EXECUTE FUNCTION note_row();
         CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON ${table} EXECUTE FUNCTION refuse_truncate()`,
      );
      if (table !== OUTBOX) watched.known.set(table, await watched.read(table));
    }
    await sql.query("COMMIT");
    return watched;
  }

  private async read(table: string): Promise<Map<string, Row>> {
    const { rows } = await this.sql.query(`SELECT to_jsonb(t) - 'search' AS row FROM ${table} t`);
    return new Map(rows.map(({ row }) => [keyOf(row), row]));
  }

  /** What has become of rows since the last look; what was taken back meanwhile is no change. */
  async look(): Promise<Change[]> {
    // Taken and not counted: a transaction that ends later may have made its notes earlier.
    const { rows } = await this.sql.query<Note>(
      "WITH taken AS (DELETE FROM row_notes RETURNING *) SELECT of_table, was, became FROM taken ORDER BY n",
    );
    const changes: Change[] = [];
    const touched = new Map<string, [table: string, key: string, before: Row | undefined]>();
    for (const { of_table: table, was, became } of rows) {
      const known = this.known.get(table);
      if (!known) {
        if (became) changes.push(changeOf(table, keyOf(became), undefined, became));
        continue;
      }
      for (const row of [was, became]) {
        if (!row) continue;
        const [key, name] = [keyOf(row), `${table} ${keyOf(row)}`];
        if (!touched.has(name)) touched.set(name, [table, key, known.get(key)]);
      }
      if (was) known.delete(keyOf(was));
      if (became) known.set(keyOf(became), became);
    }
    for (const [table, key, before] of touched.values()) {
      const change = changeOf(table, key, before, this.known.get(table)?.get(key));
      if (change.columns.length) changes.push(change);
    }
    return changes;
  }

  /** A row as of the last look. */
  row(table: string, id: string | undefined): Row | undefined {
    return id === undefined ? undefined : this.known.get(table)?.get(id);
  }

  rows(table: string): Row[] {
    return [...(this.known.get(table)?.values() ?? [])];
  }

  /**
   * Reads every table whole.
   *
   * @throws Error where a row is not what the notes have made of it
   */
  async check(): Promise<void> {
    const tables = [...this.known.keys()];
    await this.sql.query(`BEGIN; LOCK TABLE ${tables.join()} IN SHARE MODE`);
    try {
      await this.look();
      for (const table of tables) {
        const [known, there] = [this.known.get(table), await this.read(table)];
        for (const key of new Set([...(known?.keys() ?? []), ...there.keys()])) {
          const { columns } = changeOf(table, key, known?.get(key), there.get(key));
          if (columns.length) throw new Error(`Changed without a note: ${table} ${key} ${columns}`);
        }
      }
    } finally {
      await this.sql.query("COMMIT");
    }
  }
}
