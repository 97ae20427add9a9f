/**
 * Sends what is to go out of the system. Any number of nodes may: each claims some for a while, sends it outside of any
 * transaction, and notes what became of it. What cannot be sent is tried again, later and later.
 */
import { setTimeout } from "node:timers/promises";
import type { Log } from "../../lib/contract/define";
import type { Database } from "../../lib/database";
import { removeInChunks } from "../../lib/remove-in-chunks";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import {
  type DeliveriesStore,
  type Delivery,
  FORGET,
  MOST_ATTEMPTS,
  type Outgoing,
} from "./notifications.deliveries";
import type { Outdated } from "./notifications.messages";
import type { Rush } from "./notifications.rush";
import {
  type Message,
  NotAsked,
  RecipientRefused,
  type Sender,
  SenderUnavailable,
  TryLater,
  Unanswered,
} from "./senders/sender";

/** What other nodes have stored is looked for so often, and what is to be tried again. */
const LOOK_EVERY_MS = 1_000;
/** What this process stores is committed by then as a rule. */
const AFTER_STORING_MS = 100;
/** Claimed by one round; of a rush only what it can do before it rests. */
const CLAIMED = 8;
const CLAIMED_IN_RUSH = 1;
const AT_ONCE = 4;
/** Longer no sender may take for one message; two of them one after the other, and what they are made of, fit in a lease. */
const SEND_WITHIN_MS = 90_000;
/** In a rush it rests twelve times as long as it works: what is booked must not wait for mails. */
const REST_FACTOR = 12;
const LONGEST_REST_MS = 2_000;
/** While whom one sends by is away, so long until it is asked again; longer each time. */
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
/** That something was sent is noted again after these: what is not noted is sent again. */
const NOTE_AGAIN_MS: readonly number[] = [100, 1_000, 5_000, 15_000];
/** What is under way when the process stops has so long. */
const DRAIN_MS = 5_000;
const FORGET_EVERY_MS = 3_600_000;

export interface Delivering {
  /** Asks for what this process has just stored. */
  soon(): void;
  /** Comes to an end with what is under way. */
  stop(): Promise<void>;
}

