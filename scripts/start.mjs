/**
 * `start.mjs [main | repl | tasks] [argument…]`: builds what has changed, then becomes the program itself, in
 * this very process, so that its signals and its exit code are the program's.
 */
import { fileURLToPath } from "node:url";
import { BuildError, buildIfStale } from "./build.mjs";

const PROGRAMS = ["main", "repl", "tasks"];
const OLDEST_NODE = [20, 19];

// From the first moment on: a build that is told to stop ends as orderly as a program that runs.
const signals = [];
const note = (signal) => signals.push(signal);
const NOTED = ["SIGINT", "SIGTERM", "SIGHUP"];
for (const signal of NOTED) process.on(signal, note);

const fail = (sentence) => {
  console.error(sentence);
  process.exit(1);
};
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
  fail(
    `Marquee needs Node.js ${OLDEST_NODE.join(".")} or newer; this is ${process.versions.node}.`,
  );
}
const [program = "main", ...args] = process.argv.slice(2);
if (!PROGRAMS.includes(program)) {
  fail(`There is no program "${program}"; there are ${PROGRAMS.join(", ")}.`);
}

try {
  buildIfStale({ log: (line) => console.error(line) });
} catch (error) {
  fail(error instanceof BuildError ? error.message : error.stack);
}
// Signals that came while the build kept this process busy arrive with the next turns of the event loop.
await new Promise((resolve) => setTimeout(resolve, 10));
if (signals.length > 0) process.exit(program === "tasks" ? 1 : 0);

const entry = new URL(`../dist/${program}.js`, import.meta.url);
process.argv.splice(1, process.argv.length, fileURLToPath(entry), ...args);
await import(entry.href);
// The program has its own handlers by now.
for (const signal of NOTED) process.off(signal, note);
for (const signal of signals) process.emit(signal, signal);
