import { isError, ServiceUnavailable } from "../../lib/errors";
import { createGroupCommit, type GroupCommitOptions, type Settled } from "../../lib/group-commit";

/** What is asked for: a lane's letter and a number; the answer to `A1` is `a1`. */
type Options = GroupCommitOptions<string, string>;

interface Round {
  requests: string[];
  wait: boolean;
  /** The round commits; requests of these lanes are held. */
  commits(...held: string[]): Promise<void>;
  /** The round comes to this for all its requests. */
  gives(outcome: Settled<string>): Promise<void>;
  fails(error: unknown): Promise<void>;
}

const laneOf = (request: string) => request.slice(0, 1);
const answerTo = (request: string): Settled<string> => ({ answer: request.toLowerCase() });
const FAULT = new Error("One's fault");
const LATE = new Error("Too late");

/** More room than any test needs. */
const ROOMY = {
  most: 100,
  waiting: 1000,
  waitingInLane: 1000,
  lanes: 2,
  laneWaitMs: 60_000,
  laneOf,
};

/** Lets everything that is ready to go on do so, also what waits for the end of the turn; no timer ever fires here. */
const settle = async () => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};

/** A group commit whose rounds a test ends when it likes. */
function counter(options: Partial<Options> = {}) {
  const rounds: Round[] = [];
  const commit: Options["commit"] = (requests, wait) =>
    new Promise((resolve, reject) => {
      rounds.push({
        requests,
        wait,
        commits(...held) {
          resolve(requests.map((r) => (held.includes(laneOf(r)) ? { held: true } : answerTo(r))));
          return settle();
        },
        gives(outcome) {
          resolve(requests.map(() => outcome));
          return settle();
        },
        fails(error) {
          reject(error);
          return settle();
        },
      });
    });
  const group = createGroupCommit<string, string>({
    ...ROOMY,
    commit,
    isOnesFault: (error) => error === FAULT,
    ...options,
  });
  const answered: string[] = [];
  /** Submits each and notes what comes of them, in the order in which it comes. */
  const submit = (...requests: string[]) => {
    for (const request of requests) {
      group.submit(request).then(
        (answer) => answered.push(answer),
        (error) => answered.push(`${request}: ${error.message}`),
      );
    }
  };
  const nth = (i: number): Round => {
    const round = rounds[i];
    if (!round) throw new Error(`There are ${rounds.length} rounds`);
    return round;
  };
  return { group, submit, answered, nth, asked: () => rounds.map(({ requests }) => requests) };
}

