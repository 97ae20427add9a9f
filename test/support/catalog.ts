import type { TestDatabase } from "./database";

/** Everything of the schema that is not an extension's, kind by kind, as PostgreSQL itself spells it. */
export interface Catalog {
  columns: string[];
  constraints: string[];
  indexes: string[];
  tables: string[];
  functions: string[];
  triggers: string[];
  types: string[];
}

const OURS = "NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = o.oid AND deptype = 'e')";
const IN_PUBLIC = "'public'::regnamespace";

const QUERIES: Record<keyof Catalog, string> = {
  tables: `SELECT concat_ws(' ', o.relkind, o.relname, o.reloptions) AS entry
             FROM pg_class o WHERE o.relnamespace = ${IN_PUBLIC} AND o.relkind IN ('r', 'p', 'v', 'm', 'S') AND ${OURS}`,
  columns: `SELECT concat_ws(' ', o.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attnotnull THEN 'NOT NULL' END, a.attgenerated, a.attidentity,
                     pg_get_expr(d.adbin, d.adrelid)) AS entry
              FROM pg_class o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
              LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
             WHERE o.relnamespace = ${IN_PUBLIC} AND o.relkind IN ('r', 'p') AND ${OURS}`,
  constraints: `SELECT concat_ws(' ', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid)) AS entry
                  FROM pg_constraint o WHERE o.connamespace = ${IN_PUBLIC} AND ${OURS}`,
  indexes: `SELECT pg_get_indexdef(o.oid) AS entry FROM pg_class o
             WHERE o.relnamespace = ${IN_PUBLIC} AND o.relkind = 'i' AND ${OURS}`,
  functions: `SELECT pg_get_functiondef(o.oid) AS entry FROM pg_proc o
               WHERE o.pronamespace = ${IN_PUBLIC} AND o.prokind <> 'a' AND ${OURS}`,
  triggers: `SELECT pg_get_triggerdef(o.oid) AS entry FROM pg_trigger o WHERE NOT o.tgisinternal`,
  types: `SELECT concat_ws(' ', o.typname, o.typtype) AS entry FROM pg_type o
           WHERE o.typnamespace = ${IN_PUBLIC} AND o.typtype IN ('d', 'e', 'r') AND ${OURS}`,
};

export async function catalogOf(database: TestDatabase): Promise<Catalog> {
  const entries = await Promise.all(
    Object.entries(QUERIES).map(async ([kind, sql]) => {
      const rows: { entry: string }[] = await database.query(sql);
      return [kind, rows.map(({ entry }) => entry).sort()] as const;
    }),
  );
  // The keys are those of the queries.
  return Object.fromEntries(entries) as unknown as Catalog;
}

export interface Column {
  table: string;
  name: string;
  type: string;
  nullable: boolean;
  default: string | null;
}

/** Every column of every table, by table and name. */
export function columnsOf(database: TestDatabase): Promise<Column[]> {
  return database.query(
    `SELECT o.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
            NOT a.attnotnull AS nullable,
            CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS "default"
       FROM pg_class o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
       LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
      WHERE o.relnamespace = ${IN_PUBLIC} AND o.relkind = 'r' AND ${OURS}
      ORDER BY 1, 2`,
  );
}
