import { consumersIn, hearersIn } from "../lib/contract/channels";
import { implementer } from "../lib/contract/implement";
import { happener } from "../lib/contract/outbox-event";
import { auth } from "./auth/auth.contract";
import { availableEvents } from "./available-events/available-events.contract";
import { bookings } from "./bookings/bookings.contract";
import { core } from "./core/core.contract";
import { events } from "./events/events.contract";
import { notifications } from "./notifications/notifications.contract";
import { users } from "./users/users.contract";

/** Every contract of the system: what calls, events, routes and the API's description are made from. */
export const contracts = {
  core,
  auth,
  users,
  "available-events": availableEvents,
  events,
  bookings,
  notifications,
};
export type Contracts = typeof contracts;

/** Joins a contract and its handlers into a service whose calls are typed by all contracts. */
export const implement = implementer(contracts);

/** Which services hear of which event by their channels. */
export const consumersOf = consumersIn(contracts);

/** Every event, with the services that hear of it. */
export const hearers = hearersIn(contracts);

/** Something that happened, for the outbox: its name and its facts are those of the contracts. */
export const happened = happener<Contracts>();