beforeEach(() => jest.useFakeTimers({ doNotFake: ["setImmediate"] }));
afterEach(() => {
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

describe("A batch", () => {
  test("of a lone request begins at once", () => {
    const { submit, nth, asked } = counter();
    submit("A1");
    expect(asked()).toEqual([["A1"]]);
    expect(nth(0).wait).toBe(false);
  });

  test("is what came while the one before it was under way, in order of arrival", async () => {
    const { submit, nth, asked } = counter();
    submit("A1", "B1");
    await settle();
    submit("A2", "C1", "B2");
    expect(asked()).toEqual([["A1"]]);
    await nth(0).commits();
    expect(asked()).toEqual([["A1"], ["B1", "A2", "C1", "B2"]]);
    expect(nth(1).wait).toBe(false);
  });

  test("is of a size at the most", async () => {
    const { submit, nth, asked } = counter({ most: 3 });
    submit("A1", ..."2345678".split("").map((n) => `A${n}`));
    await nth(0).commits();
    await nth(1).commits();
    await nth(2).commits();
    expect(asked()).toEqual([["A1"], ["A2", "A3", "A4"], ["A5", "A6", "A7"], ["A8"]]);
  });

  test("is answered after its commit, each request with its own answer", async () => {
    const { submit, answered, nth } = counter();
    submit("A1", "B1", "A2");
    await settle();
    expect(answered).toEqual([]);
    await nth(0).commits();
    expect(answered).toEqual(["a1"]);
    await nth(1).commits();
    expect(answered).toEqual(["a1", "b1", "a2"]);
  });

  test("is answered to the lanes with the fewest first: who is alone does not wait behind a rush", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("X1");
    submit("A1", "A2", "B1", "A3", "C1", "D1", "C2");
    await nth(0).commits();
    expect(asked().at(-1)).toEqual(["A1", "A2", "B1", "A3", "C1", "D1", "C2"]);
    await nth(1).commits();
    expect(answered).toEqual(["x1", "b1", "d1", "c1", "c2", "a1", "a2", "a3"]);
  });

  test("is answered when the next one is on its way, not while that is made ready", async () => {
    const seen: string[] = [];
    const group = createGroupCommit<string, string>({
      ...ROOMY,
      async commit(requests) {
        for (let steps = 10; steps > 0; steps--) await Promise.resolve();
        seen.push(`sent ${requests}`);
        return requests.map(answerTo);
      },
      isOnesFault: () => false,
    });
    const ask = async (request: string) => seen.push(await group.submit(request));
    await Promise.all([ask("A1"), ask("A2")]);
    expect(seen).toEqual(["sent A1", "sent A2", "a1", "a2"]);
  });

  test("is never under way beside another one, whatever comes when", async () => {
    let underWay = 0;
    let most = 0;
    let rounds = 0;
    const group = createGroupCommit<string, string>({
      ...ROOMY,
      most: 7,
      async commit(requests) {
        most = Math.max(most, ++underWay);
        for (let turns = (++rounds * 7) % 5; turns > 0; turns--) await Promise.resolve();
        underWay--;
        return requests.map(answerTo);
      },
      isOnesFault: () => false,
    });
    const person = async (name: string) => {
      for (let i = 0; i < 20; i++)
        expect(await group.submit(`${name}${i}`)).toBe(`${name.toLowerCase()}${i}`);
    };
    await Promise.all(["A", "B", "C", "D", "E", "F", "G", "H", "I"].map(person));
    expect(most).toBe(1);
    expect(rounds).toBeLessThan(180);
  });
});

describe("When too many wait", () => {
  test("the next one is refused at once, until one is through", async () => {
    const { group, submit, answered, nth } = counter({ waiting: 3 });
    submit("A1", "A2", "A3");
    const refusal = await group.submit("A4").catch((error: unknown) => error);
    expect(isError(refusal, ServiceUnavailable)).toBe(true);
    expect((refusal as { data: unknown }).data).toEqual({ retryAfter: 1 });
    await nth(0).commits();
    submit("A5");
    await nth(1).commits();
    await nth(2).commits();
    expect(answered).toEqual(["a1", "a2", "a3", "a5"]);
  });

  test("those that are held up count as well", async () => {
    const { group, submit, nth } = counter({ waiting: 2 });
    submit("A1", "A2");
    await nth(0).commits("A");
    await expect(group.submit("B1")).rejects.toMatchObject({ type: ServiceUnavailable.code });
  });
});

describe("A lane that somebody else holds", () => {
  test("waits in a round of its own while the others go on", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("A1", "A2", "B1");
    await nth(0).commits("A");
    // A1 waits, and the rest of its lane with it; what else came meanwhile goes on.
    expect(asked()).toEqual([["A1"], ["A1", "A2"], ["B1"]]);
    expect([nth(1).wait, nth(2).wait]).toEqual([true, false]);
    await nth(2).commits();
    submit("C1");
    await nth(3).commits();
    expect(answered).toEqual(["b1", "c1"]);
    await nth(1).commits();
    expect(answered).toEqual(["b1", "c1", "a1", "a2"]);
  });

  test("comes back to the batches once it is through", async () => {
    const { submit, nth, asked } = counter();
    submit("A1");
    await nth(0).commits("A");
    await nth(1).commits();
    submit("A2");
    expect(asked()).toEqual([["A1"], ["A1"], ["A2"]]);
    expect(nth(2).wait).toBe(false);
  });

  test("keeps the order of arrival: nobody overtakes who waits in it", async () => {
    const { submit, answered, nth, asked } = counter({ lanes: 1 });
    submit("Z1", "Y1", "A1");
    await nth(0).commits("Z");
    // Two lanes are held and one may wait: the other one's requests stay where they are.
    submit("A2", "B1");
    await nth(2).commits("Y", "A");
    expect(asked().slice(3)).toEqual([["B1"]]);
    submit("A3");
    await nth(3).commits();
    expect(answered).toEqual(["b1"]);
    await nth(1).commits();
    await nth(4).commits();
    expect(asked().slice(5)).toEqual([["A1", "A2", "A3"]]);
    await nth(5).commits();
    expect(answered).toEqual(["b1", "z1", "y1", "a1", "a2", "a3"]);
  });

  test("waits again when it is held again", async () => {
    const { submit, answered, nth, asked } = counter({ most: 2 });
    submit("A1");
    await nth(0).commits("A");
    submit("A2", "A3");
    await nth(1).commits("A");
    expect(asked()).toEqual([["A1"], ["A1"], ["A1", "A2"]]);
    await nth(2).commits();
    await nth(3).commits();
    expect(answered).toEqual(["a1", "a2", "a3"]);
  });

  test("does not keep the place of another lane that waits for one", async () => {
    const { submit, answered, nth, asked } = counter({ lanes: 1, most: 1 });
    submit("A1", "B1");
    await nth(0).commits("A");
    submit("A2");
    await nth(2).commits("B");
    // A is through with a part of its requests: now it is B's turn, and A's again after that.
    await nth(1).commits();
    expect(asked().slice(3)).toEqual([["B1"]]);
    await nth(3).commits();
    expect(asked().slice(4)).toEqual([["A2"]]);
    await nth(4).commits();
    expect(answered).toEqual(["a1", "b1", "a2"]);
  });

  test("waits beside so many others at the most", async () => {
    const { submit, nth, asked } = counter({ lanes: 2 });
    submit("A1", "B1", "C1", "D1");
    await nth(0).commits("A");
    await nth(2).commits("B", "C", "D");
    expect(asked()).toEqual([["A1"], ["A1"], ["B1", "C1", "D1"], ["B1"]]);
    await nth(1).commits();
    expect(asked().slice(4)).toEqual([["C1"]]);
    await nth(3).commits();
    expect(asked().slice(5)).toEqual([["D1"]]);
  });

  test("keeps the order of arrival also of those who had not come into a batch yet", async () => {
    const { submit, answered, nth, asked } = counter({ most: 2 });
    submit("A1");
    await settle();
    submit("B1", "C1", "A2");
    await nth(0).commits("A");
    submit("A3");
    await nth(2).commits();
    await nth(1).commits();
    await nth(3).commits();
    expect(asked()).toEqual([["A1"], ["A1", "A2"], ["B1", "C1"], ["A3"]]);
    expect(answered).toEqual(["b1", "c1", "a1", "a2", "a3"]);
  });

  test("that cannot be had fails its own requests alone, and all of them: nobody waits for it again", async () => {
    const { submit, answered, nth, asked } = counter({ most: 2 });
    submit("A1", "A2", "A3", "B1");
    await nth(0).commits("A");
    submit("A4");
    await nth(1).fails(new Error("Too long"));
    await nth(2).commits();
    expect(answered.toSorted()).toEqual([
      ...["A1: Too long", "A2: Too long", "A3: Too long", "A4: Too long"],
      "b1",
    ]);
    submit("A5");
    expect(asked().slice(3)).toEqual([["A5"]]);
  });

  test("lets so many wait for it at the most, so that the others have a place", async () => {
    const { group, submit, answered, nth, asked } = counter({ waiting: 7, waitingInLane: 2 });
    submit("A1", "A2", "A3", "B1");
    await nth(0).commits("A");
    // Too many had come before anybody knew that they would have to wait.
    expect(answered).toEqual([expect.stringMatching(/^A3: /)]);
    submit("A4", "A5");
    await expect(group.submit("A6")).rejects.toMatchObject({ type: ServiceUnavailable.code });
    submit("B2");
    await nth(2).commits();
    await nth(3).commits();
    await nth(1).commits();
    await nth(4).commits();
    expect(answered.slice(1)).toEqual(["b1", "b2", "a1", "a2", "a4", "a5"]);
    expect(asked().at(-1)).toEqual(["A4", "A5"]);
  });
});

