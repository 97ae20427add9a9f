import type { Call, Log, ResultOf } from "../../lib/contract/define";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { About } from "../../mixins/nudges";
import type { Contracts } from "../contracts";
import { MOST_NEW_AT_ONCE, MOST_USERS_AT_ONCE } from "../notifications/notifications.contract";
import type { Peer } from "./sockets-peer";
import { type Frame, frameOf } from "./sockets-protocol";

/** For whoever was not nudged it is looked so often. */
const LOOK_EVERY_MS = 2_000;
/** Between two looks, however often somebody nudges. */
const LEAST_PAUSE_MS = 25;
/** A look at everybody takes no more than a fourth of the time, however many chunks of an audience are told meanwhile. */
const REST_FACTOR = 3;
/** So long it rests at the most, however long a look took. */
const MOST_REST_MS = LOOK_EVERY_MS;
/**
 * A notification counts from the moment at which it was begun to be written, which by the clock of another node may lie
 * a little back; so looks overlap.
 */
const OVERLAP_MS = 5_000;
/** What took very long to be written is found by a sweep, which goes back further and comes now and then. */
const SWEEP_OVERLAP_MS = 40_000;
const SWEEP_EVERY_MS = 20_000;

type New = ResultOf<Contracts["notifications"]["actions"]["$listNew"]>["data"][number];

interface Recipient {
  readonly peer: Peer;
  /** What it must not get again, by when that was told. */
  readonly had: Map<string, number>;
  /** What is older is no news to it. */
  readonly from: number;
  /** Not before it has what it missed. */
  isReady: boolean;
}

export interface LiveNotifications {
  start(log: Log): void;
  /**
   * Sends what a person is told from now on, and before that what they missed.
   *
   * @param since the last notification that they have; nothing was missed without
   * @throws NotificationNotFound where that is none of theirs; what comes later is sent all the same
   */
  open(peer: Peer, userId: string, since: string | undefined): Promise<void>;
  forget(peer: Peer, userId: string): void;
  /** Looks for news of these people at once. */
  nudge(whom: About): void;
  stop(): Promise<void>;
}

const notificationFrame = (notification: object): Frame =>
  frameOf({ type: "notification", notification });

/**
 * What people are told, for those who are connected here. It is looked for where it stands, so it is the same on every
 * node, whoever wrote it; a nudge says when to look.
 */
