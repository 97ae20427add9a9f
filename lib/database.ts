import pg from "pg";
import { QueryTypes, Sequelize, type Transaction } from "sequelize";
import { ServiceUnavailable } from "./errors";
import { createLanes } from "./lanes";
import { type Bind, PLAN_OUTDATED, type PreparedWork, preparedTransaction } from "./prepared";
import { createWorkQueue } from "./work-queue";

export type { Transaction } from "sequelize";
export type { Bind, Command, PreparedWork, Query } from "./prepared";

/**
 * PostgreSQL's codes for «try again»: the transaction lost against another one, or a migration has changed what a
 * statement gives since it was prepared.
 */
const TRY_AGAIN = new Set(["40001", "40P01", PLAN_OUTDATED]);
const TRANSACTION_ATTEMPTS = 5;
const RETRY_BASE_MS = 10;

/**
 * Codes and classes that mean «not at the moment»: no connection, a server that starts, stops, is full, out
 * of memory or read-only after a failover, a lock that did not come in time.
 */
const UNREACHABLE =
  /^(08...|57P0[1-4]|53[1-4]00|25006|25P03|55P03|ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT)/;
/** 55P03: a lock did not come in time. */
const LOCK_TIMED_OUT = "55P03";
/** Whether it failed because somebody else holds a row for longer than it could wait. */
export const isLockTimeout = (error: unknown): boolean => sqlState(error) === LOCK_TIMED_OUT;

/** Somebody else holds what a transaction was to lock first, see {@link Lock}. */
export class RowHeld extends ServiceUnavailable {
  constructor() {
    super({ retryAfter: 1 });
  }
}
/** 57014: the statement took longer than `statement_timeout`. */
const STATEMENT_TIMED_OUT = "57014";

/** Whoever holds a row longer than this makes the others try again later instead of waiting on. */
const LOCK_TIMEOUT_MS = 3_000;
/**
 * Work that has to wait for an event's row leaves its place to other lanes so often, and comes back a moment later:
 * what somebody holds for long must not take the places of all who want something else.
 */
const TRY_MS = 100;
const BETWEEN_TRIES_MS = 50;
/** Changes that may wait for one such row. */
const MOST_IN_LANE = 500;

/** Waiting transactions or lists of a process, and how long the last of them may have to wait. */
const MOST_WAITING = 500;
const WAIT_MS = 8_000;
/** Less than what a request may take in all (lib/broker.ts): what its caller has given up is not done afterwards. */
export const DONE_WITHIN_MS = 10_000;
/** Of the connections, for each kind of work that may hold one for long. */
const SHARE = 0.2;
/** From so many connections on each kind of work that may hold one for long has some of its own. */
const ENOUGH_FOR_ALL = 6;

const STATEMENT_TIMEOUT_MS = 10_000;
/** A server that has not even said so much later that it gave up is not there any more. */
const SILENCE_MS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_IN_TRANSACTION_MS = 30_000;
const ACQUIRE_TIMEOUT_MS = 10_000;

export interface TransactionOptions {
  /**
   * The event, or whatever else, whose row `work` locks first. Of one lane one transaction is under way at a time, and
   * while somebody else holds that row it keeps nobody but its own lane waiting.
   */
  lane?: string;
  /**
   * When it must have come to its COMMIT, by `performance.now()`; unless told ten seconds from now, and whenever it has
   * where it goes ahead.
   */
  until?: number;
}
export interface AheadOptions {
  /** Does not queue behind other changes; whoever asks for that runs a few at a time at most. */
  ahead?: boolean;
  /** How long {@link Lock} waits, in milliseconds, where that is to be less than usual. */
  lockTimeoutMs?: number;
}

/**
 * Runs the statement by which a transaction locks what others may hold for long: the first that locks anything. In a
 * lane that is waited for in short turns; whatever is locked afterwards, as long as usual. Where it is
 * {@link Database.prepared} that statement must not write: it goes together with the BEGIN.
 *
 * @throws RowHeld when it did not come in time
 */