describe("A batch that fails", () => {
  test("for one of its requests is tried one by one, in order, so that the others get through", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("A1", "A2", "B1", "A3");
    await nth(0).commits();
    await nth(1).fails(FAULT);
    expect(asked().slice(2)).toEqual([["A2"]]);
    await nth(2).commits();
    await nth(3).fails(FAULT);
    await nth(4).commits();
    expect(asked().slice(2)).toEqual([["A2"], ["B1"], ["A3"]]);
    expect(answered).toEqual(["a1", "B1: One's fault", "a2", "a3"]);
  });

  test("keeps the order of arrival also where somebody holds a lane for a moment", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("Z1", "A1", "A2", "B1");
    await nth(0).commits();
    await nth(1).fails(FAULT);
    await nth(2).commits("A");
    // A2 does not overtake A1, though A may be free by now.
    expect(asked().slice(3)).toEqual([["B1"]]);
    await nth(3).commits();
    expect(asked().slice(4)).toEqual([["A1", "A2"]]);
    await nth(4).commits();
    expect(answered).toEqual(["z1", "b1", "a1", "a2"]);
  });

  test("one by one ends where something cannot be had for anybody: nobody waits for that again", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("A1", "A2", "B1", "C1", "D1");
    await nth(0).commits();
    await nth(1).fails(FAULT);
    await nth(2).commits();
    await nth(3).fails(new Error("No database"));
    expect(asked().slice(2)).toEqual([["A2"], ["B1"]]);
    expect(answered).toEqual(["a1", "a2", "B1: No database", "C1: No database", "D1: No database"]);
  });

  test("for what is nobody's own fails all, once", async () => {
    const { submit, answered, nth, asked } = counter();
    submit("A1", "A2", "B1");
    await nth(0).commits();
    await nth(1).fails(new Error("No database"));
    expect(asked()).toHaveLength(2);
    expect(answered).toEqual(["a1", "A2: No database", "B1: No database"]);
  });

  test("is followed by the next one", async () => {
    const { submit, answered, nth } = counter();
    submit("A1", "A2");
    await nth(0).fails(new Error("No database"));
    await nth(1).commits();
    expect(answered).toEqual(["A1: No database", "a2"]);
  });

  test("to say what became of a request fails that request", async () => {
    const { submit, answered } = counter({ commit: async () => [{ answer: "first" }] });
    submit("A1");
    await settle();
    submit("A2", "A3", "A4");
    await settle();
    expect(answered).toEqual([
      "first",
      "first",
      "first",
      expect.stringMatching(/^A4: A batch has lost a request/),
    ]);
  });
});

