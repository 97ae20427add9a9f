/**
 * Bookings by group commit: requests that arrive while a transaction is under way are decided together in the
 * next one, whatever events they are for. A row lock held through the flush to disk would let one booking in at
 * a time; here many share one flush. docs/decisions/0007-group-commit.md has the figures.
 */
import type { Clock } from "../../lib/clock";
import type { Config } from "../../lib/config";
import {
  type Database,
  DONE_WITHIN_MS,
  type Lock,
  type PreparedWork,
  type Query,
  RowHeld,
  TooLate,
} from "../../lib/database";
import { isError, ServiceUnavailable } from "../../lib/errors";
import { createGroupCommit, type GroupCommit, type Settled } from "../../lib/group-commit";
import { heldUsers } from "../../mixins/held-users";
import {
  answersCommands,
  checkSameRequest,
  type IdempotencyKey,
  KeyTaken,
  type StoredAnswer,
  storedAnswers,
} from "../../mixins/idempotency";
import { EventNotFound } from "../events/events.contract";
import { allocation } from "./bookings.allocation";
import type { OwnBooking } from "./bookings.rules";
import {
  CHUNK,
  type LockedEvent,
  leavingCommands,
  lockEvents,
  type NewSeats,
  newSeats,
  seatsCommand,
  tellingCommands,
  tidyUp,
} from "./bookings.seats";
import { codeOf } from "./bookings.tickets";

/** Requests in one transaction. */
const MOST_IN_BATCH = 256;
/** Requests that wait; at the speed of a small machine that is under two seconds. */
const MOST_WAITING = 4_000;
/** Requests that wait for one event that somebody else holds: two batches of its own. */
const MOST_WAITING_FOR_EVENT = 512;
/** So long a lane waits at a stretch; then the other events that are held have their turn. */
const LANE_TRY_MS = 200;
/** What has waited for longer is not begun any more: it must be done in {@link DONE_WITHIN_MS}, with its whole batch. */
const BEGUN_WITHIN_MS = 8_000;
/** Events at a time that somebody else holds and whose requests wait, each on a connection of its own. */
const MOST_HELD_UP = 2;

export interface BookingRequest {
  eventId: string;
  userId: string;
  quantity: number;
  key: IdempotencyKey | null;
  requestId: string | null;
}

export interface BookingAnswer {
  booking: OwnBooking;
  /** Whether this is the answer that the same request had before. */
  replayed: boolean;
}

type Outcome = Settled<BookingAnswer>;

interface Standing {
  /** Position of the request, from 1. */
  n: string;
  booked: boolean;
  waited: boolean;
  lapsed: boolean;
}

// Single values with a LIMIT, not EXISTS: for that the planner may read every active booking there is into a hash
// table, for each batch anew.
// FOR KEY SHARE: whoever erases a user waits for us and finds the booking, or we find them erased; whoever changes
// anything else about them is not in the way. SKIP LOCKED: one who is just being erased keeps nobody else waiting.
const STANDINGS = `
  WITH facts AS MATERIALIZED (
    SELECT e.id,
           (SELECT true FROM waitlist w WHERE w.event_id = e.id LIMIT 1) IS NOT NULL AS waited,
           (SELECT true FROM bookings b WHERE b.event_id = e.id AND b.status = 'pending'
               AND b.hold_expires_at <= $now::timestamptz LIMIT 1) IS NOT NULL AS lapsed
      FROM unnest($events::uuid[]) AS e (id))
  SELECT a.n, f.waited, f.lapsed,
         (SELECT true FROM bookings b WHERE b.event_id = a.event_id AND b.user_id = a.user_id
             AND b.status IN ('pending', 'confirmed') LIMIT 1) IS NOT NULL AS booked
    FROM unnest($eventIds::uuid[], $userIds::uuid[]) WITH ORDINALITY AS a (event_id, user_id, n)
    JOIN facts f ON f.id = a.event_id
    JOIN users u ON u.id = a.user_id AND u.deleted_at IS NULL
     FOR KEY SHARE OF u SKIP LOCKED`;

/** A booking that was just made, as its owner sees it. */
function bookingOf(seats: NewSeats, now: Date): OwnBooking {
  const { event, ticketIds } = seats;
  return {
    id: seats.id,
    eventId: event.id,
    userId: seats.userId,
    quantity: seats.quantity,
    status: seats.status,
    amount: seats.amount,
    currency: seats.currency,
    holdExpiresAt: seats.holdExpiresAt?.toISOString() ?? null,
    tickets: ticketIds.map((id) => ({ id, code: codeOf(id, event.ticketKey), status: "valid" })),
    createdAt: now.toISOString(),
    updatedAt: now.toISOString(),
    event: {
      id: event.id,
      title: event.title,
      startDateTime: event.startDateTime.toISOString(),
      endDateTime: event.endDateTime.toISOString(),
      timeZone: event.timeZone,
      location: event.location,
      // Nothing else can be booked.
      status: "published",
      host: { id: event.hostId, name: event.hostName },
    },
  };
}

