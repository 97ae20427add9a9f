import type { RawData } from "ws";
import type { Caller } from "../../lib/contract/define";
import { isError, MalformedJson, TooManySubscriptions } from "../../lib/errors";
import { CLOSE, type Peer } from "./sockets-peer";
import { commandOf, errorFrame, type Frame, frameOf, keyOf, type Topic } from "./sockets-protocol";

/** On one socket, so that nobody makes a gateway look after all that there is. */
const MOST_SUBSCRIPTIONS = 1_000;
/** Messages that may come at once: all subscriptions anew after a reconnect, and some. */
const BURST = 1_500;
/** So many more each second. */
const PER_SECOND = 20;

const PONG = frameOf({ type: "pong" });

/** Where subscriptions are kept. */
export interface Subscriptions {
  /**
   * Lets somebody hear of a topic from now on; gives what they are told first.
   *
   * @throws EventNotFound, UserNotFound
   */
  watch(topic: Topic, watcher: Peer, caller: Caller): Promise<readonly Frame[]>;
  unwatch(topic: Topic, watcher: Peer): void;
  /** How many somebody has, and whether this would be one more. */
  of(watcher: Peer, topic: Topic): { count: number; isNew: boolean };
}

/** Says of each message whether it is one too many. */
function floodGate(): () => boolean {
  let spent = 0;
  let spentAt = performance.now();
  return () => {
    const now = performance.now();
    spent = Math.max(0, spent - ((now - spentAt) * PER_SECOND) / 1000) + 1;
    spentAt = now;
    return spent > BURST;
  };
}

/** Answers what comes over a socket, for as long as it is open. */
export function converse(peer: Peer, caller: Caller, subscriptions: Subscriptions): void {
  /** Subscriptions that are about to be. */
  let pending = 0;
  /** What is being done about a topic; what is asked for next about the same comes after it. */
  const underWay = new Map<string, Promise<void>>();
  const isFlood = floodGate();

  const inOrder = (key: string, work: () => Promise<void>) => {
    const done = (underWay.get(key) ?? Promise.resolve()).then(work).finally(() => {
      if (underWay.get(key) === done) underWay.delete(key);
    });
    underWay.set(key, done);
  };
  const subscribe = (topic: Topic, key: string) => {
    const { isNew, count } = subscriptions.of(peer, topic);
    if (isNew && count + pending >= MOST_SUBSCRIPTIONS) {
      throw new TooManySubscriptions({ most: MOST_SUBSCRIPTIONS });
    }
    pending++;
    inOrder(key, async () => {
      try {
        const first = await subscriptions.watch(topic, peer, caller);
        peer.tell(frameOf({ type: "subscribed", ...topic }));
        for (const frame of first) peer.tell(frame);
      } catch (error) {
        peer.tell(errorFrame(error, topic));
      }
      pending--;
    });
  };
  const unsubscribe = (topic: Topic, key: string) =>
    inOrder(key, async () => {
      subscriptions.unwatch(topic, peer);
      peer.tell(frameOf({ type: "unsubscribed", ...topic }));
    });
  const obey = (text: string) => {
    const command = commandOf(text);
    if (command.action === "ping") {
      peer.tell(PONG);
      return;
    }
    const { action, topic } = command;
    try {
      (action === "subscribe" ? subscribe : unsubscribe)(topic, keyOf(topic));
    } catch (error) {
      peer.tell(errorFrame(error, topic));
    }
  };

  peer.on("message", (data: RawData, isBinary: boolean) => {
    // What comes after we have closed it is nobody's any more.
    if (!peer.isOpen) return;
    if (isFlood()) peer.close(CLOSE.policy);
    else if (isBinary) peer.close(CLOSE.binary);
    else {
      try {
        obey(data.toString());
      } catch (error) {
        if (isError(error, MalformedJson)) peer.close(CLOSE.badText);
        else peer.tell(errorFrame(error));
      }
    }
  });
}
