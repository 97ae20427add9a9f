/**
 * Builds `dist/` when the sources have changed since it was built. `--force` builds in any case.
 *
 * `npm start` calls this each time, so a fresh dist costs a few milliseconds, an interrupted build
 * leaves the old dist in place, and builds that run at the same time do not get in each other's way.
 */
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const STAMP = ".build-stamp";
const CONFIGS = ["tsconfig.json", "tsconfig.build.json"];

/** What the services read at run time, and the compiler does not carry over. */
const ASSETS = new Set([".sql", ".html", ".css", ".js"]);

/** Beside dist and at the same depth, so that the source maps' relative paths stay right. */
const TEMPORARY = ".dist-";
const ABANDONED_AFTER_MS = 10 * 60 * 1000;

/** A build that cannot be made, in one sentence; what the compiler has to say is printed already. */
export class BuildError extends Error {
  name = "BuildError";
}

/**
 * Builds `dist/` of `root` unless it fits the sources.
 *
 * @param {{ root?: string, force?: boolean, log?: (line: string) => void }} [options]
 * @returns {{ built: boolean }}
 * @throws {BuildError} when the sources do not compile, or TypeScript is needed and not installed
 */
export function buildIfStale({ root = PROJECT, force = false, log = () => undefined } = {}) {
  const dist = join(root, "dist");
  const sources = listSources(root);
  // An image may bring dist alone.
  if (sources.length === 0 && !force && existsSync(join(dist, STAMP))) return { built: false };
  const fingerprint = hash(root, sources);
  if (!force && readStamp(dist) === fingerprint) return { built: false };

  const compiler = findCompiler(root);
  removeAbandoned(root);
  const fresh = join(root, temporaryName());
  try {
    log("Building dist");
    compile(compiler, root, fresh);
    copyAssets(root, sources, fresh);
    writeFileSync(join(fresh, STAMP), fingerprint);
    swap(fresh, dist, root);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return { built: true };
}

/** The compiler's `include` list is the one list of what belongs to the build. */
function listSources(root) {
  if (!existsSync(join(root, "tsconfig.build.json"))) return [];
  const { include } = JSON.parse(readFileSync(join(root, "tsconfig.build.json"), "utf8"));
  const files = include.flatMap((entry) =>
    entry === "*.ts"
      ? filesBelow(root, { recursive: false }).filter((file) => extname(file) === ".ts")
      : filesBelow(join(root, entry), { recursive: true }).filter(belongs),
  );
  return files.map((file) => relative(root, file)).sort();
}

/** JSON counts, too: the compiler copies what is imported. */
function belongs(file) {
  return [".ts", ".json"].includes(extname(file)) || ASSETS.has(extname(file));
}

function filesBelow(folder, { recursive }) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Contents, not times: a checkout or a copy into an image gives every file a new time. */
function hash(root, sources) {
  const digest = createHash("sha256");
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  digest.update(`typescript ${devDependencies?.typescript}\n`);
  for (const file of [...CONFIGS, ...sources]) {
    const content = readFileSync(join(root, file));
    digest.update(`${file.replaceAll("\\", "/")} ${content.length}\n`).update(content);
  }
  digest.update(readFileSync(fileURLToPath(import.meta.url)));
  return digest.digest("hex");
}

function readStamp(dist) {
  try {
    return readFileSync(join(dist, STAMP), "utf8");
  } catch {
    return undefined;
  }
}

function findCompiler(root) {
  try {
    const manifest = createRequire(join(root, "package.json")).resolve("typescript/package.json");
    return join(dirname(manifest), "bin", "tsc");
  } catch {
    throw new BuildError(
      "dist does not fit the sources and TypeScript, which builds it, is not installed: run npm ci " +
        "without --omit=dev, or bring a dist that was built from these sources",
    );
  }
}

function compile(compiler, root, outDir) {
  const args = [compiler, "-p", "tsconfig.build.json", "--outDir", outDir];
  const { status, signal, error } = spawnSync(process.execPath, args, {
    cwd: root,
    // stdout belongs to whatever npm start prints there.
    stdio: ["ignore", 2, 2],
    // Ctrl-C goes to the whole process group: the compiler would end later than we, and still write then.
    detached: true,
  });
  if (error) throw new BuildError(`The TypeScript compiler does not run: ${error.message}`);
  if (signal) throw new BuildError(`The build was interrupted (${signal}); dist is as it was`);
  if (status !== 0) throw new BuildError("The sources do not compile; dist is as it was");
}

function copyAssets(root, sources, outDir) {
  for (const file of sources.filter((name) => ASSETS.has(extname(name)))) {
    mkdirSync(dirname(join(outDir, file)), { recursive: true });
    copyFileSync(join(root, file), join(outDir, file));
  }
}

/** Two renames; another build may put its own dist in place between ours, which goes then, too. */
function swap(fresh, dist, root) {
  for (let attempt = 1; ; attempt += 1) {
    const old = join(root, temporaryName());
    try {
      renameSync(dist, old);
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    try {
      renameSync(fresh, dist);
      return;
    } catch (error) {
      if (!["ENOTEMPTY", "EEXIST", "EPERM"].includes(error.code) || attempt === 20) throw error;
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  }
}

function temporaryName() {
  return `${TEMPORARY}${randomBytes(6).toString("hex")}`;
}

function removeAbandoned(root) {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(TEMPORARY)) continue;
    const found = statSync(join(root, name), { throwIfNoEntry: false });
    if (found === undefined || Date.now() - found.mtimeMs < ABANDONED_AFTER_MS) continue;
    rmSync(join(root, name), { recursive: true, force: true });
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const started = Date.now();
    const { built } = buildIfStale({
      force: process.argv.includes("--force"),
      log: (line) => console.error(line),
    });
    console.error(built ? `Built dist in ${Date.now() - started} ms` : "dist is up to date");
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