/** A request on its way through a batch. */
interface Case {
  readonly request: BookingRequest;
  /** Its event, once locked. */
  event?: LockedEvent;
  standing?: Standing | undefined;
  outcome?: Outcome;
  /** What is written for it, when it gets its seats. */
  seats?: NewSeats;
  /** The case earlier in the batch under the same key: this one has its answer too, or is refused for another request. */
  first?: Case;
}

/** A case that is still to be decided. */
type OpenCase = Case & { event: LockedEvent };

const isOpen = (one: Case): one is OpenCase => one.event !== undefined && !one.outcome;

const nameOf = ({ userId, key }: { userId: string; key: string }) => `${userId} ${key}`;

/** The first answer once more, or a refusal where the key stands for another request. */
function answeredBefore(key: IdempotencyKey, before: StoredAnswer<OwnBooking>): Outcome {
  try {
    checkSameRequest(key, before);
    return { answer: { booking: before.answer, replayed: true } };
  } catch (error) {
    return { error };
  }
}

/** What the database knows of each request, by its position; nothing of one whose user is not there or held. */
async function standingsOf(
  query: Query,
  requests: readonly BookingRequest[],
  now: Date,
): Promise<Map<number, Standing>> {
  const eventIds = requests.map(({ eventId }) => eventId);
  const rows = await query<Standing>(STANDINGS, {
    now,
    events: [...new Set(eventIds)],
    eventIds,
    userIds: requests.map(({ userId }) => userId),
  });
  return new Map(rows.map((row) => [Number(row.n) - 1, row]));
}

/**
 * Locks the events of a batch and reads what its requests are decided by. What is already decided by that, is:
 * whose event is not there or somebody else's for the moment, who is held, and who has been answered before.
 */
async function read(
  { query, together }: PreparedWork,
  requests: readonly BookingRequest[],
  { wait, lock, clock }: { wait: boolean; lock: Lock; clock: Clock },
): Promise<{ cases: Case[]; now: Date }> {
  const ids = requests.map(({ eventId }) => eventId);
  const keys = requests.flatMap(({ key }) => key ?? []);
  const lockAll = () => lockEvents(query, ids, { wait });
  // Statements of their own after the locks: they see what whoever held the events before has committed.
  const look = (now: Date) =>
    Promise.all([storedAnswers<OwnBooking>(query, keys, now), standingsOf(query, requests, now)]);
  const lockAndLook = async () => {
    if (wait) {
      const events = await lock(lockAll);
      // Only now: whoever waited decides by the time at which it came.
      const now = clock.now();
      return { now, events, facts: await together(() => look(now)) };
    }
    const now = clock.now();
    const [events, facts] = await together(() => Promise.all([lockAll(), look(now)]));
    return { now, events, facts };
  };

  const { now, events, facts } = await lockAndLook();
  const [stored, standings] = facts;
  const byName = new Map(stored.map((answer) => [nameOf(answer), answer]));
  const absent = requests.filter((_, i) => !standings.has(i)).map(({ userId }) => userId);
  const held = await heldUsers(query, absent);
  const cases = requests.map((request, i): Case => {
    const before = request.key && byName.get(nameOf(request.key));
    if (request.key && before) return { request, outcome: answeredBefore(request.key, before) };
    const event = events.get(request.eventId);
    if (event === "held") return { request, outcome: { held: true } };
    if (event && held.has(request.userId) && !standings.has(i)) {
      return { request, outcome: { error: new ServiceUnavailable({ retryAfter: 1 }) } };
    }
    if (event) return { request, event, standing: standings.get(i) };
    return { request, outcome: { error: new EventNotFound({ eventId: request.eventId }) } };
  });
  return { cases, now };
}

