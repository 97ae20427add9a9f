/**
 * notifications: what people are told. Owns the table notifications.
 *
 * Invariants: of one occurrence a person is told once, however often it is announced; nobody reads
 * another's; whoever was erased is told nothing. Announcements are not durable yet: what is announced while
 * no node runs this service is not told.
 */
import type { ServiceSchema } from "moleculer";
import type { Call } from "../../lib/contract/define";
import type { FactsOf } from "../../lib/contract/outbox-event";
import { isError, ServiceUnavailable } from "../../lib/errors";
import { createGroupCommit } from "../../lib/group-commit";
import type { Kernel } from "../../lib/kernel";
import { type Contracts, happened, implement } from "../contracts";
import { notifications } from "./notifications.contract";
import * as rules from "./notifications.rules";
import { notificationsStore, type PersonalNotice } from "./notifications.store";

/** People told with one statement. */
const CHUNK = 500;
/** Notices that wait for the statement before them. */
const MOST_WAITING = 10_000;

/** An event that a host's followers are told of. */
type Publication = Omit<FactsOf<Contracts, "notifications.followersLeft">, "after">;

export default function notificationsService({ clock, database }: Kernel): ServiceSchema {
  const store = notificationsStore(database);

  // What is told to one person at a time goes into the database together with what is told meanwhile.
  const notices = createGroupCommit({
    most: CHUNK,
    waiting: MOST_WAITING,
    waitingInLane: MOST_WAITING,
    lanes: 1,
    laneOf: () => "all",
    async commit(entries: PersonalNotice[]) {
      await store.addEach(entries, clock.now());
      return entries.map(() => ({ answer: null }));
    },
    isOnesFault: (error) => !isError(error, ServiceUnavailable),
  });

  const tell = async ({ id, userId }: { id: string; userId: string }, notice: rules.Notice) => {
    await notices.submit({ userId, occurrenceId: id, notice });
  };

  /** Tells everybody with an active booking of an event, a chunk at a time. */
  const tellAttendees = async (
    call: Call<Contracts>,
    { eventId, occurrenceId }: { eventId: string; occurrenceId: string },
    notice: rules.Notice,
  ) => {
    let after: string | undefined;
    do {
      const page = { eventId, limit: CHUNK, ...(after ? { after } : {}) };
      const { userIds } = await call("bookings.$attendees", page);
      if (userIds.length) await store.add(userIds, occurrenceId, notice, clock.now());
      after = userIds.length === CHUNK ? userIds.at(-1) : undefined;
    } while (after);
  };

  /**
   * Tells a chunk of a host's followers of a new event. That there are more is written to the outbox with it: so a
   * host with very many keeps nobody else waiting, and what breaks off goes on.
   */
  const tellSomeFollowers = (
    { occurrenceId, hostId, eventId, title, startDateTime, timeZone, location }: Publication,
    after: string | null,
  ): Promise<void> => {
    const now = clock.now();
    const facts = { eventId, title, startDateTime, timeZone, location };
    const notice = rules.eventCreated(facts);
    return store.addForFollowers({ hostId, after }, occurrenceId, notice, now, (last) => [
      happened(
        "notifications.followersLeft",
        { aggregateId: eventId, aggregateVersion: 1, occurredAt: now, correlationId: null },
        { ...facts, occurrenceId, hostId, after: last },
      ),
    ]);
  };

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
        tellSomeFollowers({ ...params, occurrenceId: params.id }, null),

      "notifications.followersLeft": ({ params }) => tellSomeFollowers(params, params.after),

      "events.updated": ({ params, call }) =>
        tellAttendees(
          call,
          { eventId: params.eventId, occurrenceId: params.id },
          rules.eventUpdated(params),
        ),
    },
  });
}