describe("Idle", () => {
  const isIdle = async (group: { idle(): Promise<void> }) => {
    let idle = false;
    void group.idle().then(() => {
      idle = true;
    });
    await settle();
    return () => idle;
  };

  test("is what has not begun", async () => {
    expect((await isIdle(counter().group))()).toBe(true);
  });

  test("is when every request is answered, held ones too", async () => {
    const { group, submit, nth } = counter();
    submit("A1", "B1");
    const idle = await isIdle(group);
    await nth(0).commits("A");
    await nth(2).commits();
    expect(idle()).toBe(false);
    await nth(1).commits();
    expect(idle()).toBe(true);
    expect((await isIdle(group))()).toBe(true);
  });

  test("is also when they have failed", async () => {
    const { group, submit, nth } = counter();
    submit("A1");
    const idle = await isIdle(group);
    await nth(0).fails(new Error("No database"));
    expect(idle()).toBe(true);
  });
});

describe("A lane that does not come through", () => {
  /** Of lane A nobody is decided in a batch; in a lane of its own it goes as told, so often, and then it is decided. */
  const asked = async (inLane: Settled<string>, times: number, laneWaitMs: number) => {
    let tries = 0;
    const group = createGroupCommit<string, string>({
      ...ROOMY,
      laneWaitMs,
      async commit(requests, wait) {
        const isDone = wait && ++tries > times;
        return requests.map((request) =>
          isDone ? answerTo(request) : wait ? inLane : { held: true },
        );
      },
      isOnesFault: () => false,
    });
    return Promise.allSettled([group.submit("A1"), group.submit("A2")]);
  };

  test("because somebody else holds it is refused after its time, with everybody in it", async () => {
    const refused = { status: "rejected", reason: { type: "SERVICE_UNAVAILABLE" } };
    expect(await asked({ held: true, byOthers: true }, 50, 0)).toMatchObject([refused, refused]);
  });

  test("is not refused for the first turn that it has, however late that comes", async () => {
    let now = 0;
    jest.spyOn(performance, "now").mockImplementation(() => now);
    const { submit, nth, answered } = counter({ lanes: 1, laneWaitMs: 100 });
    submit("A1", "B1");
    await nth(0).commits("A");
    await nth(2).commits("B");
    // A's turn takes long; B has its first one long after it was found held.
    now += 1_000;
    await nth(1).commits();
    await nth(3).gives({ held: true, byOthers: true });
    expect(answered).toEqual(["a1"]);
    now += 101;
    await nth(4).gives({ held: true, byOthers: true });
    expect(answered).toEqual(["a1", expect.stringMatching(/^B1: /)]);
    jest.restoreAllMocks();
  });

  test("is not refused either when that turn itself waits for long, as for a connection", async () => {
    let now = 0;
    jest.spyOn(performance, "now").mockImplementation(() => now);
    const { submit, nth, answered } = counter({ laneWaitMs: 100 });
    submit("A1");
    await nth(0).commits("A");
    now += 1_000;
    await nth(1).gives({ held: true, byOthers: true });
    expect(answered).toEqual([]);
    await nth(2).commits();
    expect(answered).toEqual(["a1"]);
    jest.restoreAllMocks();
  });

  test("because more must be done there first is waited for, however often", async () => {
    const answered = (value: string) => ({ status: "fulfilled", value });
    expect(await asked({ held: true }, 50, 0)).toEqual([answered("a1"), answered("a2")]);
  });
});

