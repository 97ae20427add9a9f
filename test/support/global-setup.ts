import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { startEmbeddedPostgres } from "../../lib/embedded-postgres";
import { migrate, seed } from "../../system";
import { CARRIERS, carriersThatAnswer } from "./carriers";
import { NATS_URL, natsAnswers } from "./nats";

/** Handed to the teardown, which jest loads into the same process. */
declare global {
  var marqueeTestDatabase: { stop(): Promise<void> } | undefined;
}

const say = (line: string) => process.stdout.write(`${line}\n`);

async function testServer(): Promise<{ adminUrl: string; owner: string; stop(): Promise<void> }> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    const { username, host, pathname } = new URL(given);
    say(`Tests use TEST_DATABASE_URL: ${host}${pathname} as ${username}`);
    return { adminUrl: given, owner: decodeURIComponent(username), stop: async () => {} };
  }
  const dataDir = mkdtempSync(join(tmpdir(), "marquee-test-"));
  // As root, another account runs PostgreSQL; what that could not reach would lie elsewhere and stay there.
  chmodSync(dataDir, 0o755);
  const embedded = await startEmbeddedPostgres({ dataDir, log: () => {} });
  say("Tests use an embedded PostgreSQL of their own");
  const stop = async () => {
    await embedded.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  process.env.MARQUEE_TEST_URL = embedded.url;
  return { adminUrl: embedded.adminUrl, owner: "marquee", stop };
}

/** What names all databases of this run, and nobody else's. */
const prefix = `marquee_test_${process.pid}_`;

/** The databases that test files have done with. */
async function leftOf(admin: Client): Promise<string[]> {
  const { rows } = await admin.query(
    "SELECT datname FROM pg_database WHERE starts_with(datname, $1)",
    [prefix],
  );
  return rows.map(({ datname }) => datname);
}

async function dropAll(admin: Client, names: string[]): Promise<void> {
  for (const name of names) await admin.query(`DROP DATABASE ${name}`);
}

/** Makes one migrated database, of which every test file gets a copy of its own. */
export default async function setup(): Promise<void> {
  const { adminUrl, owner, stop } = await testServer();
  const template = `marquee_template_${process.pid}`;
  const admin = new Client({ connectionString: adminUrl });
  await admin.connect();
  const { rows } = await admin.query("SHOW server_version");
  say(`PostgreSQL ${rows[0].server_version}`);
  await admin.query(`CREATE DATABASE ${template} OWNER ${owner}`);
  const url = new URL(process.env.MARQUEE_TEST_URL ?? adminUrl);
  url.pathname = `/${template}`;
  await migrate(url.href);
  await seed(url.href, { seedDemo: false });

  const nats = await natsAnswers();
  say(
    nats
      ? `NATS answers at ${NATS_URL}: tests run over it too`
      : `No NATS at ${NATS_URL}: nothing is run over NATS`,
  );
  process.env.MARQUEE_TEST_NATS = nats ? "yes" : "no";
  const carriers = await carriersThatAnswer();
  const away = CARRIERS.filter((carrier) => !carriers.includes(carrier));
  say(`Channels are tested over ${carriers.join(", ")}`);
  if (away.length) say(`Nothing answers for ${away.join(", ")}: channels are NOT tested over it`);
  process.env.MARQUEE_TEST_CARRIERS = carriers.join();
  process.env.MARQUEE_TEST_ADMIN_URL = adminUrl;
  process.env.MARQUEE_TEST_URL = url.href;
  process.env.MARQUEE_TEST_OWNER = owner;
  process.env.MARQUEE_TEST_PREFIX = prefix;
  // Of mails and whatever else the systems of the tests keep in files.
  const data = mkdtempSync(join(tmpdir(), "marquee-test-data-"));
  process.env.MARQUEE_TEST_DATA = data;
  globalThis.marqueeTestDatabase = {
    async stop() {
      // A server of the tests' own goes as a whole.
      if (process.env.TEST_DATABASE_URL) await dropAll(admin, [template, ...(await leftOf(admin))]);
      await admin.end();
      await stop();
      rmSync(data, { recursive: true, force: true });
    },
  };
}
