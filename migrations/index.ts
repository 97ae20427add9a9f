import type { Step } from "../lib/steps";
import { usersAndSessions } from "./0001-users-and-sessions";
import { availableEvents } from "./0002-available-events";
import { events } from "./0003-events";
import { bookings } from "./0004-bookings";
import { notifications } from "./0005-notifications";
import { outbox } from "./0006-outbox";
import { idempotencyKeys } from "./0007-idempotency-keys";
import { cancellations } from "./0008-cancellations";
import { lostBookings } from "./0009-lost-bookings";
import { hostsOfEvents } from "./0010-hosts-of-events";
import { hostsOfBookings } from "./0011-hosts-of-bookings";
import { hostsOfBookingsChecked } from "./0012-hosts-of-bookings-checked";
import { ownersOfKeys } from "./0013-owners-of-keys";
import { wordsOfTheOutbox } from "./0014-words-of-the-outbox";
import { follows } from "./0015-follows";
import { interests } from "./0016-interests";
import { arrivalAtWaitingLists } from "./0017-arrival-at-waiting-lists";
import { awaitedSales } from "./0018-awaited-sales";
import { channels } from "./0019-channels";
import { deliveries } from "./0020-deliveries";
import { pushSubscriptions } from "./0021-push-subscriptions";
import { publications } from "./0022-publications";

/** All migrations, oldest first. A migration that has been released does not change any more. */
export const migrations: readonly Step[] = [
  usersAndSessions,
  availableEvents,
  events,
  bookings,
  notifications,
  outbox,
  idempotencyKeys,
  cancellations,
  lostBookings,
  hostsOfEvents,
  hostsOfBookings,
  hostsOfBookingsChecked,
  ownersOfKeys,
  wordsOfTheOutbox,
  follows,
  interests,
  arrivalAtWaitingLists,
  awaitedSales,
  channels,
  deliveries,
  pushSubscriptions,
  publications,
];
