/**
 * `run.mjs <bench>`: builds the product as `npm start` does, compiles the benches, then becomes the bench itself,
 * in this very process, so that signals and the exit code are its own.
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, buildIfStale } from "../scripts/build.mjs";

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const BENCHES = ["bookings", "events"];
/** Below node_modules, so that the compiled benches find their packages and nobody checks them in. */
const COMPILED = join(PROJECT, "node_modules/.cache/marquee-bench");

const fail = (sentence) => {
  console.error(sentence);
  process.exit(1);
};
const [bench = ""] = process.argv.slice(2);
if (!BENCHES.includes(bench)) {
  fail(`There is no bench "${bench}"; there are ${BENCHES.join(", ")}.`);
}
process.chdir(PROJECT);
try {
  buildIfStale({ log: (line) => console.error(line) });
} catch (error) {
  fail(error instanceof BuildError ? error.message : error.stack);
}
const manifest = createRequire(join(PROJECT, "package.json")).resolve("typescript/package.json");
const compiler = join(dirname(manifest), "bin/tsc");
const { status } = spawnSync(
  process.execPath,
  [compiler, "-p", "bench/tsconfig.json", "--outDir", COMPILED],
  { stdio: ["ignore", 2, 2] },
);
if (status !== 0) fail("The benches do not compile.");

await import(join(COMPILED, "bench", `${bench}.js`));
