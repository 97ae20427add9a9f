/**
 * Lists: one shape of question and answer for all of them. A page is reached by offset or by cursor; the
 * cursor is a keyset (sort value, id), so rows that come in meanwhile neither repeat nor hide others.
 */
import { createHash } from "node:crypto";
import {
  described,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  queryInteger,
  type Rule,
  text,
  boolean as trueOrFalse,
  withDefault,
} from "./contract/rules";
import type { Bind, Database } from "./database";
import { ValidationFailed } from "./errors";
import { isId } from "./ids";

/** Beyond this many rows a total costs more than anybody gains by it. */
const TOTAL_CAP = 10_000;
/** So many rows are sorted faster than a page of them is found on a walk along an index over 200,000. */
const FEW = 2_000;
/** An offset makes the database walk all rows before it; deeper pages are for cursors. */
const MAX_OFFSET = 100_000;

const paginationShape = object(
  {
    limit: integer(),
    offset: described(integer(), "Rows before this page; with a cursor those that its pages had."),
    total: integer(),
    totalCapped: described(trueOrFalse(), "True where there are more than total says."),
    nextCursor: described(nullable(text({ maxLength: 2000 })), "Null on the last page."),
  },
  "Pagination",
);

/** A page of `item`s as an answer. */
export const pageOf = <I extends Rule>(item: I) =>
  object({ data: list(item), pagination: paginationShape });

/** The parameters that every list has; `sort` takes one of `fields`. */
export const listParams = <const F extends readonly string[]>(fields: F) => ({
  limit: withDefault(queryInteger({ min: 1, max: 100 }), 20),
  offset: described(
    optional(queryInteger({ min: 0, max: MAX_OFFSET })),
    "Rows to skip; not together with a cursor.",
  ),
  cursor: described(
    optional(text({ minLength: 1, maxLength: 2000, verbatim: true })),
    "nextCursor of the page before; keeps that page's order, and goes with the same filters.",
  ),
  sort: optional(oneOf(fields)),
  order: optional(oneOf(["asc", "desc"])),
});

export type Order = "asc" | "desc";
type SortKind = "instant" | "integer" | "text";

export interface ListRequest {
  limit: number;
  offset?: number;
  cursor?: string;
  sort?: string;
  order?: Order;
}

export interface ListSource {
  /** Columns of a row, as SQL. */
  select: string;
  /** The table of the rows with its alias, as SQL: conditions and sort look at it alone. */
  table: string;
  /**
   * Parts of the table in which to look for rows, where not all of it need be: subqueries with the table's
   * alias, as SQL, that share no row. Each gives a page's rows by an index of its own.
   */
  among?: string[];
  /** What a page's rows are joined with, as SQL; each row must stay exactly one. */
  joins?: string;
  /** Conditions, all of which hold. */
  where: string[];
  /**
   * Values of the `$name`s in the conditions; names of this module's own begin with `list_`. A `Date` is the
   * moment of asking, which no cursor is bound to.
   */
  bind: Bind;
  /** The unique column that breaks ties. */
  id: string;
  /** What `sort` may name: the SQL to sort by, never null, and what it yields. */
  sorts: Record<string, { sql: string; kind: SortKind }>;
  defaultSort: string;
  defaultOrder: Order;
}

export interface Pagination {
  limit: number;
  offset: number;
  total: number;
  totalCapped: boolean;
  nextCursor: string | null;
}

const CURSOR_VERSION = 1;
const INTEGER = /^-?\d{1,18}$/;
/** 9999-12-31 in milliseconds; what lies beyond, or before 1970, did not come from us. */
const LAST_INSTANT = 253_402_300_799_999;

interface Position {
  sort: string;
  order: Order;
  /** The last row's sort value: milliseconds since 1970 for an instant. */
  key: string;
  id: string;
  /** Rows on the pages so far. */
  before: number;
  /** See {@link filtersOf}. */
  filters: string;
}

const cursorFault = (message: string) =>
  new ValidationFailed({ errors: [{ field: "cursor", message }] });

/** The rows that a list is of, in a few characters: under other filters a cursor would lead anywhere. */
function filtersOf({ table, where, bind }: ListSource): string {
  const values = Object.entries(bind).filter(([, value]) => !(value instanceof Date));
  const whole = JSON.stringify([table, where, values]);
  return createHash("sha256").update(whole).digest("base64url").slice(0, 11);
}

const encode = ({ sort, order, key, id, before, filters }: Position): string =>
  Buffer.from(JSON.stringify([CURSOR_VERSION, sort, order, key, id, before, filters])).toString(
    "base64url",
  );

/**
 * Reads a cursor that a client sent back. It is not signed: every part is checked for its form instead, and
 * a forged one reaches no row that its list does not show anyway.
 */
function decode(cursor: string, sorts: ListSource["sorts"]): Position {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    parts = undefined;
  }
  const [version, sort, order, key, id, before, filters] = Array.isArray(parts) ? parts : [];
  const kind =
    typeof sort === "string" && Object.hasOwn(sorts, sort) ? sorts[sort]?.kind : undefined;
  const valid =
    version === CURSOR_VERSION &&
    kind !== undefined &&
    (order === "asc" || order === "desc") &&
    typeof key === "string" &&
    isId(id) &&
    Number.isSafeInteger(before) &&
    before >= 0 &&
    typeof filters === "string" &&
    (kind === "text"
      ? key.isWellFormed() && !key.includes("\u0000")
      : INTEGER.test(key) &&
        (kind === "integer" || (Number(key) >= 0 && Number(key) <= LAST_INSTANT)));
  if (!valid) throw cursorFault("is not a cursor of this list");
  return { sort, order, key, id, before, filters };
}

