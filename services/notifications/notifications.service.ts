/**
 * notifications: what people are told, and by which ways. Owns the tables notifications, notification_preferences,
 * dispatches, deliveries, refused_addresses and push_subscriptions.
 *
 * Invariants: of one occurrence a person is told once, and gets one message on each channel, however often it is
 * announced; nobody reads another's; whoever was erased is told nothing, nor gets anything whoever does not want it.
 */
import type { ServiceSchema } from "moleculer";
import type { Channel } from "../../lib/contract/implement";
import type { FactsOf } from "../../lib/contract/outbox-event";
import type { Query } from "../../lib/database";
import type { Kernel } from "../../lib/kernel";
import { afterCommit, nudges } from "../../mixins/nudges";
import { type Contracts, happened, implement } from "../contracts";
import { NEWS, notifications } from "./notifications.contract";
import { outward } from "./notifications.outward";
import { pushSubscriptions } from "./notifications.push-subscriptions";
import * as rules from "./notifications.rules";
import { notificationsStore, type PersonalNotice } from "./notifications.store";

/** What an audience is told. */
type Telling = Omit<FactsOf<Contracts, "notifications.audienceLeft">, "after"> & {
  correlationId?: string | null | undefined;
};
/** Something that happened, and the request in which it began. */
interface Occurrence {
  id: string;
  correlationId?: string | null | undefined;
}

export default function notificationsService(kernel: Kernel): ServiceSchema {
  const { clock, database } = kernel;
  const store = notificationsStore(database);
  const push = pushSubscriptions(database, kernel);
  const out = outward(kernel);
  const news = nudges(NEWS, ["api"]);

  /** Told again from the outbox until it can be: whoever holds somebody's row keeps back nobody else's notice. */
  const heldBack = ({ userId, occurrenceId, notice, correlationId = null }: PersonalNotice) =>
    happened(
      "notifications.heldBack",
      { aggregateId: userId, aggregateVersion: 1, occurredAt: clock.now(), correlationId },
      { userId, occurrenceId, notice },
    );

  const tellEach = async (query: Query, notices: readonly PersonalNotice[]): Promise<void> => {
    await store.addEach(query, notices, clock.now(), heldBack);
    out.stored(notices.length);
    afterCommit(query, () => news.about(notices.map(({ userId }) => userId)));
  };

  /** Tells one person of each event, all in one statement; nobody of one without a notice. */
  const personally =
    <P extends Occurrence & { userId: string }>(noticeOf: (event: P) => rules.Notice | undefined) =>
    async (events: readonly P[], { query }: { query: Query }) => {
      const notices = events.flatMap((event) => {
        const { id: occurrenceId, userId, correlationId = null } = event;
        const notice = noticeOf(event);
        return notice ? [{ userId, occurrenceId, notice, correlationId }] : [];
      });
      await tellEach(query, notices);
    };

  /**
   * Tells a chunk of an audience. That there are more is written to the outbox with it: so however many they are,
   * nobody else waits longer than for the chunks that are due at the same time, and what breaks off goes on.
   */
  const tellSome = async (
    query: Query,
    { occurrenceId, audience, ofId, notice, correlationId = null }: Telling,
    after: string | null = null,
  ): Promise<void> => {
    const now = clock.now();
    const left = (last: string) =>
      happened(
        "notifications.audienceLeft",
        { aggregateId: ofId, aggregateVersion: 1, occurredAt: now, correlationId },
        { occurrenceId, audience, ofId, after: last, notice },
      );
    const to = { audience, ofId, after };
    out.stored(
      await store.addForAudience(query, to, occurrenceId, notice, now, {
        left,
        heldBack: (one) => heldBack({ ...one, correlationId }),
      }),
    );
    // Who they are has not come here.
    afterCommit(query, () => news.about("many"));
  };
  /** One event at a time, in a transaction of its own: its chunk is as much as one should hold. */
  const toAudience = <P extends Occurrence>(
    tellingOf: (event: P) => Omit<Telling, "occurrenceId" | "correlationId">,
  ): Channel<Contracts, P> => ({
    atOnce: 1,
    async handler(events, { query }) {
      for (const event of events) {
        const { id: occurrenceId, correlationId } = event;
        await tellSome(query, { occurrenceId, correlationId, ...tellingOf(event) });
      }
    },
  });

  return implement(notifications, {
    mixins: [news.mixin],
    actions: {
      async $deleteOfUser({ params }) {
        await out.forget(params.userId);
        await store.removeOfUser(params.userId);
        await push.forget(params.userId);
      },
      async $listNew({ params: { userIds, ...place } }) {
        return { data: await store.listNew(userIds, place) };
      },
      async $listAfter({ params }) {
        return { data: await store.listAfter(params.userId, params.id) };
      },
      list: ({ params }, caller) => store.list(caller.id, params),
      async count(_ctx, caller) {
        return { count: await store.countUnread(caller.id) };
      },
      find: ({ params }, caller) => store.find(params.id, caller.id),
      markRead: ({ params }, caller) => store.markRead(params.id, caller.id),
      async markAllRead(_ctx, caller) {
        return { updated: await store.markAllRead(caller.id) };
      },
      ...out.actions,
      findPushKey: async () => ({ publicKey: push.key() }),
      subscribeToPush: ({ params, meta }, caller) => push.subscribe(params, meta, caller),
      unsubscribeFromPush: ({ params }, caller) => push.unsubscribe(params.endpoint, caller.id),
    },

    channels: {
      "bookings.confirmed": personally((booking) =>
        booking.fromWaitlist ? rules.promoted(booking) : rules.bookingConfirmed(booking),
      ),

      // Whoever holds seats because they asked for them has the answer.
      "bookings.held": personally((booking) =>
        booking.fromWaitlist ? rules.promoted(booking) : undefined,
      ),

      "bookings.expired": personally((booking) => rules.bookingExpired(booking)),

      "bookings.cancelled": personally((booking) => {
        // Whoever was erased is told nothing.
        if (booking.reason === "user_deleted") return undefined;
        const withEvent =
          booking.reason === "event_cancelled" || booking.reason === "event_deleted";
        return withEvent
          ? rules.eventCancelled({ explanation: null, ...booking })
          : rules.bookingCancelled(booking);
      }),

      "bookings.waitingEnded": personally((end) => rules.waitingEnded(end)),

      "events.created": toAudience((event) => ({
        audience: "followers",
        ofId: event.hostId,
        notice: rules.eventCreated(event),
      })),

      "events.updated": toAudience((event) => ({
        audience: "attendees",
        ofId: event.eventId,
        notice: rules.eventUpdated(event),
      })),

      "events.saleStarted": toAudience((event) => ({
        audience: "interested",
        ofId: event.eventId,
        notice: rules.saleStarted(event),
      })),

      "events.reminderDue": toAudience((event) => ({
        audience: "confirmed",
        ofId: event.eventId,
        notice: rules.eventReminder(event),
      })),

      "notifications.heldBack": (events, { query }) => tellEach(query, events),

      "notifications.audienceLeft": {
        atOnce: 1,
        async handler(events, { query }) {
          for (const event of events) await tellSome(query, event, event.after);
        },
      },
    },

    started: async (lifecycle) => out.start(lifecycle),
    stopped: () => out.stop(),
  });
}
