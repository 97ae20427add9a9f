/**
 * Not run but compiled, with everything else, by `npm run typecheck`: what contradicts a contract must not
 * compile. A line marked as an error that is none fails the compilation, and so does every other error.
 */
import { type Call, type Caller, defineContract, type ParamsOf } from "../../lib/contract/define";
import { implementer } from "../../lib/contract/implement";
import { integer, object, oneOf, optional, text, withDefault } from "../../lib/contract/rules";
import {
  type Contracts,
  happened,
  implement as implementOfProduct,
} from "../../services/contracts";
import { core } from "../../services/core/core.contract";

declare const call: Call<Contracts>;
declare const id: string;
declare const now: Date;
/** Takes what has this very type or a narrower one. */
declare function takes<T>(value: T): void;

export async function calls() {
  takes<string>((await call("users.$find", { id })).name);
  takes<void>(await call("events.$delete", { id }));
  await call("auth.me");
  await call("events.$list", {});

  // @ts-expect-error there is no such action
  await call("users.$fetch", { id });
  // @ts-expect-error there is none without parameters either
  await call("auth.you");
  // @ts-expect-error there is no such service
  await call("people.$find", { id });
  // @ts-expect-error an action's name goes with its service
  await call("$find", { id });
}

export async function parameters() {
  await call("bookings.$create", { userId: id, eventId: id });
  await call("bookings.$create", { userId: id, eventId: id, quantity: 2 });
  await call("events.$update", { id, location: null });

  // @ts-expect-error a required parameter is missing
  await call("bookings.$create", { userId: id });
  // @ts-expect-error all parameters are missing
  await call("bookings.$create");
  // @ts-expect-error a parameter is of the wrong type
  await call("bookings.$create", { userId: id, eventId: id, quantity: "2" });
  // @ts-expect-error a parameter is not known
  await call("bookings.$create", { userId: id, eventId: id, seats: 2 });
  // @ts-expect-error an action without parameters takes none
  await call("auth.me", { id });
  // @ts-expect-error null only where a field may be cleared
  await call("events.$update", { id, title: null });
  // @ts-expect-error a word that the enumeration has not
  await call("bookings.$update", { id, status: "cancelled", reason: "boredom" });
  // @ts-expect-error a field of a nested object is missing
  await call("events.$update", { id, coordinates: { lat: 1 } });
  // @ts-expect-error an entry of a list is of the wrong type
  await call("events.$update", { id, tags: [1] });
}

export async function results() {
  const event = await call("events.$find", { id });
  takes<number>(event.capacity);
  takes<string | null>(event.location);
  takes<"draft" | "published" | "postponed" | "cancelled" | "completed">(event.status);
  const { data, pagination } = await call("events.$list", { limit: 5 });
  takes<string | undefined>(data[0]?.host.name);
  takes<string | null>(pagination.nextCursor);

  // @ts-expect-error a field that the result has not
  takes<unknown>(event.seats);
  // @ts-expect-error a field of a nested object that it has not
  takes<unknown>(event.host.email);
  // @ts-expect-error a field of another type
  takes<number>(event.startDateTime);
  // @ts-expect-error what may be null is not simply there
  takes<string>(event.location);
  // @ts-expect-error a word that the enumeration has not
  takes<boolean>(event.status === "sold out");
  // @ts-expect-error an action without a result gives none
  takes<object>(await call("events.$delete", { id }));
}

const about = { aggregateId: id, aggregateVersion: 1, occurredAt: now, correlationId: null };
const said = { bookingId: id, eventId: id, userId: id };
const booked = {
  ...said,
  quantity: 1,
  eventTitle: "Tea",
  eventStartDateTime: id,
  eventTimeZone: "UTC",
  holdExpiresAt: null,
  fromWaitlist: false,
};

export function events() {
  happened("bookings.confirmed", about, booked);
  happened("bookings.held", about, { ...booked, holdExpiresAt: id, fromWaitlist: true });
  happened("bookings.expired", about, booked);
  happened("bookings.cancelled", about, { ...booked, reason: "attendee" });

  // @ts-expect-error there is no such event
  happened("bookings.booked", about, booked);
  // @ts-expect-error a field of the payload is missing
  happened("bookings.confirmed", about, said);
  // @ts-expect-error a field of the payload is of the wrong type
  happened("bookings.confirmed", about, { ...booked, quantity: "1" });
  // @ts-expect-error a field of the payload is not known
  happened("bookings.confirmed", about, { ...booked, seats: 1 });
  // @ts-expect-error a word that the enumeration has not
  happened("bookings.cancelled", about, { ...booked, reason: "boredom" });
  // @ts-expect-error what may be null is said all the same
  happened("bookings.held", about, { ...booked, holdExpiresAt: undefined });
  // @ts-expect-error an event without its facts
  happened("bookings.confirmed", about);
  // @ts-expect-error what the envelope says
  happened("bookings.confirmed", about, { ...booked, version: 2 });
}

