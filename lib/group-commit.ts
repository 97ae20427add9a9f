import { ServiceUnavailable } from "./errors";

/** What became of one request of a batch. */
export type Settled<A> =
  | { readonly answer: A }
  | { readonly error: unknown }
  /**
   * Not decided: more must be done there first, of which some has been done; or, `byOthers`, nothing could be done,
   * because somebody else holds what its lane needs.
   */
  | { readonly held: true; readonly byOthers?: true };

export interface GroupCommitOptions<Q, A> {
  /** Requests in one batch. */
  most: number;
  /** Requests that may wait, those in batches under way included; one more is refused. */
  waiting: number;
  /**
   * Requests that may wait in one lane that is held, besides those whose turn it is: it must not take the places of
   * all the others.
   */
  waitingInLane: number;
  /** Lanes that wait for somebody else at a time, each with a transaction of its own. */
  lanes: number;
  /** For so long, in milliseconds, a lane is held by somebody else at the most; then all in it are refused. */
  laneWaitMs: number;
  /**
   * Milliseconds from when a request came in which it must have begun, and in which it must be done: whoever asked has
   * gone after that. As long as it takes unless told.
   */
  withinMs?: { begun: number; done: number };
  /** What a request needs for itself alone for a moment: requests of one lane are held up together. */
  laneOf(request: Q): string;
  /**
   * Decides a batch in one transaction; the answers come after its commit, in the order of the requests.
   *
   * @param wait false: what somebody else holds is given back as held; true: all are of one lane, and it waits for a
   *   moment before it gives that back, so that a lane that is held for long does not keep the place of another one
   * @param until when it must have come to its COMMIT, by `performance.now()`; nothing may be done after that
   */
  commit(requests: Q[], wait: boolean, until: number): Promise<Settled<A>[]>;
  /** Whether a batch failed for one of its requests, so that the others are to be tried without it. */
  isOnesFault(error: unknown): boolean;
  /** Whether a batch was not done because it had not come to its COMMIT by `until`, the time of its oldest; never unless told. */
  isTooLate?(error: unknown): boolean;
}

export interface GroupCommit<Q, A> {
  /**
   * Puts a request into the next batch; requests of one lane are decided in order of arrival.
   *
   * @throws ServiceUnavailable at once when too many wait, in all or in a lane that is held; later when it could not
   *   be done in time, and was not done
   */
  submit(request: Q): Promise<A>;
  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void>;
}

/** The end of a request. */
type Final<A> = Exclude<Settled<A>, { readonly held: true }>;

interface Entry<Q, A> {
  request: Q;
  /** When it came, by `performance.now()`. */
  cameAt: number;
  settle(outcome: Final<A>): void;
}

/** As a batch gives it: where the whole of it failed for a reason that is nobody's own, for everybody in it. */
type Outcome<A> = Settled<A> | { readonly error: unknown; readonly forAll: true };

/**
 * Those of the lanes with the fewest come first, in each as they are: whoever is alone shall not have to wait until
 * everybody of a rush beside them has been answered.
 */
function fewestFirst<T>(all: readonly T[], laneOf: (one: T) => string): readonly T[] {
  const counts = new Map<string, number>();
  const countOf = (one: T) => counts.get(laneOf(one)) ?? 0;
  for (const one of all) counts.set(laneOf(one), countOf(one) + 1);
  return counts.size > 1 ? all.toSorted((a, b) => countOf(a) - countOf(b)) : all;
}

const tooLong = () => ({ error: new ServiceUnavailable({ retryAfter: 1 }) });
/** For a commit that forgets a request: whoever sent it must not wait for ever. */
const LOST = { error: new Error("A batch has lost a request") };
const HELD = { held: true } as const;

/**
 * Group commit: at most one batch is under way, and what arrives meanwhile is the next one, so that the time of
 * a flush to disk is paid once for all of them. There is no timer: a lone request is a batch of its own at once.
 *
 * A lane that somebody else holds up leaves the batches until it is through; its requests wait for their turn
 * beside them.
 */
