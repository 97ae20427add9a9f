/**
 * Transactions straight over PostgreSQL's driver, with statements that are prepared once per connection: the
 * booking path spends less on each than Sequelize takes to write one.
 */
import type { Writable } from "node:stream";
import { type Client, DatabaseError, type QueryConfig } from "pg";
import type { Sequelize } from "sequelize";

export type Bind = Record<string, unknown>;

/** Runs one statement of a transaction; its text is a constant and is prepared once per connection. */
export type Query = <Row extends object>(sql: string, bind: Bind) => Promise<Row[]>;

export interface PreparedWork {
  readonly query: Query;
  /**
   * Sends the statements that `send` asks for at once in one go, without waiting for the rows of one before the
   * next; each sees what those before it have done. At the beginning of a transaction its BEGIN goes with them, so
   * there they must not write: if it failed, they would stand on their own. The work hears of that in any case.
   */
  together<T>(send: () => Promise<T>): Promise<T>;
  /** Says that nothing was written: the transaction ends without a flush to disk. */
  nothingWritten(): void;
}

/** A statement as PostgreSQL's driver takes it: positions for names, and a name to be prepared under. */
interface Statement {
  name: string;
  text: string;
  /** Which parameter stands at each position. */
  parameters: readonly string[];
}

const statements = new Map<string, Statement>();

/** Quoted text and casts (`::type`) are passed over, `$name` becomes a position. */
const PARAMETER = /'(?:[^']|'')*'|\$([a-zA-Z_]\w*)/g;

/**
 * Compiles SQL with named parameters (`$name`) once. The texts must be constants of the code, because each is
 * kept, here and in every connection that runs it, for as long as they live.
 */
function statementOf(sql: string): Statement {
  const known = statements.get(sql);
  if (known) return known;
  const parameters: string[] = [];
  const text = sql.replace(PARAMETER, (whole, name: string | undefined) => {
    if (name === undefined) return whole;
    if (!parameters.includes(name)) parameters.push(name);
    return `$${parameters.indexOf(name) + 1}`;
  });
  const statement = { name: `marquee_${statements.size + 1}`, text, parameters };
  statements.set(sql, statement);
  return statement;
}

/**
 * The values of a statement's parameters in their order.
 *
 * @throws Error for a parameter without a value, which the driver would take for null
 */
function valuesOf({ parameters, text }: Statement, bind: Bind): unknown[] {
  return parameters.map((name) => {
    if (bind[name] === undefined) throw new Error(`No value for $${name} in: ${text}`);
    return bind[name];
  });
}

/**
 * Every statement here finds its rows by an index, whatever it is asked for: a plan that was made while a table was
 * small must not read all of it when it has grown, and need not be made anew for each batch.
 */
const BEGIN =
  "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/** What pg's types keep to themselves: a client that sends without waiting, and the way to the server. */
type Sender = Client & { pipeline: boolean; readonly connection: { readonly stream: Writable } };

/**
 * Runs `work` in one transaction on a connection of the pool; rolls back whole when it throws.
 *
 * @throws the driver's errors as they are
 */
export async function preparedTransaction<T>(
  { connectionManager }: Sequelize,
  work: (work: PreparedWork) => Promise<T>,
): Promise<T> {
  const connection = await connectionManager.getConnection({ type: "write" });
  // Sequelize knows nothing of its connections; with this dialect each is a client of pg.
  const client = connection as Sender;
  client.pipeline = true;
  const { stream } = client.connection;
  let ending = "COMMIT";
  let ended = false;
  let broken = false;
  const run = async (statement: string | QueryConfig) => {
    try {
      return await client.query(statement);
    } catch (error) {
      // What the server did not say itself leaves open whether it still hears us.
      broken ||= !(error instanceof DatabaseError);
      throw error;
    }
  };
  /** Until it is asked for: it goes with the first statements. */
  let begun: Promise<unknown> | undefined;
  let inOneGo = false;
  const begin = () => {
    begun ??= run(BEGIN);
    return begun;
  };
  try {
    const result = await work({
      async query(sql, bind) {
        const statement = statementOf(sql);
        const { name, text } = statement;
        const values = valuesOf(statement, bind);
        if (!inOneGo) await begin();
        const [, { rows }] = await Promise.all([begin(), run({ name, text, values })]);
        return rows;
      },
      together(send) {
        inOneGo = true;
        stream.cork();
        try {
          return send();
        } finally {
          stream.uncork();
          inOneGo = false;
        }
      },
      nothingWritten() {
        ending = "ROLLBACK";
      },
    });
    await begin();
    const { command } = await run(ending);
    ended = true;
    // PostgreSQL answers COMMIT so when a statement has failed before, whoever has overlooked that.
    if (command !== ending)
      throw new Error("The transaction was rolled back: a statement had failed");
    return result;
  } finally {
    // A connection on which not even a rollback can be said is not one to use again.
    const rolledBack = () =>
      run("ROLLBACK").then(
        () => true,
        () => false,
      );
    if (ended || (!broken && (await rolledBack()))) connectionManager.releaseConnection(connection);
    else await connectionManager.destroyConnection(connection);
  }
}
