/**
 * notifications: what people are told. Owns the table notifications.
 *
 * Invariants: of one occurrence a person is told once, however often it is announced; nobody reads
 * another's; whoever was erased is told nothing. Announcements are not durable yet: what is announced while
 * no node runs this service is not told.
 */
import type { ServiceSchema } from "moleculer";
import type { FactsOf } from "../../lib/contract/outbox-event";
import { isError, ServiceUnavailable } from "../../lib/errors";
import { createGroupCommit } from "../../lib/group-commit";
import type { Kernel } from "../../lib/kernel";
import { createWorkQueue } from "../../lib/work-queue";
import { sharedRelay } from "../../mixins/outbox";
import { type Contracts, happened, implement } from "../contracts";
import { notifications } from "./notifications.contract";
import * as rules from "./notifications.rules";
import { notificationsStore, type PersonalNotice } from "./notifications.store";

/** People told with one statement. */
const CHUNK = 500;
/** Notices that wait for the statement before them, and chunks of audiences that wait for those before them. */
const MOST_WAITING = 10_000;
/** Chunks of audiences at a time. */
const AUDIENCES_AT_ONCE = 2;

/** What an audience is told. */
type Telling = Omit<FactsOf<Contracts, "notifications.audienceLeft">, "after">;

export default function notificationsService({ clock, database }: Kernel): ServiceSchema {
  const store = notificationsStore(database);

  // What is told to one person at a time goes into the database together with what is told meanwhile.
  const notices = createGroupCommit({
    most: CHUNK,
    waiting: MOST_WAITING,
    waitingInLane: MOST_WAITING,
    lanes: 1,
    laneWaitMs: database.lockTimeoutMs,
    laneOf: () => "all",
    async commit(entries: PersonalNotice[]) {
      await store.addEach(entries, clock.now(), heldBack);
      return entries.map(() => ({ answer: null }));
    },
    isOnesFault: (error) => !isError(error, ServiceUnavailable),
  });

  /** Told again from the outbox until it can be: whoever holds somebody's row keeps back nobody else's notice. */
  const heldBack = ({ userId, occurrenceId, notice }: PersonalNotice) =>
    happened(
      "notifications.heldBack",
      { aggregateId: userId, aggregateVersion: 1, occurredAt: clock.now(), correlationId: null },
      { userId, occurrenceId, notice },
    );

  const tell = async ({ id, userId }: { id: string; userId: string }, notice: rules.Notice) => {
    await notices.submit({ userId, occurrenceId: id, notice });
  };

  // Not behind what people change: refused there it would not be told at all.
  const audiences = createWorkQueue({ concurrency: AUDIENCES_AT_ONCE, waiting: MOST_WAITING });

  /**
   * Tells a chunk of an audience. That there are more is written to the outbox with it: so however many they are,
   * nobody else waits longer than for the chunks that are due at the same time, and what breaks off goes on.
   */
  const tellSome = (
    { occurrenceId, audience, ofId, notice }: Telling,
    after: string | null = null,
  ): Promise<void> => {
    const now = clock.now();
    const left = (last: string) =>
      happened(
        "notifications.audienceLeft",
        { aggregateId: ofId, aggregateVersion: 1, occurredAt: now, correlationId: null },
        { occurrenceId, audience, ofId, after: last, notice },
      );
    return audiences.run(() =>
      store.addForAudience({ audience, ofId, after }, occurrenceId, notice, now, {
        left,
        heldBack,
      }),
    );
  };

  let relay: { stop(): Promise<void> } | undefined;

  return implement(notifications, {
    actions: {
      $deleteOfUser: ({ params }) => store.removeOfUser(params.userId),
      list: ({ params }, caller) => store.list(caller.id, params),
      async count(_ctx, caller) {
        return { count: await store.countUnread(caller.id) };
      },
      find: ({ params }, caller) => store.find(params.id, caller.id),
      markRead: ({ params }, caller) => store.markRead(params.id, caller.id),
      async markAllRead(_ctx, caller) {
        return { updated: await store.markAllRead(caller.id) };
      },
    },

    events: {
      "bookings.confirmed": ({ params }) =>
        tell(params, params.fromWaitlist ? rules.promoted(params) : rules.bookingConfirmed(params)),

      async "bookings.held"({ params }) {
        // Whoever holds seats because they asked for them has the answer.
        if (params.fromWaitlist) await tell(params, rules.promoted(params));
      },

      "bookings.expired": ({ params }) => tell(params, rules.bookingExpired(params)),

      async "bookings.cancelled"({ params }) {
        // Whoever was erased is told nothing.
        if (params.reason === "user_deleted") return;
        const withEvent = params.reason === "event_cancelled" || params.reason === "event_deleted";
        await tell(
          params,
          withEvent
            ? rules.eventCancelled({ explanation: null, ...params })
            : rules.bookingCancelled(params),
        );
      },

      "bookings.waitingEnded": ({ params }) => tell(params, rules.waitingEnded(params)),

      "events.created": ({ params }) =>
        tellSome({
          occurrenceId: params.id,
          audience: "followers",
          ofId: params.hostId,
          notice: rules.eventCreated(params),
        }),

      "events.updated": ({ params }) =>
        tellSome({
          occurrenceId: params.id,
          audience: "attendees",
          ofId: params.eventId,
          notice: rules.eventUpdated(params),
        }),

      "events.saleStarted": ({ params }) =>
        tellSome({
          occurrenceId: params.id,
          audience: "interested",
          ofId: params.eventId,
          notice: rules.saleStarted(params),
        }),

      "events.reminderDue": ({ params }) =>
        tellSome({
          occurrenceId: params.id,
          audience: "confirmed",
          ofId: params.eventId,
          notice: rules.eventReminder(params),
        }),

      async "notifications.heldBack"({ params }) {
        await notices.submit(params);
      },

      "notifications.audienceLeft": ({ params }) => tellSome(params, params.after),
    },

    async started({ announce, log }) {
      relay = sharedRelay(database, announce, log);
    },

    async stopped() {
      await relay?.stop();
    },
  });
}
