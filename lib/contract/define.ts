/**
 * A contract is what others may know of a service: its actions with the shapes of parameters and results,
 * who may call them, how REST reaches them and which errors they raise, and the events it emits. From it
 * come validation, the types of calls and handlers, the gateway's routes, access checks and OpenAPI.
 */
import type { ErrorKind } from "../errors";
import type { InputOf, ObjectOf, ObjectRule, Props, Rule, ValueOf } from "./rules";

export const ROLES = ["attendee", "host", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Who is calling, as the access token says; goes with every call as `meta.caller`. */
export interface Caller {
  id: string;
  role: Role;
  /** The login that the token belongs to. */
  sessionId: string;
}

/** Who may call a REST action: anybody, anybody signed in, or certain roles. */
export type Access = "public" | "signedIn" | { readonly roles: readonly Role[] };

export interface RestMapping {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the API's base path, parameters as `:name`. */
  readonly path: string;
  /** Status of a success; 200 unless told, 204 for an action without a result. */
  readonly status?: number;
  /** Which thing a malformed id in the path means: path parameter → its 404. */
  readonly missing?: { readonly [parameter: string]: AnyErrorKind };
  /** Parameters that come from a request header: parameter → header in lower case. */
  readonly headers?: { readonly [parameter: string]: string };
  /** Parameters of a change that stand in the query, where those of a read do. */
  readonly query?: readonly string[];
  /** Whatever body comes along means nothing, of whichever type it is: its senders are not ours to teach. */
  readonly ignoresBody?: true;
  /** Path of the new thing, below the base path, for the `Location` header of a 201: `/events/:id`. */
  readonly location?: string;
  /** Content type of a result that is text and not JSON. */
  readonly contentType?: string;
  /** A secret that no cache, not even the caller's own, may keep. */
  readonly secret?: true;
  /** Whether a client may send it again under an `Idempotency-Key`. */
  readonly idempotent?: true;
  /** Which budget of requests it counts against; the general one unless told. */
  readonly rateLimit?: "auth" | "authAccount";
  /**
   * For a DELETE of what a body names better than a path or query: its parameters may come as a body too. Not as a body
   * alone, because some clients and proxies send none with this method.
   */
  readonly alsoInBody?: true;
  /** Another method of the same action with the same meaning, e.g. PUT beside PATCH. */
  readonly alsoMethod?: "PUT";
}

/** An error kind whatever its facts: constructors are invariant in them, and only code and status matter here. */
export type AnyErrorKind = Pick<ErrorKind, "code" | "status" | "title">;

/** For actions that go through many rows a chunk at a time: cancelling, deleting. */
export const LONG_WORK_MS = 120_000;

export interface ActionDefinition {
  /** What it does, in a line; the operation's summary in OpenAPI. */
  readonly summary: string;
  readonly description?: string;
  readonly params: Props;
  /** For changes: one parameter besides those of path and header must be there, or there is nothing to change. */
  readonly needsChange?: true;
  /** For work in chunks that may take longer than any call should: how long it may, in milliseconds. */
  readonly timeoutMs?: number;
  /**
   * The parameter by whose value calls from other nodes are spread over the nodes: what has the same value goes
   * to the same node while that lives.
   */
  readonly shardBy?: string;
  /** Null where there is nothing to answer. */
  readonly result: Rule | null;
  /** REST actions only; without it the action is internal. */
  readonly access?: Access;
  readonly rest?: RestMapping;
  readonly errors?: readonly AnyErrorKind[];
}

export interface EventDefinition {
  readonly summary: string;
  readonly payload: ObjectRule<Props>;
}

export interface Contract {
  readonly name: string;
  readonly description: string;
  readonly actions: { readonly [name: string]: ActionDefinition };
  readonly events: { readonly [name: string]: EventDefinition };
  /** Events, of any service, that this one hears of by its channel: each once, whatever crashes. */
  readonly consumes?: readonly string[];
}

/**
 * Declares a service's contract; the argument's literal types are kept, they are what calls are checked by.
 *
 * @throws Error when a name, an access rule or a REST mapping contradicts the conventions of the house
 */
export function defineContract<const C extends Contract>(contract: C): C {
  for (const [name, action] of Object.entries(contract.actions)) {
    const label = `${contract.name}.${name}`;
    const internal = name.startsWith("$");
    if (internal && (action.rest || action.access)) {
      throw new Error(`${label}: an internal action has neither a REST mapping nor an access rule`);
    }
    if (!internal && !(action.rest && action.access)) {
      throw new Error(`${label}: a REST action needs a REST mapping and an access rule`);
    }
    for (const parameter of pathParameters(action)) {
      if (!(parameter in action.params)) {
        throw new Error(`${label}: the path names :${parameter}, the parameters do not`);
      }
    }
  }
  for (const event of Object.keys(contract.events)) {
    if (!event.startsWith(`${contract.name}.`)) {
      throw new Error(`${contract.name}: an event's name begins with its service: ${event}`);
    }
  }
  return contract;
}

/** Names of the `:parameters` in an action's path. */
export function pathParameters(action: ActionDefinition): string[] {
  return [...(action.rest?.path ?? "").matchAll(/:(\w+)/g)].map((match) => match[1] ?? "");
}

/** The status of a success over REST. */
export function successStatus(action: ActionDefinition): number {
  return action.rest?.status ?? (action.result === null ? 204 : 200);
}

/** All contracts of a system, by service name. */
export type Registry = { readonly [service: string]: Contract };

type Actions<R extends Registry, S extends keyof R> = R[S]["actions"];

/** `service.action` for every action there is. */
export type ActionName<R extends Registry> = {
  [S in keyof R & string]: `${S}.${keyof Actions<R, S> & string}`;
}[keyof R & string];

export type ActionOf<R extends Registry, N extends string> = N extends `${infer S}.${infer A}`
  ? S extends keyof R
    ? A extends keyof Actions<R, S>
      ? Actions<R, S>[A]
      : never
    : never
  : never;

/** Name of every event there is. */
export type EventName<R extends Registry> = {
  [S in keyof R]: keyof R[S]["events"] & string;
}[keyof R];

type EventOf<R extends Registry, N extends string> = N extends `${infer S}.${string}`
  ? S extends keyof R
    ? N extends keyof R[S]["events"]
      ? R[S]["events"][N]
      : never
    : never
  : never;

export type PayloadOf<R extends Registry, N extends string> =
  EventOf<R, N> extends { payload: { props: infer P } } ? ObjectOf<P> : never;

export type ParamsOf<A extends ActionDefinition> = ObjectOf<A["params"]>;
export type ParamsInputOf<A extends ActionDefinition> = InputOf<A["params"]>;
export type ResultOf<A extends ActionDefinition> = A["result"] extends null
  ? // biome-ignore lint/suspicious/noConfusingVoidType: a handler without a result may simply end
    void
  : ValueOf<A["result"]>;

/** What travels with every call beside its parameters. */
export interface Meta {
  caller?: Caller | null;
  requestId?: string;
  /** As the client sent it; its answer says whether it was the first one's. */
  idempotencyKey?: string;
  idempotencyReplayed?: boolean;
  /** Sessions that the call has ended; the gateway that answers refuses them from then on. */
  endedSessions?: string[];
}

/** Calls an action by its full name; parameters and result are those of its contract. */
export type Call<R extends Registry> = <N extends ActionName<R>>(
  name: N,
  ...params: keyof ActionOf<R, N>["params"] extends never ? [] : [ParamsInputOf<ActionOf<R, N>>]
) => Promise<ResultOf<ActionOf<R, N>>>;

/** What a handler of an action or an event works with. It tells others by the outbox, and by nothing else. */
export interface Context<R extends Registry, P> {
  readonly params: P;
  readonly meta: Meta;
  readonly call: Call<R>;
  readonly log: Log;
}

/** A line: fields first if there are any, then the message; an error may stand anywhere and is logged with its stack. */
export interface Log {
  debug(...args: unknown[]): void;
  info(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  error(...args: unknown[]): void;
}

/** The caller as a handler sees it: certain where access asks for somebody, nobody in an internal action. */
export type CallerOf<A extends ActionDefinition> = A["access"] extends "public"
  ? Caller | null
  : A["access"] extends Access
    ? Caller
    : null;