describe("A request that has waited for longer than anybody waits for its answer", () => {
  let now = 0;
  beforeEach(() => {
    now = 1_000;
    jest.spyOn(performance, "now").mockImplementation(() => now);
  });
  afterEach(() => jest.restoreAllMocks());

  const refused = (request: string) =>
    `${request}: ${new ServiceUnavailable({ retryAfter: 1 }).message}`;

  test("is refused and not begun; those behind it are", async () => {
    const { submit, nth, answered } = counter({ withinMs: { begun: 100, done: 150 } });
    submit("A1", "A2");
    now += 50;
    submit("A3");
    now += 51;
    await nth(0).commits();
    expect(nth(1).requests).toEqual(["A3"]);
    await nth(1).commits();
    expect(answered).toEqual([refused("A2"), "a1", "a3"]);
  });

  test("is refused in a lane that is held, too", async () => {
    const { submit, nth, answered } = counter({ withinMs: { begun: 100, done: 150 } });
    submit("A1");
    await nth(0).commits("A");
    expect(nth(1)).toMatchObject({ requests: ["A1"], wait: true });
    submit("A2");
    now += 101;
    submit("A3");
    await nth(1).commits();
    expect(nth(2)).toMatchObject({ requests: ["A3"], wait: true });
    await nth(2).commits();
    expect(answered).toEqual(["a1", refused("A2"), "a3"]);
  });

  test("is refused alone where a batch was too late for it: those who have time left are tried without it", async () => {
    const { submit, nth, answered, asked } = counter({
      withinMs: { begun: 100, done: 150 },
      isTooLate: (error) => error === LATE,
    });
    submit("B0");
    submit("A1");
    now += 60;
    submit("A2", "A3");
    await nth(0).commits();
    now += 100;
    await nth(1).fails(LATE);
    await nth(2).commits();
    expect(asked()).toEqual([["B0"], ["A1", "A2", "A3"], ["A2", "A3"]]);
    expect(answered).toEqual(["b0", `A1: ${LATE.message}`, "a2", "a3"]);
  });

  test("is refused alone in a lane, too: those behind it have their turn", async () => {
    const { submit, nth, answered } = counter({
      withinMs: { begun: 100, done: 150 },
      isTooLate: (error) => error === LATE,
    });
    submit("A1");
    await nth(0).commits("A");
    submit("A2");
    now += 151;
    await nth(1).fails(LATE);
    submit("A3");
    await nth(2).commits();
    expect(answered).toEqual([`A1: ${LATE.message}`, refused("A2"), "a3"]);
  });

  test("is refused once where the clock has not come to it yet: it is not tried for ever", async () => {
    const { submit, nth, answered, asked } = counter({
      withinMs: { begun: 100, done: 150 },
      isTooLate: (error) => error === LATE,
    });
    submit("A1", "A2");
    await nth(0).fails(LATE);
    await nth(1).fails(LATE);
    expect(asked()).toEqual([["A1"], ["A2"]]);
    expect(answered).toEqual([`A1: ${LATE.message}`, `A2: ${LATE.message}`]);
  });

  test("is not waited for: a batch is to be done in the time of its oldest", async () => {
    const untils: number[] = [];
    const group = createGroupCommit<string, string>({
      ...ROOMY,
      withinMs: { begun: 100, done: 150 },
      async commit(requests, _wait, until) {
        untils.push(until);
        return requests.map(answerTo);
      },
      isOnesFault: () => false,
    });
    const first = group.submit("A1");
    now += 10;
    const second = group.submit("A2");
    now += 10;
    await Promise.all([first, second, group.submit("B1")]);
    expect(untils).toEqual([1_150, 1_160]);
  });
});
