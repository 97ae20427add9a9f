import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { applicationUrlOf } from "./claim";
import { CLUSTER_NAME, isCredentials } from "./cluster";
import { codeOf, explained, messageOf } from "./errors";
import { connect, isPassing, KEY } from "./lock";
import { readPidFile } from "./pid-file";

/** Files that are not there mean that there is no database yet, or none any more. */
const ABSENT = new Set(["ENOENT", "ENOTDIR"]);

/**
 * The application's URL of the database that a living Marquee runs on this data folder (absolute
 * path), for a guest who neither starts nor stops it; undefined when nobody runs one, also when a
 * killed Marquee left its server behind: that one wants an owner, not a guest.
 *
 * @throws EmbeddedPostgresError when the database belongs to another account
 */
export async function runningEmbeddedUrl(dataDir: string): Promise<string | undefined> {
  try {
    const home = await realpath(join(dataDir, CLUSTER_NAME));
    const file = await readPidFile(join(home, "data"));
    if (file.state !== "living") return undefined;
    const credentials: unknown = JSON.parse(await readFile(join(home, "credentials.json"), "utf8"));
    if (!isCredentials(credentials)) return undefined;
    const url = applicationUrlOf(credentials, file.postmaster);
    return (await isOwned(url)) ? url : undefined;
  } catch (error) {
    const absent = ABSENT.has(codeOf(error) ?? "");
    // What is damaged, or refuses us, is told best by the attempt to start it.
    if (absent || isPassing(error) || error instanceof SyntaxError) return undefined;
    throw explained(error, `use the database in ${dataDir} (${messageOf(error)})`);
  }
}

/** Whether somebody holds the lock by which a Marquee keeps a server for itself; looks without touching it. */
async function isOwned(url: string): Promise<boolean> {
  const client = await connect(url, "marquee-guest");
  try {
    const { rowCount } = await client.query(
      `select from pg_locks where locktype = 'advisory' and granted
          and (classid::bigint << 32) + objid::bigint = ${KEY}`,
    );
    return rowCount !== 0;
  } finally {
    await client.end();
  }
}
