import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { runningEmbeddedUrl } from "../../lib/embedded-postgres/running";
import { bookingRush, type Rush, type Wish } from "../support/booking-rush";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { NATS_URL, natsAnswers } from "../support/nats";
import {
  build,
  cleanUp,
  type Launched,
  launch,
  launchReady,
  newDataDir,
  processesOn,
} from "../support/processes";

const BOOKINGS = 2_000;
/** When it is killed, again and again: so many have been answered, and then at any moment or after a commit. */
const KILLS = [
  { answered: 700, afterCommit: false },
  { answered: 1_400, afterCommit: true },
];

/** Whatever was under way when a process stood still has come to its end. */
const SETTLED_MS = 30;

const NPM_START = ["npm", "start"] as const;
/** A line for each of thousands of requests would keep us busier than the bookings. */
const QUIET = { LOG_LEVEL: "warn" };

/** The database that runs, or has run last, on a data folder. */
function embeddedDatabase(dataDir: string): Pick<TestDatabase, "query"> {
  let url: string | undefined;
  return {
    async query(sql, values) {
      url = (await runningEmbeddedUrl(dataDir)) ?? url;
      const client = new Client({ connectionString: url ?? "" });
      await client.connect();
      try {
        return (await client.query(sql, values)).rows;
      } finally {
        await client.end();
      }
    },
  };
}

/** Marquee on a folder of its own, again and again on the same port, and people who want to book there. */
async function rushOn(
  how: { command?: typeof NPM_START; environment?: Record<string, string> } = {},
) {
  const dataDir = newDataDir();
  const options = { dataDir, ...how, environment: { ...QUIET, ...how.environment } };
  const first = await launchReady(options);
  const database = embeddedDatabase(dataDir);
  const rush = await bookingRush({ origin: first.origin, database, dataDir, bookings: BOOKINGS });
  const startsAgain = async () => {
    const next = await launchReady({ ...options, port: first.port });
    return next;
  };
  return { dataDir, first, rush, startsAgain };
}

/** In the middle: some have been answered, some are under way, some have not begun. */
function checkInTheMiddle(rush: Rush): void {
  expect(rush.answered.length).toBeGreaterThan(0);
  expect(rush.unanswered.length).toBeGreaterThan(0);
  expect(rush.unsent.length).toBeGreaterThan(0);
}

/** Lets it stand still between the commit of bookings and their answers, however often that takes. */
async function freezesAfterCommit(marquee: Launched, rush: Rush): Promise<void> {
  for (;;) {
    marquee.signalGroup("SIGSTOP");
    await sleep(SETTLED_MS);
    if ((await rush.bookedUnanswered()) > 0) return;
    marquee.signalGroup("SIGCONT");
    if (rush.unsent.length === 0) throw new Error("It was never caught between commit and answer");
    await sleep(Math.random() * 10);
  }
}

/**
 * Finds nothing amiss, then sends again what was not answered: whoever has a booking gets that one, the others
 * get one. Gives how many had one.
 */
async function checkAndSendAgain(rush: Rush): Promise<number> {
  const { found, faults } = await rush.recount();
  expect(faults).toEqual([]);
  const { unanswered } = rush;
  await rush.sends(unanswered);
  const outcomes = unanswered.map(({ person, booking, replayed }) => {
    const [before] = found.get(person.who.id) ?? [];
    expect(booking).toBeDefined();
    expect(replayed).toBe(before !== undefined);
    if (before) expect(booking?.id).toBe(before.id);
    return before !== undefined;
  });
  return outcomes.filter((hadOne) => hadOne).length;
}

/** The rest is booked, all seats are taken, everybody has been told once. */
async function checkTheEnd(rush: Rush): Promise<void> {
  await rush.sends(rush.unsent);
  expect(rush.answered).toHaveLength(BOOKINGS);
  expect((await rush.recount()).faults).toEqual([]);
  expect(await rush.untold()).toEqual([]);
  expect(await rush.latecomerGets()).toEqual(["EVENT_SOLD_OUT"]);
}

beforeAll(build);
afterEach(cleanUp);

