/** A process of the bench that is asked for one thing at a time. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { unlessStopped } from "../lib/program";

export type Reply<Report> = { report: Report } | { failed: string };

export interface AskedProcess<Order, Report> {
  readonly child: ChildProcess;
  /** @throws Error when the process cannot do it, or dies */
  ask(order: Order): Promise<Report>;
}

/** Brackets a process that runs a compiled file of the bench, and ends with it. */
export async function withProcess<Order extends object, Report, T>(
  file: string,
  stopping: AbortSignal,
  work: (asked: AskedProcess<Order, Report>) => Promise<T>,
): Promise<T> {
  const child = fork(join(__dirname, file), { serialization: "advanced" });
  try {
    return await work({
      child,
      ask: (order) => unlessStopped(stopping, replyTo<Report>(child, order)),
    });
  } finally {
    child.kill("SIGKILL");
  }
}

function replyTo<Report>(child: ChildProcess, order: object): Promise<Report> {
  return new Promise((resolve, reject) => {
    const onExit = () => done(() => reject(new Error("A process of the bench died")));
    // It sends nothing else.
    const onMessage = (reply: unknown) =>
      done(() => {
        const told = reply as Reply<Report>;
        if ("report" in told) resolve(told.report);
        else reject(new Error(told.failed));
      });
    const done = (then: () => void) => {
      child.off("exit", onExit).off("message", onMessage);
      then();
    };
    child.once("exit", onExit).once("message", onMessage);
    child.send(order);
  });
}

/**
 * In such a process: does what it is asked for. Whoever started it ends it, and outlives it.
 *
 * @param work undefined where there is nothing to reply
 */
export function answerOrders<Order, Report>(
  work: (order: Order) => Promise<Report> | undefined,
): void {
  const reply = (what: Reply<Report>) => process.send?.(what);
  process.on("message", (order) => {
    // Whoever started it sends nothing else.
    work(order as Order)?.then(
      (report) => reply({ report }),
      (error: unknown) => reply({ failed: String(error) }),
    );
  });
  for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
  process.on("disconnect", () => process.exit());
}
