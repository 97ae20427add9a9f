/**
 * What Marquee's programs (main, repl, tasks) have in common: how they end, by themselves, by a signal or
 * by an error, and what they say about it.
 */
import { ConfigError } from "./config";
import { EmbeddedPostgresError } from "./embedded-postgres";

/** A failure whose remedy lies with the operator: its message is a sentence, and is shown without a stack. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
}

/** What takes longer than this hangs. On a disk that is busy the database alone may take half of it. */
const STOP_WITHIN_MS = 60_000;

/** SIGHUP is what a terminal sends that closes: the database shall not stay behind there either. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface Program {
  /** Aborted when the process is asked to end. */
  readonly stopping: AbortSignal;
  /** Has something undone at the end; what was done last is undone first. */
  atEnd(undo: () => Promise<void>): void;
  /** Undoes what has been done, then ends the process; of several codes the greatest wins. */
  end(exitCode: 0 | 1): Promise<never>;
  /** Ends with 1 because of something without which the work cannot go on, and says what it is. */
  fail(reason: Error): Promise<never>;
}

export interface ProgramOptions {
  /** Stands before the sentence of a failure, e.g. `Marquee cannot start.` */
  failure: string;
  /** Whether the process lives on when its work is done, until it is asked to end. */
  stays: boolean;
  /** A service that is told to stop has done well; a task that was interrupted has not. */
  exitCodeOfSignal: 0 | 1;
}

const tell = (line: string) => process.stderr.write(`${line}\n`);

function wordsOf(error: unknown): string {
  const expected =
    error instanceof OperatorError ||
    error instanceof ConfigError ||
    error instanceof EmbeddedPostgresError;
  if (expected) return error.message.replace(/[^.]$/, "$&.");
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/**
 * Waits for work that may be cut off at any point, such as a question to a server.
 *
 * @throws the signal's reason as soon as it is aborted; the work's own failure is nobody's then
 */
export function unlessStopped<T>(stopping: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(stopping.reason);
    if (stopping.aborted) giveUp();
    stopping.addEventListener("abort", giveUp, { once: true });
    work.then(resolve, reject).finally(() => stopping.removeEventListener("abort", giveUp));
  });
}

/**
 * Runs a program as this process. SIGINT, SIGTERM and SIGHUP end it in order, also in the middle of its
 * work and however often they come; so does an error that nobody has handled, with exit code 1.
 */
export function runProgram(
  { failure, stays, exitCodeOfSignal }: ProgramOptions,
  work: (program: Program) => Promise<void>,
): void {
  const undone: (() => Promise<void>)[] = [];
  const stopping = new AbortController();
  let exitCode: 0 | 1 = 0;
  let ending: Promise<never> | undefined;

  const finish = async (): Promise<never> => {
    setTimeout(() => {
      tell(
        `Not everything could be stopped within ${STOP_WITHIN_MS / 1000} s; ending all the same.`,
      );
      process.exit(1);
    }, STOP_WITHIN_MS);
    stopping.abort();
    // What is half started can be undone only once it stands.
    await working.catch(() => {});
    for (const undo of undone.reverse()) {
      // A failure of one must not keep the others running.
      await undo().catch((error) => {
        exitCode = 1;
        tell(wordsOf(error));
      });
    }
    return process.exit(exitCode);
  };
  const end = (code: 0 | 1): Promise<never> => {
    if (code > exitCode) exitCode = code;
    ending ??= finish();
    return ending;
  };

  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (ending === undefined) tell("Stopping…");
      void end(exitCodeOfSignal);
    });
  }
  // Rejections that nobody handles come here, too.
  process.on("uncaughtException", (error) => {
    tell(`Marquee stops because of an error that nobody has handled. ${wordsOf(error)}`);
    void end(1);
  });
  // Whoever reads what we print may go away before we do (`npm start | head`): no reason to end, and
  // nobody is left to be told.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});

  const fail = (reason: Error): Promise<never> => {
    // Whoever ends already may well lose what it had.
    if (ending === undefined) tell(`Marquee stops. ${wordsOf(reason)}`);
    return end(1);
  };

  const working = work({
    stopping: stopping.signal,
    atEnd: (undo) => undone.push(undo),
    end,
    fail,
  });
  working.then(
    () => {
      if (!stays) void end(0);
    },
    (error: unknown) => {
      // Asked to end, the work broke off as it should.
      if (stopping.signal.aborted) return;
      tell(`${failure} ${wordsOf(error)}`);
      void end(1);
    },
  );
}