describe("kill -9 in the middle of 2,000 bookings", () => {
  /** Kills again and again, and looks after each start what the answered and the others have. */
  const survives = async (
    { dataDir, first, rush, startsAgain }: Awaited<ReturnType<typeof rushOn>>,
    kills: (marquee: Launched) => void,
    lookAtTheDead: () => Promise<void>,
  ) => {
    let marquee = first;
    let bookedUnanswered = 0;
    for (const { answered, afterCommit } of KILLS) {
      const killed = marquee;
      const happens = async () => {
        if (afterCommit) await freezesAfterCommit(killed, rush);
        kills(killed);
      };
      await rush.sends(rush.unsent, { answered, happens });
      await killed.endsWith("SIGKILL");
      checkInTheMiddle(rush);
      await lookAtTheDead();
      const figures = `${rush.answered.length} answers; of ${rush.unanswered.length} unanswered requests`;

      marquee = await startsAgain();
      const booked = await checkAndSendAgain(rush);
      console.info(`Killed after ${figures} ${booked} had been booked`);
      bookedUnanswered += booked;
    }
    expect(bookedUnanswered).toBeGreaterThan(0);
    await checkTheEnd(rush);
    await marquee.stops();
    expect(processesOn(dataDir)).toEqual([]);
  };

  test("of the process, whose database lives on: nothing that was answered is lost", async () => {
    const run = await rushOn();
    const leftToTell: number[] = [];
    await survives(
      run,
      (marquee) => marquee.signal("SIGKILL"),
      async () => {
        expect(processesOn(run.dataDir).join()).toContain("bin/postgres");
        leftToTell.push(await run.rush.leftInOutbox());
      },
    );
    // What has been told in the end was not told by those who were killed.
    console.info(`Left in the outbox by those who were killed: ${leftToTell.join(", ")}`);
    expect(Math.max(...leftToTell)).toBeGreaterThan(0);
  });

  test("of its process group and its database: nothing that was answered is lost", async () => {
    const run = await rushOn({ command: NPM_START });
    await survives(
      run,
      (marquee) => marquee.killsEverything(run.dataDir),
      // A process that the database was just starting sees that it is alone, and ends.
      () => eventually(async () => expect(processesOn(run.dataDir)).toEqual([])),
    );
  });

  test("loses answered bookings when commits do not wait for the disk: the control", async () => {
    const environment = { PGOPTIONS: "-c synchronous_commit=off" };
    const { dataDir, first, rush, startsAgain } = await rushOn({ environment });
    // PostgreSQL writes by itself five times a second, now what the rush needs; later it would be just in time.
    await sleep(1_000);
    const writer = processesOn(dataDir).find((line) => line.includes("walwriter")) ?? "";
    process.kill(Number.parseInt(writer, 10), "SIGSTOP");
    const happens = () => first.killsEverything(dataDir);
    await rush.sends(rush.unsent, { answered: BOOKINGS / 4, happens });
    await first.endsWith("SIGKILL");
    checkInTheMiddle(rush);

    const next = await startsAgain();
    const { faults } = await rush.recount();
    console.info(`Of ${rush.answered.length} answered bookings ${faults.length} are lost`);
    expect(faults[0]).toMatch(/had a 201 for \S+, which is lost/);
    await next.stops();
  });
});

describe("SIGTERM in the middle of 2,000 bookings", () => {
  test("answers what is in flight, ends with 0, loses nothing and leaves nothing running", async () => {
    const { dataDir, first, rush, startsAgain } = await rushOn();
    let inFlight: Wish[] = [];
    const happens = async () => {
      await freezesAfterCommit(first, rush);
      inFlight = rush.unanswered;
      first.signal("SIGTERM");
      first.signalGroup("SIGCONT");
    };
    await rush.sends(rush.unsent, { answered: BOOKINGS / 2, happens });
    await first.endsWith(0);
    expect(processesOn(dataDir)).toEqual([]);
    // Some came too late to be let in; whoever was there before the signal has an answer.
    checkInTheMiddle(rush);
    const late = rush.unanswered.length;
    expect(inFlight.length).toBeGreaterThan(0);
    expect(inFlight.filter(({ booking }) => !booking)).toEqual([]);

    const next = await startsAgain();
    expect(await checkAndSendAgain(rush)).toBe(0);
    console.info(
      `Told to stop with ${inFlight.length} requests in flight, all of them answered; ` +
        `${late} came too late`,
    );
    await checkTheEnd(rush);
    await next.stops();
  });
});

describe("kill -9 of one of two nodes for bookings", () => {
  let database: TestDatabase;
  beforeEach(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    await cleanUp();
    // A failed test leaves processes that were killed only now.
    await eventually(() => database.drop());
  });

  test("in the middle: the other one goes on, and nothing that was answered is lost", async () => {
    if (!(await natsAnswers())) {
      console.info(`No NATS at ${NATS_URL}: no node of several was killed`);
      return;
    }
    const dataDir = newDataDir();
    const shared = {
      ...QUIET,
      DATABASE_URL: database.url,
      NATS_URL,
      NAMESPACE: `crash-${randomBytes(8).toString("hex")}`,
    };
    const runs = (services: string) =>
      launch({ dataDir, environment: { ...shared, SERVICES: services } });
    const [gateway, killed, other] = await Promise.all([
      runs("api,core,auth,users,available-events,events"),
      runs("bookings,notifications"),
      runs("bookings,notifications"),
    ]);
    await Promise.all([killed, other].map((node) => node.says("Marquee runs")));
    await gateway.answers("/health/ready", 200);
    const { origin } = gateway;
    const rush = await bookingRush({ origin, database, dataDir, bookings: BOOKINGS });

    let left = 0;
    const happens = () => {
      left = rush.unsent.length;
      killed.signal("SIGKILL");
    };
    await rush.sends(rush.unsent, { answered: BOOKINGS / 4, happens });
    await killed.endsWith("SIGKILL");
    expect(left).toBeGreaterThan(0);
    // Whoever asked the node that is gone has heard 503; the one that is left has answered all the others.
    expect(rush.unsent).toEqual([]);
    const { length } = rush.unanswered;
    expect(length).toBeGreaterThan(0);
    const booked = await checkAndSendAgain(rush);
    console.info(
      `One of two nodes killed: of ${length} requests with 503 ${booked} had been booked`,
    );
    await checkTheEnd(rush);
    await Promise.all([gateway.stops(), other.stops()]);
  });
});