export type Lock = <T>(take: () => Promise<T>) => Promise<T>;

/** One process's connection pool, shared by all its services. */
export interface Database {
  readonly sequelize: Sequelize;
  /** How long, in milliseconds, anybody waits for a row that somebody else holds, before they are refused. */
  readonly lockTimeoutMs: number;
  /**
   * Runs one statement with named parameters (`$name`) and gives its rows.
   *
   * @throws ServiceUnavailable when the database cannot be reached; Sequelize's errors otherwise
   */
  query<Row extends object>(sql: string, bind?: Bind, transaction?: Transaction): Promise<Row[]>;
  /**
   * Runs `work` in one transaction (READ COMMITTED) and rolls back whole when it throws. A deadlock or
   * serialization failure repeats it, so `work` must have no effect outside the database.
   *
   * @throws ServiceUnavailable when too many wait or it could not be done in time: nothing was done then
   */
  transaction<T>(
    work: (transaction: Transaction, lock: Lock) => Promise<T>,
    options?: TransactionOptions & Pick<AheadOptions, "ahead">,
  ): Promise<T>;
  /**
   * Like {@link transaction}, straight over the driver with prepared statements: for the few transactions on
   * whose speed the system's depends.
   */
  prepared<T>(
    work: (work: PreparedWork, lock: Lock) => Promise<T>,
    options?: TransactionOptions & AheadOptions,
  ): Promise<T>;
  /**
   * Reads long lists, a few at a time, so that they never take all connections.
   *
   * @throws ServiceUnavailable at once when too many wait
   */
  list<T>(work: () => Promise<T>): Promise<T>;
  /** Runs model operations with the same translation of errors as {@link query}. */
  guarded<T>(work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface DriverError {
  code?: unknown;
  constraint?: unknown;
}
interface PostgresError extends DriverError {
  name?: string;
  /** The driver's error, where Sequelize has wrapped it. */
  original?: DriverError;
}

const original = (error: unknown): DriverError | undefined =>
  (error as PostgresError)?.original ?? (error as PostgresError | undefined);

/** Where an error that was translated keeps the code of the one it was made of. */
const STATE = Symbol("state");

/** PostgreSQL's code of an error (SQLSTATE), or the driver's (`ECONNREFUSED`); empty for anything else. */
export const sqlState = (error: unknown): string =>
  String((error as { [STATE]?: string })?.[STATE] ?? original(error)?.code ?? "");

/** Name of the unique or check constraint or foreign key that refused a row, or undefined. */
export function violatedConstraint(error: unknown): string | undefined {
  const constraint = original(error)?.constraint;
  return sqlState(error).startsWith("23") && typeof constraint === "string"
    ? constraint
    : undefined;
}

function translated(error: unknown): unknown {
  if (error instanceof RowHeld) return error;
  const name = String((error as PostgresError)?.name ?? "");
  const unreachable =
    UNREACHABLE.test(sqlState(error)) ||
    sqlState(error) === STATEMENT_TIMED_OUT ||
    /^Sequelize(Host|Connection|AccessDenied|InvalidConnection)/.test(name) ||
    // pg reports a connection that broke or fell silent under a query without any code.
    (error instanceof Error &&
      /Connection terminated|connection is insecure|is not queryable|Query read timeout/i.test(
        error.message,
      ));
  if (!unreachable) return error;
  return Object.assign(new ServiceUnavailable({ retryAfter: 1 }), { [STATE]: sqlState(error) });
}

/** From here on locks are waited for as long as the connection says. */
const LOCKS_AS_USUAL = "SET LOCAL lock_timeout TO DEFAULT";

const asHeld = (error: unknown): unknown => (isLockTimeout(error) ? new RowHeld() : error);
const takeOrHeld: Lock = (take) =>
  take().catch((error: unknown) => {
    throw asHeld(error);
  });

/** A transaction has not come to its COMMIT in time, and was rolled back. */
export class TooLate extends ServiceUnavailable {
  constructor() {
    super({ retryAfter: 1 });
  }
}

/** @throws TooLate when it is later than that */
const checkInTime = (until: number): void => {
  if (performance.now() > until) throw new TooLate();
};

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export interface PoolOptions {
  /** Size of the pool. */
  connections: number;
  /** Longest a statement may take; 0 is no limit. */
  statementTimeoutMs?: number;
  /** Longest a transaction may wait for its next statement; 0 is no limit. */
  idleInTransactionMs?: number;
}

/**
 * Sequelize listens for the errors of a connection only when it stands. An error that comes in the same packet, as
 * from a server that is just stopping, would find no listener and end the process; whoever uses the connection next
 * is told of it anyway.
 */
class HeardClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    this.on("error", () => {});
  }
}