const greetings = defineContract({
  name: "greetings",
  description: "For this test.",
  actions: {
    $greet: {
      summary: "Internal",
      params: {
        name: text({ maxLength: 10 }),
        style: withDefault(oneOf(["warm", "cool"]), "warm"),
        age: optional(integer()),
      },
      result: object({ words: text({ maxLength: 100 }), style: oneOf(["warm", "cool"]) }),
    },
    wave: {
      summary: "For whoever is signed in",
      params: {},
      result: null,
      access: "signedIn",
      rest: { method: "POST", path: "/waves" },
    },
    look: {
      summary: "For anybody",
      params: {},
      result: null,
      access: "public",
      rest: { method: "GET", path: "/waves" },
    },
  },
  events: {
    "greetings.said": {
      summary: "Somebody was greeted",
      payload: object({ words: text({ maxLength: 100 }) }),
    },
  },
  consumes: ["greetings.said"],
});
const implement = implementer({ greetings });
const wave = async () => {};
const look = async () => {};
const $greet = async ({
  params,
}: {
  params: ParamsOf<(typeof greetings)["actions"]["$greet"]>;
}) => ({
  words: `Hello ${params.name}`,
  style: params.style,
});
const greetsWithoutStyle = async () => ({ words: "Hello" });
const greetsWithNumbers = async () => ({ words: 1, style: "warm" as const });
const greetsOddly = async () => ({ words: "Hello", style: "odd" as const });

export const handlers = [
  implement(greetings, {
    actions: {
      async $greet({ params }) {
        takes<string>(params.name);
        // What has a default is always there, what is optional may not be.
        takes<"warm" | "cool">(params.style);
        takes<number | undefined>(params.age);
        // @ts-expect-error a parameter that the contract has not
        takes<unknown>(params.mood);
        // @ts-expect-error an optional parameter may be missing
        takes<number>(params.age);
        return { words: params.name, style: "cool" };
      },
      async wave(_ctx, caller) {
        takes<Caller>(caller);
      },
      async look(_ctx, caller) {
        takes<Caller | null>(caller);
        // @ts-expect-error of a public action nobody may be the caller
        takes<Caller>(caller);
      },
    },
    channels: {
      async "greetings.said"([event]) {
        takes<string | undefined>(event?.words);
        // @ts-expect-error a field that the payload has not
        takes<unknown>(event?.volume);
      },
    },
  }),

  // @ts-expect-error a handler is missing
  implement(greetings, { actions: { $greet, wave } }),
  // @ts-expect-error a handler for an action that the contract has not
  implement(greetings, { actions: { $greet, wave, look, shout: look } }),
  // @ts-expect-error a result lacks a field
  implement(greetings, { actions: { wave, look, $greet: greetsWithoutStyle } }),
  // @ts-expect-error a field of a result is of the wrong type
  implement(greetings, { actions: { wave, look, $greet: greetsWithNumbers } }),
  // @ts-expect-error a word that the result's enumeration has not
  implement(greetings, { actions: { wave, look, $greet: greetsOddly } }),
  // @ts-expect-error a handler of an event that its contract does not name
  implement(greetings, { actions: { $greet, wave, look }, channels: { "greetings.heard": look } }),
  // @ts-expect-error a service to wait for that does not exist
  implement(greetings, { actions: { $greet, wave, look }, dependencies: ["people"] }),
  // @ts-expect-error a handler is missing in a service of the product
  implementOfProduct(core, { actions: {} }),
];

const rest = { method: "GET", path: "/things" } as const;
const summary = "For this test";

export const definitions = [
  defineContract({
    name: "things",
    description: summary,
    actions: { list: { summary, params: {}, result: null, access: { roles: ["host"] }, rest } },
    events: {},
  }),
  defineContract({
    name: "things",
    description: summary,
    // @ts-expect-error a role that nobody has
    actions: { list: { summary, params: {}, result: null, access: { roles: ["owner"] }, rest } },
    events: {},
  }),
  defineContract({
    name: "things",
    description: summary,
    // @ts-expect-error parameters without a rule
    actions: { list: { summary, params: { q: "text" }, result: null, access: "public", rest } },
    events: {},
  }),
];
