import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Api } from "../support/people";
import {
  build,
  cleanUp,
  type Launched,
  launchReady,
  newDataDir,
  processesOn,
} from "../support/processes";

/** The process of the PostgreSQL that runs on a data folder. */
const postmasterOf = (dataDir: string): number =>
  Number.parseInt(readFileSync(join(dataDir, "postgres/data/postmaster.pid"), "utf8"), 10);

describe("npm start whose embedded database dies", () => {
  beforeAll(build);
  afterEach(cleanUp);

  /** What it says of it, once it has ended as it should. */
  const lastWords = async (marquee: Launched, dataDir: string) => {
    await marquee.endsWith(1);
    expect(processesOn(dataDir)).toEqual([]);
    return marquee.errors;
  };

  test("says what to do, ends with 1 and leaves nothing running; the next start has the data", async () => {
    const dataDir = newDataDir();
    const first = await launchReady({ dataDir, command: ["npm", "start"] });
    const alice = await (await Api.at(first.origin)).attendee("Alice");
    process.kill(postmasterOf(dataDir), "SIGKILL");
    const said = await lastWords(first, dataDir);
    expect(said.match(/^Marquee.*$/gm)).toEqual([
      expect.stringMatching(
        /^Marquee stops\. The embedded database has ended unexpectedly: start Marquee again, .*\.$/,
      ),
    ]);

    const next = await launchReady({ dataDir });
    const api = await Api.at(next.origin);
    const { email, password } = alice.who;
    const signedIn = await api.request("POST", "/auth/login", { body: { email, password } });
    expect(signedIn.body).toMatchObject({ user: { id: alice.who.id } });
    await next.stops();
    expect(processesOn(dataDir)).toEqual([]);
  });

  test("does so as well while people are at work, and when it is told to stop at that very moment", async () => {
    const dataDir = newDataDir();
    const busy = await launchReady({ dataDir });
    const api = await Api.at(busy.origin);
    const hanna = await api.host("Hanna");
    const work = Array.from({ length: 20 }, () => hanna.createsEvent().catch(() => {}));
    process.kill(postmasterOf(dataDir), "SIGKILL");
    await Promise.all(work);
    expect(await lastWords(busy, dataDir)).toContain("ended unexpectedly");

    const told = await launchReady({ dataDir });
    told.signal("SIGTERM");
    process.kill(postmasterOf(dataDir), "SIGKILL");
    // Which of the two it hears first is chance; that it ends is not.
    expect([0, 1]).toContain(await told.ends());
    expect(processesOn(dataDir)).toEqual([]);
  });
});
