import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { doTheMainJob } from "../support/main-job";
import { Api } from "../support/people";
import {
  cleanUp,
  copyCheckout,
  launch,
  launchReady,
  newFolder,
  processesOn,
} from "../support/processes";

const NPM_START = ["npm", "start"] as const;
const areRoot = process.getuid?.() === 0;

/** An account that is nobody's in particular, for whom may choose. */
function ordinaryAccount(): { uid: number; gid: number } | undefined {
  if (!areRoot) return undefined;
  const line = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync("/etc/passwd", "utf8"));
  if (!line) throw new Error("This machine has no account nobody");
  return { uid: Number(line[1]), gid: Number(line[2]) };
}

describe("npm start in a checkout of its own", () => {
  let parent: string;
  let copy: string;
  let dataDir: string;
  beforeAll(() => {
    // Of mode 700, like a home.
    parent = newFolder();
    copy = copyCheckout(parent);
    dataDir = join(copy, ".data");
  });
  afterAll(cleanUp);

  /** Without any setting, unless there is one in a file. */
  const bare = { DATA_DIR: undefined, PORT: undefined };

  test("builds, starts and keeps its data, below a folder that is its owner's alone", async () => {
    const settings = { folder: copy, dataDir, environment: { DATA_DIR: undefined } };
    const first = await launch({ ...settings, command: NPM_START });
    const firstTook = await first.ready();
    await doTheMainJob(first.origin);
    await first.stops();
    const next = await launch({ ...settings, command: NPM_START });
    const nextTook = await next.ready();
    await next.stops();
    expect([...processesOn(copy), ...processesOn(dataDir)]).toEqual([]);
    console.info(
      `As ${areRoot ? "root" : "an ordinary user, not as root"}, below a folder of mode 700, ready ` +
        `after ${firstTook} ms with the build, ${nextTook} ms the next time`,
    );
  });

  test("reads .env there, and listens where it says", async () => {
    const probe = await launch({ dataDir, folder: copy, command: ["node", "--version"] });
    await probe.ends();
    // The probe's port is free again.
    const { port } = probe;
    writeFileSync(join(copy, ".env"), `PORT=${port}\nDATA_DIR=.data\nLOG_LEVEL=warn\n`);
    const marquee = await launchReady({ folder: copy, dataDir, port, environment: bare });
    expect(marquee.output).not.toContain("INFO");
    await marquee.stops();

    // What the environment says goes before.
    const other = await launch({ folder: copy, dataDir, environment: { DATA_DIR: undefined } });
    expect(other.port).not.toBe(port);
    await other.ready();
    await other.stops();

    writeFileSync(join(copy, ".env"), "PORT=nowhere\n");
    const wrong = await launch({ folder: copy, dataDir, environment: bare });
    await wrong.endsWith(1);
    expect(wrong.errors).toContain("PORT must be a whole number");
    writeFileSync(join(copy, ".env"), "");
  });

  test("runs for an ordinary user, who only reads the checkout", async () => {
    chmodSync(parent, 0o755);
    const account = ordinaryAccount();
    const home = join(parent, "home");
    mkdirSync(home);
    if (account) chownSync(home, account.uid, account.gid);
    const settings = {
      folder: copy,
      dataDir: join(home, "data"),
      command: NPM_START,
      environment: { HOME: home },
      ...(account ? { account } : {}),
    };
    const first = await launchReady(settings);
    await doTheMainJob(first.origin);
    await first.stops();
    const next = await launchReady(settings);
    await next.stops("SIGINT");
    expect(processesOn(home)).toEqual([]);
  });

  test("says in a sentence that it may not write into the data folder", async () => {
    const locked = join(parent, "locked");
    mkdirSync(locked, { mode: 0o555 });
    const account = ordinaryAccount();
    const marquee = await launch({
      folder: copy,
      dataDir: locked,
      environment: { HOME: parent },
      ...(account ? { account } : {}),
    });
    await marquee.endsWith(1);
    expect(marquee.errors).toBe(
      `Marquee cannot start. DATA_DIR ${locked} cannot hold the jwt-secret: EACCES.\n`,
    );
  });
});

/** As a superuser, who can make an ordinary role and a database for it. */
const EXTERNAL =
  process.env.TEST_EXTERNAL_DATABASE_URL ?? "postgres://postgres@127.0.0.1:5432/postgres";

async function externalServer(): Promise<Client | undefined> {
  const admin = new Client({ connectionString: EXTERNAL, connectionTimeoutMillis: 2_000 });
  try {
    await admin.connect();
    return admin;
  } catch (error) {
    // Asked for by name, it has to be there.
    if (process.env.TEST_EXTERNAL_DATABASE_URL) throw error;
    console.info(`No PostgreSQL of its own was tried: ${(error as Error).message}`);
    return undefined;
  }
}

describe("npm start with a PostgreSQL that runs already", () => {
  afterAll(cleanUp);

  test("uses it as an ordinary role, fills in the catalogue alone, and leaves it running", async () => {
    const admin = await externalServer();
    if (!admin) return;
    const name = `marquee_start_${randomBytes(4).toString("hex")}`;
    try {
      const { rows } = await admin.query("SHOW server_version");
      console.info(`With a PostgreSQL that runs already: ${rows[0].server_version}`);
      await admin.query(`CREATE ROLE ${name} LOGIN PASSWORD '${name}'`);
      await admin.query(`CREATE DATABASE ${name} OWNER ${name}`);
      const url = new URL(EXTERNAL);
      Object.assign(url, { username: name, password: name, pathname: `/${name}` });

      const dataDir = newFolder();
      const marquee = await launchReady({ dataDir, environment: { DATABASE_URL: url.href } });
      expect(marquee.output).not.toContain("Demo logins");
      expect(processesOn(dataDir)).toHaveLength(1);
      const api = await Api.at(marquee.origin);
      expect((await api.get("/events")).body.pagination.total).toBe(0);
      const catalogue = await api.get("/available-events");
      expect(catalogue.body.pagination.total).toBeGreaterThan(0);
      await doTheMainJob(marquee.origin);
      await marquee.stops();
      expect(processesOn(dataDir)).toEqual([]);
      const left = await admin.query("SELECT FROM pg_stat_activity WHERE usename = $1", [name]);
      expect(left.rowCount).toBe(0);
    } finally {
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await admin.query(`DROP ROLE IF EXISTS ${name}`);
      await admin.end();
    }
  });
});
