/** The machine on which a bench ran, for whoever compares its figures with their own. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { percentile, written } from "./figures";

const MEASURE_MS = 1_000;
const BLOCK = Buffer.alloc(8192, 1);

/** Median milliseconds that it takes to bring 8 kB to the disk of a folder, as a commit does. */
function fsyncMs(folder: string): number {
  const file = join(folder, "fsync-of-bench");
  const descriptor = openSync(file, "w");
  try {
    const times: number[] = [];
    const startedAt = performance.now();
    while (performance.now() - startedAt < MEASURE_MS) {
      const before = performance.now();
      writeSync(descriptor, BLOCK, 0, BLOCK.length, 0);
      fdatasyncSync(descriptor);
      times.push(performance.now() - before);
    }
    return percentile(times, 50);
  } finally {
    closeSync(descriptor);
    rmSync(file);
  }
}

const processorTimes = () => {
  const all = cpus().flatMap(({ times }) => Object.values(times));
  const idle = cpus().map(({ times }) => times.idle);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return { all: sum(all), idle: sum(idle) };
};

const LOOK_MS = 1_000;

/** How much of the machine's processors somebody else uses, from 0 to 1; asked while the bench itself rests. */
export async function busyShare(): Promise<number> {
  const before = processorTimes();
  await sleep(LOOK_MS);
  const after = processorTimes();
  return 1 - (after.idle - before.idle) / (after.all - before.all);
}

/**
 * @param folder on the disk of the database; undefined where that is not known
 * @returns what and how much, for a table
 */
export function describeMachine(
  postgresql: string,
  folder: string | undefined,
): [what: string, value: string][] {
  return [
    ["processors", `${availableParallelism()} (${cpus()[0]?.model ?? "unknown"})`],
    ["memory", `${written(totalmem() / 1024 ** 3)} GB`],
    ["system", `${process.platform} ${release()}`],
    ["Node.js", process.version],
    ["PostgreSQL", `${postgresql}, fsync and synchronous_commit on`],
    [
      "fsync of 8 kB",
      folder === undefined ? "not measured" : `${fsyncMs(folder).toFixed(3)} ms (median)`,
    ],
    ["load before the start", written(loadavg()[0] ?? Number.NaN)],
  ];
}
