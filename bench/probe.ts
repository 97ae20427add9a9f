/**
 * Loaded into a node before Marquee: tells its memory and where its processor time goes, when it is asked, and
 * lets no node outlive its bench. It does nothing else, and keeps no process alive.
 */
import { Session } from "node:inspector/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type CpuProfile, type TimeByPlace, timeByPlace } from "./profile";

/** What it is asked, and what it answers. */
export interface Probes {
  /** Bytes that the process has in memory after a garbage collection, and of them those of its objects. */
  memory: { rss: number; heapUsed: number };
  /** Begins to look where the time goes. */
  watch: null;
  /** Where it has gone since. */
  time: TimeByPlace;
}

setFlagsFromString("--expose-gc");
// The flag shows in contexts made after it.
const collectGarbage = runInNewContext("gc") as () => void;
const inspector = new Session();

const answers: { [K in keyof Probes]: () => Promise<Probes[K]> } = {
  async memory() {
    // Twice: what has a finalizer goes with the second one.
    collectGarbage();
    collectGarbage();
    const { rss, heapUsed } = process.memoryUsage();
    return { rss, heapUsed };
  },
  async watch() {
    inspector.connect();
    await inspector.post("Profiler.enable");
    await inspector.post("Profiler.start");
    return null;
  },
  async time() {
    const { profile } = await inspector.post("Profiler.stop");
    inspector.disconnect();
    // The inspector declares samples as optional; it leaves them out of nothing that ran.
    return timeByPlace(profile as CpuProfile);
  },
};

process.on("message", async (question: keyof Probes) => process.send?.(await answers[question]()));
process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
process.channel?.unref();
