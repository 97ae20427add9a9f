import type { OutboxEvent } from "../../lib/contract/outbox-event";
import { type Database, openDatabase } from "../../lib/database";
import { leastIdAt } from "../../lib/ids";
import { writeOutbox } from "../../mixins/outbox";
import { createTestDatabase, type TestDatabase } from "../support/database";
import { eventually } from "../support/eventually";
import { outboxEvent } from "../support/outbox-event";
import { silent } from "../support/silent";

// Each node has an outbox module of its own, which knows what that node has written.
type Outbox = typeof import("../../mixins/outbox");

let database: TestDatabase;
let pool: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = openDatabase(database.url, { connections: 4 });
});
afterAll(async () => {
  await pool?.close();
  await database?.drop();
});

/** Another node, of which what it tells is kept; `hear` may fail, as a listener does. */
function startNode(hear: (what: string) => void = () => {}) {
  const told: string[] = [];
  let outbox: Outbox | undefined;
  jest.isolateModules(() => {
    outbox = require("../../mixins/outbox");
  });
  if (!outbox) throw new Error("The module was not loaded");
  const tell = async (_name: string, payload: object) => {
    const { what } = payload as { what: string };
    hear(what);
    told.push(what);
  };
  const relay = outbox.relayOutbox(pool, tell, silent);
  return { told, write: outbox.writeOutbox, stop: () => relay.stop() };
}

const secondsAgo = (seconds: number) => leastIdAt(new Date(Date.now() - seconds * 1000));

/** So young, however slow the machine, that others leave it to who wrote it. */
const justNow = () => secondsAgo(-3_600);

const left = async () =>
  (await database.query("SELECT data->>'what' AS what FROM outbox ORDER BY id")).map(
    ({ what }) => what,
  );

test("A node that writes nothing tells what lay there when it came or is old, and leaves the rest to who wrote it", async () => {
  // This process has no relay: it has died, or is about to tell.
  const write = (...events: OutboxEvent[]) =>
    pool.prepared(({ query }) => writeOutbox(query, events));
  await write(
    outboxEvent({ what: "left by a crash" }, secondsAgo(1)),
    outboxEvent({ what: "written after that" }, justNow()),
  );
  const idle = startNode();
  try {
    await eventually(async () => expect(await left()).toEqual(["written after that"]));
    await write(outboxEvent({ what: "and lies there for long" }, secondsAgo(10)));
    await eventually(async () => expect(await left()).toEqual(["written after that"]));
    expect(idle.told).toEqual(["left by a crash", "and lies there for long"]);
  } finally {
    await idle.stop();
    await database.query("DELETE FROM outbox");
  }
});

test("A node that writes tells what it has written and what others wrote before, and no more", async () => {
  await pool.prepared(({ query }) =>
    writeOutbox(query, [
      outboxEvent({ what: "another's, before" }, secondsAgo(1)),
      outboxEvent({ what: "another's, after" }, justNow()),
    ]),
  );
  const busy = startNode();
  try {
    await pool.prepared(({ query }) => busy.write(query, [outboxEvent({ what: "its own" })]));
    await eventually(async () => expect(await left()).toEqual(["another's, after"]));
    expect(busy.told).toEqual(["another's, before", "its own"]);
  } finally {
    await busy.stop();
    await database.query("DELETE FROM outbox");
  }
});

test("What cannot be told stays, and is told later", async () => {
  let tries = 0;
  let away = true;
  const node = startNode(() => {
    tries++;
    if (away) throw new Error("The listener's node is away");
  });
  try {
    await pool.prepared(({ query }) => node.write(query, [outboxEvent({ what: "tried again" })]));
    await eventually(async () => expect(tries).toBeGreaterThanOrEqual(2));
    expect(await left()).toEqual(["tried again"]);
    away = false;
    await eventually(async () => expect(await left()).toEqual([]));
    expect(node.told).toEqual(["tried again"]);
  } finally {
    await node.stop();
  }
});
