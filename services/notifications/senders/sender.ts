import type { Notice, NotificationType } from "../notifications.rules";
import type { OutwardChannel } from "../preferences.rules";

/** A browser that takes push messages (W3C Push API). */
export interface PushSubscription {
  endpoint: string;
  keys: { p256dh: string; auth: string };
}

export interface Recipient {
  name: string;
  email: string;
  phone: string | null;
  /** Of push, one for each message: who has taken it must not get it again because another browser has not. */
  pushSubscriptions: readonly PushSubscription[];
}

/** A file that goes with a mail. */
export interface Attachment {
  filename: string;
  contentType: string;
  content: Buffer;
  /** By this the mail's own text shows it. */
  cid?: string;
}

/** One notice for one person on one channel, ready to go. */
export interface Message {
  /** Of the delivery: the same whenever it is sent again. */
  deliveryId: string;
  notificationId: string;
  userId: string;
  to: Recipient;
  notice: {
    type: NotificationType;
    title: string;
    body: string;
    data: Notice["data"];
    eventId: string | null;
    createdAt: Date;
  };
  /** Mails only. */
  attachments?: readonly Attachment[];
  /** What lets the recipient in; each is shown by the attachment of this `cid` where it has one. */
  tickets?: readonly { code: string; cid?: string }[];
  /** Ends all mails to the recipient. */
  unsubscribeUrl: string;
  /** Ends those of this type. */
  muteUrl: string;
  /** Where the recipient goes from there. */
  link: string;
}

/** A way to reach a person outside of the system. */
export interface Sender {
  readonly channel: OutwardChannel;
  /**
   * Hands a message over. It may be asked to send one again that has gone out, where a crash came in between.
   *
   * @param within gives it up; what is not handed over by then is sent again later
   * @throws Unanswered where it may have gone out, and a second one would be worse than none; RecipientRefused where this address will never take anything; SenderUnavailable where nobody can be sent
   *   anything at the moment; TryLater where this recipient's side says when; anything else: sent again later
   */
  send(message: Message, within: AbortSignal): Promise<void>;
  /** Forgets what it has kept of messages, for their recipients were erased. */
  forget?(deliveryIds: readonly string[]): Promise<void>;
  /** Forgets what it has kept of messages that are not known any more; `unknown` tells which of some are not. */
  tidyUp?(unknown: (deliveryIds: readonly string[]) => Promise<string[]>): Promise<void>;
  close?(): Promise<void>;
}

/**
 * An address that will never take anything: nothing more is sent there. Whoever logs it does not log the address, which
 * of a browser is a secret, and of a phone nobody else's business.
 */
export class RecipientRefused extends Error {
  readonly #address: string;
  constructor(address: string, why: string) {
    super(why);
    this.name = "RecipientRefused";
    this.#address = address;
  }
  get address(): string {
    return this.#address;
  }
}

/** Whom one sends by is away, or does not let us in: whatever else there is to send waits for a while. */
export class SenderUnavailable extends Error {
  constructor(
    why: string,
    /** How long it wants to be left alone; undefined where it does not say. */
    readonly afterMs?: number,
  ) {
    super(why);
    this.name = "SenderUnavailable";
  }
}

/** It was handed over whole, and nobody has said that it was taken: sent again it might come twice. */
export class Unanswered extends SenderUnavailable {
  constructor(why: string) {
    super(why);
    this.name = "Unanswered";
  }
}

/** Not now, to this recipient: their side has said how long it wants to be left alone. */
export class TryLater extends Error {
  constructor(
    why: string,
    readonly afterMs: number,
  ) {
    super(why);
    this.name = "TryLater";
  }
}

/** Not now, and nobody was asked: it costs no attempt. */
export class NotAsked extends TryLater {
  constructor(why: string, afterMs: number) {
    super(why, afterMs);
    this.name = "NotAsked";
  }
}