export function liveNotifications(
  call: Call<Contracts>,
  clock: Kernel["clock"],
): LiveNotifications {
  const people = new Map<string, Recipient[]>();
  let nudged = new Set<string>();
  let looking: RepeatedWork | undefined;
  let lookingAtAll: RepeatedWork | undefined;
  let sweeping: RepeatedWork | undefined;
  const now = () => clock.now().getTime();
  /** When the last look at everybody began that came to its end, and the last sweep: the next one goes back to there. */
  let lookedAt = now();
  let sweptAt = now();

  /** Everything these people were told since a moment, oldest first. */
  async function* toldTo(userIds: string[], since: number): AsyncGenerator<New> {
    let place: { since: string; after?: string } = { since: new Date(since).toISOString() };
    for (;;) {
      const { data } = await call("notifications.$listNew", { userIds, ...place });
      yield* data;
      const last = data.at(-1);
      if (!last || data.length < MOST_NEW_AT_ONCE) return;
      place = { since: last.createdAt, after: last.id };
    }
  }

  const remember = ({ had }: Recipient, { id, createdAt }: { id: string; createdAt: string }) => {
    had.set(id, Date.parse(createdAt));
  };
  /** What no look goes back to any more. */
  const forgetOld = () => {
    const before = Math.min(lookedAt, sweptAt) - 2 * SWEEP_OVERLAP_MS;
    for (const recipients of people.values()) {
      for (const { had } of recipients) {
        for (const [id, at] of had) if (at < before) had.delete(id);
      }
    }
  };

  const deliver = ({ userId, ...notification }: New) => {
    let frame: Frame | undefined;
    const at = Date.parse(notification.createdAt);
    for (const recipient of people.get(userId) ?? []) {
      const isNews = at >= recipient.from && !recipient.had.has(notification.id);
      if (!recipient.isReady || !isNews) continue;
      remember(recipient, notification);
      frame ??= notificationFrame(notification);
      recipient.peer.tell(frame);
    }
  };
  const lookFor = async (userIds: readonly string[], since: number) => {
    for (let i = 0; i < userIds.length; i += MOST_USERS_AT_ONCE) {
      const some = userIds.slice(i, i + MOST_USERS_AT_ONCE);
      for await (const told of toldTo(some, since)) deliver(told);
    }
  };
  const lookForNudged = async () => {
    const some = [...nudged];
    nudged = new Set();
    await lookFor(some, now() - OVERLAP_MS);
  };
  const lookForAll = async () => {
    const startedAt = now();
    await lookFor([...people.keys()], lookedAt - OVERLAP_MS);
    lookedAt = startedAt;
  };
  const sweep = async () => {
    const startedAt = now();
    await lookFor([...people.keys()], sweptAt - SWEEP_OVERLAP_MS);
    sweptAt = startedAt;
    forgetOld();
  };
  /** Work that is done as soon as somebody asks for it, but rests for as many times as long as it took. */
  const rested = (work: () => Promise<void>, factor: number) => async () => {
    const startedAt = performance.now();
    await work();
    const restMs = factor * (performance.now() - startedAt);
    return {
      pauseMs: LOOK_EVERY_MS,
      restMs: Math.min(Math.max(LEAST_PAUSE_MS, restMs), MOST_REST_MS),
    };
  };

  const catchUp = async (recipient: Recipient, userId: string, since: string) => {
    for (let id = since; recipient.peer.isOpen; ) {
      const { data } = await call("notifications.$listAfter", { userId, id });
      for (const notification of data) remember(recipient, notification);
      // As fast as it takes them in: what it missed may be more than we would keep for it.
      await recipient.peer.tellAll(data.map(notificationFrame));
      const last = data.at(-1);
      if (!last || data.length < MOST_NEW_AT_ONCE) return;
      id = last.id;
    }
  };

  return {
    start(log) {
      const failed = "News for those who are connected could not be looked up";
      // Each by itself: whoever is nudged waits for no look at everybody.
      looking = repeat({ pauseMs: LOOK_EVERY_MS, work: rested(lookForNudged, 1), log, failed });
      lookingAtAll = repeat({
        pauseMs: LOOK_EVERY_MS,
        work: rested(lookForAll, REST_FACTOR),
        log,
        failed,
      });
      sweeping = repeat({ pauseMs: SWEEP_EVERY_MS, work: sweep, log, failed });
    },

    async open(peer, userId, since) {
      const openedAt = now();
      const from = openedAt - SWEEP_OVERLAP_MS;
      const recipient: Recipient = { peer, had: new Map(), from, isReady: false };
      people.set(userId, [...(people.get(userId) ?? []), recipient]);
      // What was there before is had already, or was missed; all that is told from now on is news.
      for await (const told of toldTo([userId], from)) {
        if (Date.parse(told.createdAt) < openedAt) remember(recipient, told);
      }
      try {
        if (since !== undefined) await catchUp(recipient, userId, since);
      } finally {
        recipient.isReady = true;
        nudged.add(userId);
        looking?.soon(0);
      }
    },

    forget(peer, userId) {
      const others = (people.get(userId) ?? []).filter((recipient) => recipient.peer !== peer);
      if (others.length > 0) people.set(userId, others);
      else people.delete(userId);
    },

    nudge(whom) {
      if (whom === "many") {
        if (people.size > 0) lookingAtAll?.soon(0);
        return;
      }
      for (const one of whom) if (people.has(one)) nudged.add(one);
      if (nudged.size > 0) looking?.soon(0);
    },

    async stop() {
      await Promise.all([looking, lookingAtAll, sweeping].map((work) => work?.stop()));
    },
  };
}