export function createGroupCommit<Q, A>(options: GroupCommitOptions<Q, A>): GroupCommit<Q, A> {
  const queue: Entry<Q, A>[] = [];
  const held = new Map<string, Entry<Q, A>[]>();
  /** Since when each lane was found held by somebody else in every turn of its own, by `performance.now()`. */
  const heldSince = new Map<string, number>();
  /** Lanes that are held up and wait for a transaction of their own. */
  const lanesWaiting: string[] = [];
  let lanesUnderWay = 0;
  let batchUnderWay = false;
  let unsettled = 0;
  let becameIdle: (() => void)[] = [];

  const laneOf = ({ request }: Entry<Q, A>) => options.laneOf(request);

  const settle = ({ settle }: Entry<Q, A>, outcome: Final<A>) => {
    unsettled--;
    settle(outcome);
    if (unsettled > 0) return;
    for (const tell of becameIdle) tell();
    becameIdle = [];
  };

  /** Those who have not waited for too long; the others are refused. */
  const inTime = (entries: Entry<Q, A>[]): Entry<Q, A>[] => {
    const begunMs = options.withinMs?.begun ?? Number.POSITIVE_INFINITY;
    const now = performance.now();
    return entries.filter((entry) => {
      const isInTime = now - entry.cameAt <= begunMs;
      if (!isInTime) settle(entry, tooLong());
      return isInTime;
    });
  };

  /** Until when these are to be done, all of them. */
  const untilOf = (entries: Entry<Q, A>[]): number =>
    Math.min(...entries.map(({ cameAt }) => cameAt)) +
    (options.withinMs?.done ?? Number.POSITIVE_INFINITY);

  const isForAll = (outcome: Outcome<A>): outcome is { readonly error: unknown; forAll: true } =>
    "forAll" in outcome;

  /** What became of each entry; never throws. */
  const decide = async (entries: Entry<Q, A>[], wait: boolean): Promise<Outcome<A>[]> => {
    try {
      return await options.commit(
        entries.map(({ request }) => request),
        wait,
        untilOf(entries),
      );
    } catch (error) {
      if (options.isTooLate?.(error)) return withoutLate(entries, wait, error);
      if (!options.isOnesFault(error)) return entries.map(() => ({ error, forAll: true }));
      return entries.length === 1 ? [{ error }] : decideOneByOne(entries, wait);
    }
  };

  /** Refuses those whose time is up, one at least; the others, who have some left, are tried without them. */
  const withoutLate = async (
    entries: Entry<Q, A>[],
    wait: boolean,
    error: unknown,
  ): Promise<Outcome<A>[]> => {
    const now = Math.max(performance.now(), untilOf(entries));
    const inTime = entries.filter((entry) => untilOf([entry]) > now);
    const outcomes = inTime.length > 0 ? await decide(inTime, wait) : [];
    const byEntry = new Map(inTime.map((entry, i) => [entry, outcomes[i] ?? LOST]));
    return entries.map((entry) => byEntry.get(entry) ?? { error });
  };

  const decideOneByOne = async (entries: Entry<Q, A>[], wait: boolean): Promise<Outcome<A>[]> => {
    const outcomes: Outcome<A>[] = [];
    const heldUp = new Set<string>();
    let ofAll: Outcome<A> | undefined;
    for (const entry of entries) {
      const lane = laneOf(entry);
      // A lane that is free again a moment later stays held, or its later requests would overtake the first.
      const outcome = ofAll ?? (heldUp.has(lane) ? HELD : (await decide([entry], wait))[0]) ?? LOST;
      if ("held" in outcome) heldUp.add(lane);
      // What cannot be had for one is not waited for again for each of those behind.
      if (isForAll(outcome)) ofAll = outcome;
      outcomes.push(outcome);
    }
    return outcomes;
  };

  const waitInLane = (others: Entry<Q, A>[], entry: Entry<Q, A>) => {
    if (others.length < options.waitingInLane) others.push(entry);
    else settle(entry, tooLong());
  };

  /** These are held. Whoever of their lanes is still in the queue came after them and before all who come now. */
  const putAside = (entries: readonly Entry<Q, A>[]) => {
    const lanes = new Set<string>();
    for (const entry of entries) {
      const lane = laneOf(entry);
      lanes.add(lane);
      const others = held.get(lane);
      if (others) waitInLane(others, entry);
      else {
        held.set(lane, [entry]);
        lanesWaiting.push(lane);
      }
    }
    if (lanes.size === 0) return;
    for (const entry of queue.splice(0)) {
      const others = lanes.has(laneOf(entry)) ? held.get(laneOf(entry)) : undefined;
      if (others) waitInLane(others, entry);
      else queue.push(entry);
    }
  };

  const runLane = async (lane: string) => {
    lanesUnderWay++;
    const entries = held.get(lane) ?? [];
    const some = inTime(entries.splice(0, options.most));
    const outcomes = some.length > 0 ? await decide(some, true) : [];
    const now = performance.now();
    const isStuck =
      some.length > 0 && outcomes.every((outcome) => "held" in outcome && outcome.byOthers);
    // Where nobody was left to try, nothing was learnt; and a first turn may have waited for something else.
    if (isStuck) heldSince.set(lane, heldSince.get(lane) ?? now);
    else if (some.length > 0) heldSince.delete(lane);
    // What cannot be had for these, who came first, is not waited for again for those behind them.
    const cannotBeHad = outcomes.find(isForAll);
    if (cannotBeHad) for (const entry of entries.splice(0)) settle(entry, cannotBeHad);
    const again: Entry<Q, A>[] = [];
    some.forEach((entry, i) => {
      const outcome = outcomes[i] ?? LOST;
      if ("held" in outcome) again.push(entry);
      else settle(entry, outcome);
    });
    // What counts is how long somebody waits, turns of others included; but nobody is refused for the first one.
    if (now - (heldSince.get(lane) ?? now) < options.laneWaitMs || !isStuck) {
      entries.unshift(...again);
    } else for (const entry of [...again, ...entries.splice(0)]) settle(entry, tooLong());
    // Behind the others that wait for a place: a lane that is held for long must not keep theirs.
    if (entries.length > 0) lanesWaiting.push(lane);
    else {
      held.delete(lane);
      heldSince.delete(lane);
    }
    lanesUnderWay--;
    runLanes();
  };

  const runLanes = () => {
    while (lanesUnderWay < options.lanes) {
      const lane = lanesWaiting.shift();
      if (lane === undefined) return;
      void runLane(lane);
    }
  };

  const runBatches = async () => {
    if (batchUnderWay) return;
    batchUnderWay = true;
    while (queue.length > 0) {
      const some = inTime(queue.splice(0, options.most));
      if (some.length === 0) continue;
      const outcomes = await decide(some, false);
      const heldUp: Entry<Q, A>[] = [];
      const decided: [Entry<Q, A>, Final<A>][] = [];
      some.forEach((entry, i) => {
        const outcome = outcomes[i] ?? LOST;
        if ("held" in outcome) heldUp.push(entry);
        else decided.push([entry, outcome]);
      });
      const answers = fewestFirst(decided, ([entry]) => laneOf(entry));
      // The next batch is on its way to the database before the answers of this one take the processor.
      setImmediate(() => {
        for (const [entry, outcome] of answers) settle(entry, outcome);
      });
      putAside(heldUp);
      runLanes();
    }
    batchUnderWay = false;
  };

  return {
    async submit(request) {
      if (unsettled >= options.waiting) throw new ServiceUnavailable({ retryAfter: 1 });
      unsettled++;
      return new Promise<A>((resolve, reject) => {
        const entry: Entry<Q, A> = {
          request,
          cameAt: performance.now(),
          settle(outcome) {
            if ("answer" in outcome) resolve(outcome.answer);
            else reject(outcome.error);
          },
        };
        const others = held.get(laneOf(entry));
        if (others) waitInLane(others, entry);
        else {
          queue.push(entry);
          void runBatches();
        }
      });
    },

    idle: () =>
      unsettled === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            becameIdle.push(resolve);
          }),
  };
}
