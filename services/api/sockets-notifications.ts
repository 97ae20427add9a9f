import type { Call, Log, ResultOf } from "../../lib/contract/define";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { About } from "../../mixins/nudges";
import type { Contracts } from "../contracts";
import { MOST_NEW_AT_ONCE, MOST_USERS_AT_ONCE } from "../notifications/notifications.contract";
import type { Peer } from "./sockets-peer";
import { type Frame, frameOf } from "./sockets-protocol";

/** Whoever was not nudged looks so often. */
const LOOK_EVERY_MS = 2_000;
/** Between two looks, however often somebody nudges. */
const LEAST_PAUSE_MS = 25;
/**
 * A notification counts from the moment at which it was begun to be written, which by the clock of another node may lie
 * a little back; so looks overlap.
 */
const OVERLAP_MS = 5_000;
/** What took very long to be written is found by a look that goes back further, now and then. */
const LONG_OVERLAP_MS = 60_000;
const LONG_EVERY_MS = 20_000;
/** So long it is remembered what a socket has got: twice as long as any look goes back. */
const REMEMBERED_MS = 2 * LONG_OVERLAP_MS;

type New = ResultOf<Contracts["notifications"]["actions"]["$listNew"]>["data"][number];

interface Recipient {
  readonly peer: Peer;
  /** What it must not get again, by when that was told. */
  readonly had: Map<string, number>;
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
  let allNudged = false;
  let looking: RepeatedWork | undefined;
  let looksAtAllAt = 0;
  let looksLongAt = 0;

  /** Everything these people were told in so many milliseconds, oldest first. */
  async function* toldTo(userIds: string[], overlapMs: number): AsyncGenerator<New> {
    let place: { since: string; after?: string } = {
      since: new Date(clock.now().getTime() - overlapMs).toISOString(),
    };
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
  const forgetOld = () => {
    const before = clock.now().getTime() - REMEMBERED_MS;
    for (const recipients of people.values()) {
      for (const { had } of recipients) {
        for (const [id, at] of had) if (at < before) had.delete(id);
      }
    }
  };

  const deliver = ({ userId, ...notification }: New) => {
    let frame: Frame | undefined;
    for (const recipient of people.get(userId) ?? []) {
      if (!recipient.isReady || recipient.had.has(notification.id)) continue;
      remember(recipient, notification);
      frame ??= notificationFrame(notification);
      recipient.peer.tell(frame);
    }
  };
  const lookFor = async (userIds: readonly string[], overlapMs: number) => {
    for (let i = 0; i < userIds.length; i += MOST_USERS_AT_ONCE) {
      const some = userIds.slice(i, i + MOST_USERS_AT_ONCE);
      for await (const told of toldTo(some, overlapMs)) deliver(told);
    }
  };
  const look = async () => {
    const now = performance.now();
    const isAll = allNudged || now >= looksAtAllAt;
    const isLong = now >= looksLongAt;
    const some = nudged;
    nudged = new Set();
    allNudged = false;
    if (isAll || isLong) {
      await lookFor([...people.keys()], isLong ? LONG_OVERLAP_MS : OVERLAP_MS);
      looksAtAllAt = now + LOOK_EVERY_MS;
      if (!isLong) return;
      forgetOld();
      looksLongAt = now + LONG_EVERY_MS;
    } else {
      await lookFor([...some], OVERLAP_MS);
    }
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
      looking = repeat({
        pauseMs: LOOK_EVERY_MS,
        log,
        failed: "News for those who are connected could not be looked up",
        async work() {
          const startedAt = performance.now();
          await look();
          const tookMs = performance.now() - startedAt;
          return { pauseMs: LOOK_EVERY_MS, restMs: Math.max(LEAST_PAUSE_MS, tookMs) };
        },
      });
    },

    async open(peer, userId, since) {
      const recipient: Recipient = { peer, had: new Map(), isReady: false };
      people.set(userId, [...(people.get(userId) ?? []), recipient]);
      // What stands there before anything is sent was had already, or was missed; all that comes later is news.
      for await (const told of toldTo([userId], LONG_OVERLAP_MS)) remember(recipient, told);
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
      if (whom === "many") allNudged = people.size > 0;
      else for (const one of whom) if (people.has(one)) nudged.add(one);
      if (allNudged || nudged.size > 0) looking?.soon(0);
    },

    async stop() {
      await looking?.stop();
    },
  };
}