/** @param messageOf makes what is sent of what is stored, as things are then */
export function deliver(
  {
    database,
    store,
    senders,
    rush,
    log,
  }: {
    database: Database;
    store: DeliveriesStore;
    senders: readonly Sender[];
    rush: Rush;
    log: Log;
  },
  messageOf: (outgoing: Outgoing) => Promise<Message | Outdated>,
): Delivering {
  const givingUp = new AbortController();
  const channels = senders.map(({ channel }) => channel);

  /** Works a little; in a rush it rests afterwards. */
  const inTurns = (failed: string, work: (stopping: AbortSignal) => Promise<{ again: boolean }>) =>
    repeat({
      pauseMs: LOOK_EVERY_MS,
      log,
      failed,
      async work(stopping) {
        const startedAt = performance.now();
        const { again } = await work(stopping);
        const tookMs = performance.now() - startedAt;
        return {
          pauseMs: again ? 0 : LOOK_EVERY_MS,
          restMs: rush.isOn() ? Math.min(REST_FACTOR * tookMs, LONGEST_REST_MS) : 0,
        };
      },
    });

  const noteSent = async (id: string): Promise<boolean> => {
    for (const pauseMs of NOTE_AGAIN_MS) {
      try {
        return await store.sent(id);
      } catch {
        // Once more at once where the process ends.
        await setTimeout(pauseMs, undefined, { signal: givingUp.signal }).catch(() => {});
      }
    }
    return store.sent(id);
  };

  const sendOne = async (sender: Sender, delivery: Delivery): Promise<void> => {
    const { id, attempts } = delivery;
    if (attempts > MOST_ATTEMPTS) {
      await store.giveUp(id, "Each attempt ended the process, or took longer than it may.");
      log.error(`${sender.channel} ${id} could not be sent, and is given up`);
      return;
    }
    const outgoing = await store.find(id);
    if (!outgoing?.wanted) {
      await store.drop(id, "Whom it was for does not want it any more, or takes nothing there.");
      return;
    }
    const message = await messageOf(outgoing);
    if ("outdated" in message) {
      await store.drop(id, message.outdated);
      return;
    }
    const within = AbortSignal.any([AbortSignal.timeout(SEND_WITHIN_MS), givingUp.signal]);
    await sender.send(message, within);
    const isKnown = await noteSent(id);
    // Whom it was for was erased meanwhile.
    if (!isKnown) await sender.forget?.([id]);
  };

  /** Notes that it could not be sent. */
  const noteFailure = async (sender: Sender, delivery: Delivery, error: unknown) => {
    if (error instanceof RecipientRefused) {
      await store.refused(delivery, error.address, error);
      log.info(`${sender.channel} ${delivery.id} was refused by whom it was for: ${error.message}`);
      return;
    }
    if (error instanceof Unanswered) {
      await store.giveUp(delivery.id, error);
      log.error(`${sender.channel} ${delivery.id} is not sent again, for it may have been`, error);
      return;
    }
    if (error instanceof SenderUnavailable || error instanceof NotAsked) {
      await store.postpone(delivery, error, error.afterMs);
      return;
    }
    const leastMs = error instanceof TryLater ? error.afterMs : 0;
    const { isLast } = await store.failed(delivery, error, leastMs);
    if (isLast)
      log.error(`${sender.channel} ${delivery.id} could not be sent, and is given up`, error);
    else if (delivery.attempts === 1) {
      log.warn(`${sender.channel} ${delivery.id} could not be sent; it is tried again`, error);
    }
  };

  const sending = (sender: Sender): RepeatedWork => {
    let failures = 0;
    let restsUntil = 0;
    return inTurns(`Messages could not be sent (${sender.channel})`, async (stopping) => {
      if (performance.now() < restsUntil) return { again: false };
      const most = rush.isOn() ? CLAIMED_IN_RUSH : CLAIMED;
      const waiting = await store.claim(sender.channel, most);
      const claimed = waiting.length;
      let away: SenderUnavailable | undefined;
      const oneByOne = async () => {
        while (!stopping.aborted && !away) {
          const delivery = waiting.shift();
          if (!delivery) return;
          try {
            await sendOne(sender, delivery);
            failures = 0;
          } catch (error) {
            if (error instanceof SenderUnavailable) away = error;
            await noteFailure(sender, delivery, error);
          }
        }
      };
      // Each to its end, also where one cannot even note what became of its message.
      const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, oneByOne));
      if (waiting.length > 0) await store.release(waiting);
      for (const end of ends) if (end.status === "rejected") throw end.reason;
      if (away) {
        if (failures === 0 && !stopping.aborted) {
          log.warn(`Nothing can be sent for the moment (${sender.channel})`, away);
        }
        const waitMs = Math.min(FIRST_WAIT_MS * 2 ** failures, LONGEST_WAIT_MS);
        failures++;
        const ownMs = waitMs * (0.5 + Math.random() / 2);
        restsUntil = performance.now() + Math.max(ownMs, away.afterMs ?? 0);
      }
      return { again: claimed === most && !away };
    });
  };

  const dispatching = inTurns("What is to be sent could not be decided", async () => ({
    again: await store.dispatchSome(channels),
  }));
  const loops = senders.map(sending);
  const forgetting = repeat({
    // At once when the process starts: who was erased meanwhile has waited long enough.
    firstPauseMs: LOOK_EVERY_MS,
    pauseMs: FORGET_EVERY_MS,
    log,
    failed: "Old messages could not be forgotten",
    work: (stopping) => forgetOld(database, store, senders, stopping),
  });

  return {
    soon() {
      dispatching.soon(AFTER_STORING_MS);
      for (const loop of loops) loop.soon(2 * AFTER_STORING_MS);
    },
    async stop() {
      const timer = globalThis.setTimeout(() => givingUp.abort(), DRAIN_MS);
      await Promise.all([dispatching, forgetting, ...loops].map((work) => work.stop()));
      clearTimeout(timer);
      for (const sender of senders) await sender.close?.();
    },
  };
}

/** Forgets what was sent long ago, and files of messages that are not known any more. */
export async function forgetOld(
  database: Database,
  store: DeliveriesStore,
  senders: readonly Sender[],
  stopping: AbortSignal,
): Promise<void> {
  for (const sql of FORGET) await removeInChunks(database, { sql }, stopping);
  for (const { tidyUp } of senders) await tidyUp?.(store.unknown);
}