/** Decides and writes one batch whose events are locked; gives whether anything was written. */
async function decide(
  { query, send, commit }: PreparedWork,
  cases: readonly Case[],
  { now, holdSeconds, offerSeconds }: { now: Date; holdSeconds: number; offerSeconds: number },
): Promise<boolean> {
  let written = false;

  const hold = (event: LockedEvent) => {
    for (const one of cases) if (one.event === event) one.outcome ??= { held: true };
  };

  /** Seats of lapsed holds, and whatever else is free, belong to those who wait before anybody else. */
  const tidyUpAll = async () => {
    const untidy = new Map<LockedEvent, Standing>();
    for (const { event, standing } of cases.filter(isOpen)) {
      if (standing?.lapsed || standing?.waited) untidy.set(event, standing);
    }
    let left = CHUNK;
    for (const [event, due] of untidy) {
      // All events of a batch together may take as long as one: the others have their turn in lanes of their own.
      if (left <= 0) {
        hold(event);
        continue;
      }
      const { expired, promoted, more } = await tidyUp(query, event, now, offerSeconds, due);
      left -= expired + promoted;
      if (expired + promoted > 0) written = true;
      // More than one transaction should do: the next one goes on, and then it is the public's turn.
      if (more) hold(event);
    }
    if (written) await lookAgain();
  };

  /** Who waited may have seats now, and whose hold has lapsed may book anew. */
  const lookAgain = async () => {
    const open = cases.filter(isOpen);
    if (open.length === 0) return;
    const requests = open.map(({ request }) => request);
    const standings = await standingsOf(query, requests, now);
    open.forEach((one, i) => {
      one.standing = standings.get(i);
    });
  };

  const allocate = () => {
    const decideOne = allocation(now);
    const firstUnderKey = new Map<string, Case>();
    for (const one of cases.filter(isOpen)) {
      const { event, standing, request } = one;
      const { userId, quantity, key, requestId } = request;
      const first = key && firstUnderKey.get(nameOf(key));
      if (first) {
        one.first = first;
        continue;
      }
      const error = decideOne({
        event,
        userId,
        quantity,
        userExists: standing !== undefined,
        bookedAlready: standing?.booked ?? false,
      });
      if (error) {
        one.outcome = { error };
        continue;
      }
      const how = { holdSeconds, fromWaitlist: false, requestId };
      one.seats = newSeats(event, { userId, quantity }, now, how);
      if (key) firstUnderKey.set(nameOf(key), one);
    }
  };

  /** Answers all who have got seats; gives what is kept of that for the repetitions to come. */
  const answer = (): StoredAnswer<OwnBooking>[] => {
    const answers = new Map<Case, StoredAnswer<OwnBooking>>();
    for (const one of cases) {
      const { seats, first, request } = one;
      const { key } = request;
      if (seats) {
        const booking = bookingOf(seats, now);
        one.outcome = { answer: { booking, replayed: false } };
        if (key) answers.set(one, { ...key, answer: booking });
      }
      const before = first && answers.get(first);
      if (key && before) one.outcome = answeredBefore(key, before);
    }
    return [...answers.values()];
  };

  const write = async () => {
    const booked = cases.flatMap(({ seats, standing }) => (seats ? [{ seats, standing }] : []));
    if (booked.length === 0) return;
    written = true;
    const waited = booked.filter(({ standing }) => standing?.waited);
    const seatsOf = (some: typeof booked) => some.map(({ seats }) => seats);
    // The database is at work on the seats while the answers are made.
    send([seatsCommand(seatsOf(booked), now)]);
    const answers = answer();
    await commit([
      ...tellingCommands(seatsOf(booked), now),
      ...leavingCommands(seatsOf(waited)),
      ...answersCommands(answers, now),
    ]);
  };

  await tidyUpAll();
  allocate();
  await write();
  return written;
}

const UNDECIDED = { error: new Error("A request was not decided") };

/** Takes bookings in batches. */
export function bookingBatches(
  database: Database,
  clock: Clock,
  config: Pick<Config, "bookingHoldSeconds" | "waitlistOfferSeconds" | "databasePool">,
): GroupCommit<BookingRequest, BookingAnswer> {
  const attempt = (requests: BookingRequest[], wait: boolean, until: number) =>
    database.prepared(
      async (work, lock) => {
        const { cases, now } = await read(work, requests, { wait, lock, clock });
        const written = await decide(work, cases, {
          now,
          holdSeconds: config.bookingHoldSeconds,
          offerSeconds: config.waitlistOfferSeconds,
        });
        if (!written) work.nothingWritten();
        return cases.map(({ outcome }) => outcome ?? UNDECIDED);
      },
      { ahead: true, until, ...(wait ? { lockTimeoutMs: LANE_TRY_MS } : {}) },
    );
  /** In a lane, what could not be had in a moment is tried again when the other lanes have had their turn. */
  const attemptInLane = async (requests: BookingRequest[], until: number): Promise<Outcome[]> => {
    try {
      return await attempt(requests, true, until);
    } catch (error) {
      if (!(error instanceof RowHeld)) throw error;
      return requests.map(() => ({ held: true, byOthers: true }));
    }
  };

  return createGroupCommit({
    most: MOST_IN_BATCH,
    waiting: MOST_WAITING,
    waitingInLane: MOST_WAITING_FOR_EVENT,
    // Something must be left for everybody else.
    lanes: Math.max(1, Math.min(MOST_HELD_UP, Math.floor(config.databasePool / 5))),
    laneWaitMs: database.lockTimeoutMs,
    withinMs: { begun: BEGUN_WITHIN_MS, done: DONE_WITHIN_MS },
    laneOf: ({ eventId }) => eventId,
    async commit(requests, wait, until) {
      const tried = () => (wait ? attemptInLane(requests, until) : attempt(requests, false, until));
      try {
        return await tried();
      } catch (error) {
        if (!(error instanceof KeyTaken)) throw error;
        // Another node was faster with one of the keys: its answer is found now.
        return tried();
      }
    },
    isTooLate: (error) => error instanceof TooLate,
    // What the database cannot do at the moment it can do for nobody; anything else may be one's own.
    isOnesFault: (error) => !isError(error, ServiceUnavailable),
  });
}