const AS_KEY: Record<SortKind, (sql: string) => string> = {
  // Columns hold milliseconds, so this is exact.
  instant: (sql) => `(extract(epoch FROM ${sql}) * 1000)::bigint::text`,
  integer: (sql) => `(${sql})::text`,
  text: (sql) => sql,
};
const BOUND_AS: Record<SortKind, { cast: string; value: (key: string) => string }> = {
  instant: { cast: "timestamptz", value: (key) => new Date(Number(key)).toISOString() },
  integer: { cast: "bigint", value: (key) => key },
  text: { cast: "text", value: (key) => key },
};

/**
 * Fetches one page and counts the whole, up to {@link TOTAL_CAP}.
 *
 * @throws ValidationFailed for a cursor that is not of this list, or one together with an offset, other
 *   filters or another order
 */
export async function fetchPage<Row extends object>(
  database: Database,
  source: ListSource,
  request: ListRequest,
): Promise<{ rows: Row[]; pagination: Pagination }> {
  const position = request.cursor === undefined ? undefined : decode(request.cursor, source.sorts);
  const filters = filtersOf(source);
  if (position) {
    if (position.filters !== filters) throw cursorFault("belongs to other filters");
    if (request.offset) throw cursorFault("cannot go together with an offset");
    if (
      (request.sort && request.sort !== position.sort) ||
      (request.order && request.order !== position.order)
    ) {
      throw cursorFault("belongs to another sort or order");
    }
  }
  const sort = position?.sort ?? request.sort ?? source.defaultSort;
  const order =
    position?.order ?? request.order ?? (sort === source.defaultSort ? source.defaultOrder : "asc");
  const field = source.sorts[sort];
  if (!field) throw new Error(`The list has no sort named ${sort}`);

  const where = [...source.where];
  const bind: Bind = { ...source.bind };
  if (position) {
    const { cast, value } = BOUND_AS[field.kind];
    const beyond = order === "asc" ? ">" : "<";
    where.push(`(${field.sql}, ${source.id}) ${beyond} ($list_key::${cast}, $list_id::uuid)`);
    bind.list_key = value(position.key);
    bind.list_id = position.id;
  }
  const conditions = (parts: string[]) => (parts.length ? `WHERE ${parts.join(" AND ")}` : "");
  const skipped = position ? position.before : (request.offset ?? 0);

  const parts = source.among ?? [source.table];
  const inOrder = (key: string, id: string) => `ORDER BY ${key} ${order}, ${id} ${order}`;
  const each = (select: (part: string) => string) => parts.map(select).join(" UNION ALL ");
  const matching = (part: string, filters: string[]) => `FROM ${part} ${conditions(filters)}`;
  const keys = `SELECT ${source.id} AS list_id, ${field.sql} AS list_sort`;
  // Few are found by what they match and then sorted. Of many the next ones are soon met on a walk along the
  // order's index, which for few could pass everything there is; and no part can give a page more rows than the
  // page and all before it have.
  const found = (total: number) =>
    total <= FEW
      ? `WITH few AS MATERIALIZED (${each((part) => `${keys} ${matching(part, where)}`)}) SELECT * FROM few`
      : each(
          (part) =>
            `(${keys} ${matching(part, where)} ${inOrder(field.sql, source.id)}
               LIMIT $list_limit::bigint + $list_offset::bigint)`,
        );

  // One connection for both, one after the other: a list must not take two. The page is found before anything
  // is joined, so that what an offset skips costs no join.
  const { rows, total } = await database.list(async () => {
    const [counted] = await database.query<{ total: number }>(
      `SELECT count(*)::int AS total
         FROM (${each((part) => `SELECT 1 ${matching(part, source.where)}`)} LIMIT ${TOTAL_CAP + 1}) counted`,
      source.bind,
    );
    const total = counted?.total ?? 0;
    const rows = await database.query<Row & { list_key: string; list_id: string }>(
      `SELECT ${source.select}, ${AS_KEY[field.kind]("page.list_sort")} AS list_key, page.list_id
         FROM (SELECT * FROM (${found(total)}) found ${inOrder("list_sort", "list_id")}
                LIMIT $list_limit::bigint OFFSET $list_offset::bigint) page
         JOIN ${source.table} ON ${source.id} = page.list_id ${source.joins ?? ""}
        ${inOrder("page.list_sort", "page.list_id")}`,
      { ...bind, list_limit: request.limit + 1, list_offset: position ? 0 : skipped },
    );
    return { rows, total };
  });

  const page = rows.slice(0, request.limit);
  const last = page.at(-1);
  return {
    rows: page,
    pagination: {
      limit: request.limit,
      offset: skipped,
      total: Math.min(total, TOTAL_CAP),
      totalCapped: total > TOTAL_CAP,
      nextCursor:
        last && rows.length > request.limit
          ? encode({
              sort,
              order,
              key: last.list_key,
              id: last.list_id,
              before: skipped + page.length,
              filters,
            })
          : null,
    },
  };
}