/**
 * Opens the pool; nothing is connected until the first statement.
 *
 * @param url `postgres://…`
 */
export function openDatabase(url: string, options: PoolOptions): Database {
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  // In PostgreSQL's own unit; whatever else it may be there («5s», 0 for ever) is none that can be counted with here.
  const givenMs = Number(new URL(url).searchParams.get("lock_timeout"));
  const lockTimeoutMs = Number.isInteger(givenMs) && givenMs > 0 ? givenMs : LOCK_TIMEOUT_MS;
  const sequelize = new Sequelize(url, {
    dialect: "postgres",
    dialectModule: { ...pg, Client: HeardClient },
    logging: false,
    benchmark: false,
    pool: { max: options.connections, min: 0, idle: 30_000, acquire: ACQUIRE_TIMEOUT_MS },
    dialectOptions: {
      application_name: "marquee",
      statement_timeout: statementTimeoutMs,
      // Without it a connection whose other end is gone without a word would stay in the pool for ever.
      ...(statementTimeoutMs ? { query_timeout: statementTimeoutMs + SILENCE_MS } : {}),
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: options.idleInTransactionMs ?? IDLE_IN_TRANSACTION_MS,
      keepAlive: true,
      ...(statementTimeoutMs ? { lock_timeout: LOCK_TIMEOUT_MS } : {}),
    },
    define: { underscored: true, timestamps: false, freezeTableName: true },
  });

  // Two in ten connections for changes, at the most, two for those that wait for an event's row, and two for long lists,
  // as two at the most are for bookings of held events: whoever waits for a lock or reads much leaves the others to
  // bookings, which go ahead of other changes, and to short statements, on which sign-in, health and everything else
  // depend. Of a small pool all but the bookings share one.
  const queueOfItsOwn = () =>
    createWorkQueue({
      concurrency: Math.max(1, Math.floor(options.connections * SHARE)),
      waiting: MOST_WAITING,
      waitMs: WAIT_MS,
    });
  const changes = queueOfItsOwn();
  const isSmall = options.connections < ENOUGH_FOR_ALL;
  // Of their own: who comes one at a time must not stand behind crowds who do not.
  const inLanes = isSmall ? changes : queueOfItsOwn();
  const lists = isSmall ? changes : queueOfItsOwn();

  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw translated(error);
    }
  };

  /** Repeats what may win the next time; each attempt begins anew. */
  const untilItWins = async <T>(attempt: () => Promise<T>): Promise<T> => {
    for (let left = TRANSACTION_ATTEMPTS; ; left--) {
      try {
        return await guarded(attempt);
      } catch (error) {
        if (left === 1 || !TRY_AGAIN.has(sqlState(error))) throw error;
        await pause(Math.random() * RETRY_BASE_MS * 2 ** (TRANSACTION_ATTEMPTS - left + 1));
      }
    }
  };

  const lanes = createLanes({
    waiting: MOST_IN_LANE,
    cannotBeHad: (error) => error instanceof RowHeld,
  });
  /**
   * Tries again and again for as long as anybody waits for a lock; in between other lanes have the place, and those that
   * come for the first time do not stand behind all that did not get what they wanted.
   */
  const patiently = async <T>(
    attempt: (lockTimeoutMs: number) => Promise<T>,
    until: number,
  ): Promise<T> => {
    // What counts is how long the lock was waited for, not for a place to do so.
    for (let left = lockTimeoutMs, again = false; ; again = true) {
      let startedAt = 0;
      try {
        return await inLanes.run(
          () => {
            startedAt = performance.now();
            return untilItWins(() => attempt(Math.max(1, Math.min(TRY_MS, Math.round(left)))));
          },
          { until, again },
        );
      } catch (error) {
        left -= performance.now() - startedAt + BETWEEN_TRIES_MS;
        if (!(error instanceof RowHeld) || left <= 0) throw error;
        // Whose own time is up says nothing about those behind, who have only begun to wait.
        checkInTime(until);
      }
      await pause(BETWEEN_TRIES_MS * (0.5 + Math.random()));
    }
  };
  /** Runs attempts at a transaction when its turn has come. */
  const inTurn = <T>(
    options: TransactionOptions & Pick<AheadOptions, "ahead">,
    attempt: (until: number, lockTimeoutMs?: number) => Promise<T>,
  ): Promise<T> => {
    if (options.ahead) {
      return untilItWins(() => attempt(options.until ?? Number.POSITIVE_INFINITY));
    }
    // Steps of an update, which have no limit for a statement either, take as long as they take.
    const longestMs = statementTimeoutMs ? DONE_WITHIN_MS : Number.POSITIVE_INFINITY;
    const { lane, until = performance.now() + longestMs } = options;
    return lane === undefined
      ? changes.run(() => untilItWins(() => attempt(until)), { until })
      : lanes.run(lane, () => patiently((ms) => attempt(until, ms), until), until);
  };

  return {
    sequelize,
    lockTimeoutMs,
    guarded,
    query: (sql, bind, transaction) =>
      guarded(() =>
        sequelize.query(sql, {
          type: QueryTypes.SELECT,
          ...(bind ? { bind } : {}),
          ...(transaction ? { transaction } : {}),
        }),
      ),
    transaction: (work, options = {}) =>
      inTurn(options, (until, lockTimeoutMs) =>
        sequelize.transaction(async (transaction) => {
          const say = (sql: string) => sequelize.query(sql, { transaction });
          if (lockTimeoutMs !== undefined) await say(`SET LOCAL lock_timeout = ${lockTimeoutMs}`);
          const result = await work(transaction, async (take) => {
            const taken = await takeOrHeld(take);
            if (lockTimeoutMs !== undefined) await say(LOCKS_AS_USUAL);
            return taken;
          });
          checkInTime(until);
          return result;
        }),
      ),
    prepared: (work, { lockTimeoutMs: given, ...options } = {}) =>
      inTurn(options, (until, lockTimeoutMs = given) =>
        preparedTransaction(
          sequelize,
          async (prepared) => {
            const { query, together } = prepared;
            const lock: Lock = async (take) => {
              if (lockTimeoutMs === undefined) return takeOrHeld(take);
              // Without the lock the second is refused as well, and that is not what is to be known.
              const [locked] = await together(() =>
                Promise.allSettled([take(), query(LOCKS_AS_USUAL, {})]),
              );
              if (locked.status === "fulfilled") return locked.value;
              throw asHeld(locked.reason);
            };
            let isCommitted = false;
            const result = await work(
              {
                ...prepared,
                async commit(commands) {
                  checkInTime(until);
                  await prepared.commit(commands);
                  isCommitted = true;
                },
              },
              lock,
            );
            if (!isCommitted) checkInTime(until);
            return result;
          },
          lockTimeoutMs,
        ),
      ),
    list: (work) => lists.run(work),
    close: () => sequelize.close(),
  };
}
