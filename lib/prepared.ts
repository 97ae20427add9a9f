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

/** A statement and its values, for which nobody needs its rows; its text is a constant, as for {@link Query}. */
export interface Command {
  readonly sql: string;
  readonly bind: Bind;
  /** What is thrown when the database refuses it; the database's own error unless told. */
  readonly explain?: (error: unknown) => unknown;
}

export interface PreparedWork {
  readonly query: Query;
  /**
   * Sends the statements that `send` asks for at once in one go, without waiting for the rows of one before the
   * next; each sees what those before it have done. At the beginning of a transaction its BEGIN goes with them, so
   * there they must not write: if it failed, they would stand on their own. The work hears of that in any case.
   */
  together<T>(send: () => Promise<T>): Promise<T>;
  /**
   * Sends commands and waits for nothing, so that the database has begun with them while the rest is made ready;
   * {@link commit} tells what has become of them. Only once a statement of the transaction has been answered.
   */
  send(commands: readonly Command[]): void;
  /**
   * Sends commands and the COMMIT in one go: when it comes back everything has been committed, with what was sent
   * before, and when it throws nothing, unless the connection broke. Nothing can follow it.
   *
   * @throws what the first command that was refused has to say, or the driver's error as it is
   */
  commit(commands: readonly Command[]): Promise<void>;
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

/** PostgreSQL's code for a plan that must give something else than when it was made: a migration came between. */
export const PLAN_OUTDATED = "0A000";

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

/** What may stand in an array without quotation marks, as long as it is not the word for null. */
const PLAIN = /^(?!null$)[\w.:+-]+$/i;

type Element = string | number | Date | Buffer | null;

function elementOf(value: unknown): string {
  if (value === null) return "NULL";
  if (typeof value === "number") return String(value);
  if (Buffer.isBuffer(value)) return `"\\\\x${value.toString("hex")}"`;
  const text = value instanceof Date ? value.toISOString() : value;
  if (typeof text !== "string") throw new Error(`No value for an array: ${typeof value}`);
  return PLAIN.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/**
 * An array as PostgreSQL reads it. The driver's own form quotes and escapes each element; of a booking's, nearly all
 * are ids.
 *
 * @throws Error for elements of any other type, for which JavaScript's text would be stored without a word
 */
export const arrayLiteral = (values: readonly Element[]): string =>
  `{${values.map(elementOf).join()}}`;

/**
 * The values of a statement's parameters in their order.
 *
 * @throws Error for a parameter without a value, which the driver would take for null
 */
function valuesOf({ parameters, text }: Statement, bind: Bind): unknown[] {
  return parameters.map((name) => {
    const value = bind[name];
    if (value === undefined) throw new Error(`No value for $${name} in: ${text}`);
    if (Array.isArray(value)) return arrayLiteral(value);
    return value instanceof Date ? value.toISOString() : value;
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
 * @param lockTimeoutMs how long a lock is waited for; as long as the connection says unless told
 * @throws the driver's errors as they are
 */
export async function preparedTransaction<T>(
  { connectionManager }: Sequelize,
  work: (work: PreparedWork) => Promise<T>,
  lockTimeoutMs?: number,
): Promise<T> {
  const beginning =
    lockTimeoutMs === undefined ? BEGIN : `${BEGIN}; SET LOCAL lock_timeout = ${lockTimeoutMs}`;
  const connection = await connectionManager.getConnection({ type: "write" });
  // Sequelize knows nothing of its connections; with this dialect each is a client of pg.
  const client = connection as Sender;
  client.pipeline = true;
  const { stream } = client.connection;
  let ending = "COMMIT";
  let ended = false;
  let broken = false;
  let committing = false;
  const run = async (statement: string | QueryConfig) => {
    try {
      return await client.query(statement);
    } catch (error) {
      // What the server did not say itself leaves open whether it still hears us; and a statement that was prepared
      // for what a table no longer is fails on this connection for ever.
      broken ||= !(error instanceof DatabaseError) || error.code === PLAN_OUTDATED;
      throw error;
    }
  };
  /** Until it is asked for: it goes with the first statements. */
  let begun: Promise<unknown> | undefined;
  let hasBegun = false;
  let inOneGo = false;
  const begin = () => {
    begun ??= run(beginning).then(() => {
      hasBegun = true;
    });
    return begun;
  };
  /** Sends what `send` asks for in one write; each statement is taken by the client at once. */
  const atOnce = <T>(send: () => T): T => {
    inOneGo = true;
    stream.cork();
    try {
      return send();
    } finally {
      stream.uncork();
      inOneGo = false;
    }
  };
  const end = async () => {
    const { command } = await run(ending);
    ended = true;
    // PostgreSQL answers COMMIT so when a statement has failed before, whoever has overlooked that.
    if (command !== ending)
      throw new Error("The transaction was rolled back: a statement had failed");
  };
  const prepared = ({ sql, bind }: Command) => {
    if (committing) throw new Error("The transaction is committed already");
    const statement = statementOf(sql);
    const { name, text } = statement;
    return { name, text, values: valuesOf(statement, bind) };
  };
  /** What has become of the commands that were sent, in their order. */
  const sent: { command: Command; settled: Promise<PromiseSettledResult<unknown>> }[] = [];
  const sendAll = (commands: readonly Command[]) => {
    // All of them before the first is sent: one without its values must not leave the others to be committed.
    const ready = commands.map((command) => ({ command, statement: prepared(command) }));
    for (const { command, statement } of ready) {
      const settled = Promise.allSettled([run(statement)]).then(([outcome]) => outcome);
      sent.push({ command, settled });
    }
  };
  try {
    const result = await work({
      send(commands) {
        if (!hasBegun) throw new Error("The transaction has not begun");
        atOnce(() => sendAll(commands));
      },
      async query(sql, bind) {
        const statement = prepared({ sql, bind });
        if (!inOneGo) await begin();
        const [, { rows }] = await Promise.all([begin(), run(statement)]);
        return rows;
      },
      together: atOnce,
      async commit(commands) {
        await begin();
        // Until all of it is ready: what was sent must not be committed without the rest.
        ending = "ROLLBACK";
        const committed = atOnce(() => {
          sendAll(commands);
          ending = "COMMIT";
          committing = true;
          return Promise.allSettled([end()]);
        });
        for (const { command, settled } of sent) {
          const outcome = await settled;
          if (outcome.status === "fulfilled") continue;
          // The connection is in order again once the database has answered that too.
          await committed;
          throw command.explain?.(outcome.reason) ?? outcome.reason;
        }
        const [outcome] = await committed;
        if (outcome.status === "rejected") throw outcome.reason;
      },
      nothingWritten() {
        ending = "ROLLBACK";
      },
    });
    if (!committing) {
      await begin();
      await end();
    }
    return result;
  } finally {
    // A connection on which not even a rollback can be said is not one to use again.
    const rolledBack = () =>
      run("ROLLBACK").then(
        () => true,
        () => false,
      );
    // What was sent may still be on its way when the work has thrown; whether it breaks the connection is to be known.
    await Promise.all(sent.map(({ settled }) => settled));
    const isOver = ended || (!broken && (await rolledBack()));
    if (isOver && !broken) connectionManager.releaseConnection(connection);
    else await connectionManager.destroyConnection(connection);
  }
}
