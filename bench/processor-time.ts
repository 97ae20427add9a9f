/** How the machine's processors are shared by those that a measurement needs; where there is a /proc. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Of nearly every Linux; what counts here are the shares. */
const TICKS_A_SECOND = 100;

/** A process as /proc tells of it: what stands behind its name, which may hold anything; undefined when it is gone. */
function statOf(pid: number | string): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** Processor seconds that processes have used so far. */
function secondsOf(pids: readonly (number | string)[]): number {
  const ticks = pids.map((pid) => {
    const [user, system] = (statOf(pid) ?? []).slice(11, 13);
    return Number(user ?? 0) + Number(system ?? 0);
  });
  return ticks.reduce((sum, of) => sum + of, 0) / TICKS_A_SECOND;
}

/** The processes of the PostgreSQL on a data folder. */
function serverProcesses(dataPath: string): string[] {
  const [postmaster = ""] = readFileSync(join(dataPath, "postmaster.pid"), "utf8").split("\n");
  const children = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && statOf(name)?.[1] === postmaster,
  );
  return [postmaster, ...children];
}

/**
 * Begins to count the processor time of a system, its load and its database.
 *
 * @returns what gives the seconds that each has used since; nothing where the machine does not tell
 */
export function timeOf(
  bench: { load: { pid: number | undefined }; database: { dataPath: string | undefined } },
  system: { pids: readonly number[] },
): () => [what: string, seconds: number][] {
  if (!existsSync("/proc/self/stat")) return () => [];
  const { dataPath } = bench.database;
  const all: [string, (number | string)[]][] = [
    ["nodes", [...system.pids]],
    ["PostgreSQL", dataPath === undefined ? [] : serverProcesses(dataPath)],
    ["load", bench.load.pid === undefined ? [] : [bench.load.pid]],
  ];
  const parts = all.filter(([, pids]) => pids.length > 0);
  const before = parts.map(([, pids]) => secondsOf(pids));
  return () => parts.map(([what, pids], i) => [what, secondsOf(pids) - (before[i] ?? 0)]);
}
