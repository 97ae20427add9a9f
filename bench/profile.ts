/** Where the processor time of nodes went. */

/** What Node's inspector gives, as far as it is read here; times in microseconds. */
export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string } }[];
  samples: number[];
  timeDeltas: number[];
}

/** Seconds by place, the greatest first. */
export type TimeByPlace = [place: string, seconds: number][];

const PLACES_NAMED = 12;

/** The part of a program that a function belongs to: a package, a folder of ours, Node itself, or `(idle)`. */
export function placeOf({ functionName, url }: { functionName: string; url: string }): string {
  // What is not written in JavaScript: sockets, JSON, crypto.
  if (url === "") {
    return functionName.startsWith("(") ? functionName : `native ${functionName || "(anonymous)"}`;
  }
  if (url.startsWith("node:")) return "Node.js";
  const named = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  return named ?? /\/dist\/((?:services\/)?[\w-]+)/.exec(url)?.[1] ?? "elsewhere";
}

/** Nobody's time, and that of the inspector through which it is asked for. */
const NOT_COUNTED = new Set(["(idle)", "native dispatch"]);

/** Idle time is none. */
export function timeByPlace({ nodes, samples, timeDeltas }: CpuProfile): TimeByPlace {
  const placeOfNode = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const seconds = new Map<string, number>();
  samples.forEach((node, i) => {
    const place = placeOfNode.get(node) ?? "elsewhere";
    if (NOT_COUNTED.has(place)) return;
    seconds.set(place, (seconds.get(place) ?? 0) + (timeDeltas[i] ?? 0) / 1e6);
  });
  return [...seconds].sort(([, a], [, b]) => b - a);
}

/** Tells where the time of some processes went, in shares of the time in which each was busy. */
export const sharesOf = (processes: readonly TimeByPlace[]): string =>
  processes
    .map((places) => {
      const busy = places.reduce((sum, [, seconds]) => sum + seconds, 0);
      const shares = places
        .slice(0, PLACES_NAMED)
        .map(([place, seconds]) => `${place} ${Math.round((seconds / busy) * 100)} %`);
      return `a node busy for ${busy.toFixed(1)} s: ${shares.join(", ")}`;
    })
    .join("; ");
