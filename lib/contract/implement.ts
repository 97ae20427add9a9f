import type { Context as MoleculerContext, ServiceSchema } from "moleculer";
import type { Query } from "../database";
import { Forbidden, Unauthenticated } from "../errors";
import type {
  Access,
  ActionDefinition,
  Call,
  Caller,
  CallerOf,
  Context,
  Contract,
  EventName,
  Log,
  Meta,
  ParamsOf,
  PayloadOf,
  Registry,
  ResultOf,
} from "./define";
import type { Rule } from "./rules";

/** What a service's lifecycle hooks work with. */
export interface Lifecycle<R extends Registry> {
  readonly call: Call<R>;
  readonly log: Log;
}

/** What a consumer works with: `query` runs in the transaction in which it is noted that the events were heard. */
export interface Hearing<R extends Registry> {
  readonly query: Query;
  readonly call: Call<R>;
  readonly log: Log;
}

/**
 * Handles some events of one name, of one transaction: what it does there is done once for each of them. Where it throws
 * nothing is done, and each is tried again by itself. What it does elsewhere, as by a call, may be done again.
 */
export type Hear<R extends Registry, P> = (
  events: readonly P[],
  hearing: Hearing<R>,
) => Promise<void>;

/**
 * How a service hears of events of one name: with the handler alone, many at a time. One that `calls` others has no
 * transaction, because nobody may keep one open for so long: it is given one event, and may be given it again.
 */
export type Channel<R extends Registry, P> =
  | Hear<R, P>
  | { readonly atOnce: number; readonly handler: Hear<R, P> }
  | { readonly calls: true; readonly handler: Hear<R, P> };

/** A channel as it stands in the schema of a service. */
export interface ChannelSchema {
  /** Events handled in one transaction, at the most. */
  readonly atOnce: number;
  readonly calls: boolean;
  /** The shape of a payload. */
  readonly params: Record<string, Rule>;
  readonly handler: (
    events: readonly object[],
    hearing: { query: Query; log: Log; broker: MoleculerSide },
  ) => Promise<void>;
}

/** As many as are worth one transaction: of more the time of each does not become less. */
const MANY_AT_ONCE = 200;

type Consumed<R extends Registry, C extends Contract> = C extends {
  readonly consumes: readonly (infer E)[];
}
  ? E & EventName<R>
  : never;

type ActionHandler<R extends Registry, A extends ActionDefinition> = (
  ctx: Context<R, ParamsOf<A>>,
  caller: CallerOf<A>,
) => Promise<ResultOf<A>>;

type UntypedHandler = (ctx: unknown, caller: Caller | null) => Promise<unknown>;

/** The parts of a service that its contract leaves open: handlers for all its actions, and the rest. */
export interface ServiceParts<R extends Registry, C extends Contract> {
  readonly mixins?: Partial<ServiceSchema>[];
  readonly dependencies?: readonly (keyof R & string)[];
  readonly actions: { readonly [A in keyof C["actions"]]: ActionHandler<R, C["actions"][A]> };
  readonly channels?: { readonly [E in Consumed<R, C>]: Channel<R, PayloadOf<R, E>> };
  readonly started?: (lifecycle: Lifecycle<R>) => Promise<void>;
  readonly stopped?: (lifecycle: Lifecycle<R>) => Promise<void>;
}

/**
 * Refuses a caller who may not call.
 *
 * @throws Unauthenticated without a caller, Forbidden with one of another role
 */
export function checkAccess(access: Access, caller: Caller | null | undefined): void {
  if (access === "public") return;
  if (!caller) throw new Unauthenticated({});
  if (access !== "signedIn" && !access.roles.includes(caller.role)) throw new Forbidden({});
}

/** A copy of a rule that shares nothing: the validator takes a rule met twice for a cycle. */
function ownCopy<T extends Rule | Record<string, Rule>>(rule: T): T {
  const copy = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(copy)
      : typeof value === "object" && value !== null && !(value instanceof RegExp)
        ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, copy(part)]))
        : value;
  // The copy has the shape of its original.
  return copy(rule) as T;
}

/** The parameters of an action that are neither the thing's id nor a header: what it may change. */
const changesOf = ({ params, rest }: ActionDefinition): string[] =>
  Object.keys(params).filter((name) => name !== "id" && !(name in (rest?.headers ?? {})));

interface MoleculerSide {
  call(name: string, params?: unknown): Promise<unknown>;
}

/** Typed calls over a Moleculer context or broker. */
// The contracts have checked the names and shapes at compile time; Moleculer's own types do not know them.
const callOver = <R extends Registry>(side: MoleculerSide) =>
  ((name: string, params?: unknown) => side.call(name, params)) as Call<R>;

const lifecycleOf = <R extends Registry>(broker: MoleculerSide, log: Log): Lifecycle<R> => ({
  call: callOver<R>(broker),
  log,
});

/**
 * Gives the `implement` of one system: it joins a contract and its handlers into a Moleculer service.
 * Calls and payloads are typed by all contracts of the registry; a missing handler does not compile.
 */
export function implementer<R extends Registry>(contracts: R) {
  const payloads = new Map(
    Object.values(contracts).flatMap(({ events }) =>
      Object.entries(events).map(([name, { payload }]) => [name, payload.props] as const),
    ),
  );

  return function implement<C extends R[keyof R]>(
    contract: C,
    parts: ServiceParts<R, C>,
  ): ServiceSchema {
    const context = <P>(ctx: MoleculerContext<P>): Context<R, P> => {
      const log: Log = ctx.service?.logger ?? ctx.broker.logger;
      return {
        params: ctx.params,
        // Moleculer's meta is an open record; ours is the part of it that we put there.
        meta: ctx.meta as Meta,
        log,
        call: callOver<R>(ctx),
      };
    };
    const actions = Object.entries(contract.actions).map(([name, definition]) => {
      // The key comes from the same contract that types the handlers; here they are all alike.
      const handler = parts.actions[name] as unknown as UntypedHandler;
      const missing = Object.entries(definition.rest?.missing ?? {});
      return [
        name,
        {
          visibility: definition.rest ? "published" : "public",
          params: { $$strict: true, ...ownCopy(definition.params) },
          ...(definition.timeoutMs === undefined ? {} : { timeout: definition.timeoutMs }),
          ...(definition.shardBy === undefined
            ? {}
            : { strategy: "Shard", strategyOptions: { shardKey: definition.shardBy } }),
          changes: definition.needsChange ? changesOf(definition) : undefined,
          missing: Object.fromEntries(missing.map(([parameter, kind]) => [parameter, kind.code])),
          handler: (ctx: MoleculerContext<Record<string, unknown>>) => {
            const { caller = null } = ctx.meta as Meta;
            if (definition.access) checkAccess(definition.access, caller);
            return handler(context(ctx), caller);
          },
        },
      ];
    });
    for (const name of Object.keys(parts.channels ?? {})) {
      if (contract.consumes?.includes(name)) continue;
      throw new Error(`${contract.name}: the contract does not say that it hears of ${name}`);
    }
    const channels = (contract.consumes ?? []).map((name): [string, ChannelSchema] => {
      // The names are the contract's own; the types of its handlers were checked by them.
      const given = parts.channels as Record<string, Channel<R, object>> | undefined;
      const channel = given?.[name];
      const payload = payloads.get(name);
      if (!channel || !payload) {
        throw new Error(`${contract.name}: there is no handler or no event for ${name}`);
      }
      const { atOnce, calls, handler } =
        typeof channel === "function"
          ? { atOnce: MANY_AT_ONCE, calls: false, handler: channel }
          : { atOnce: 1, calls: false, ...channel };
      // Not strict: a newer node may say more than this one knows.
      return [
        name,
        {
          atOnce,
          calls,
          params: ownCopy(payload),
          handler: (heard, { broker, ...hearing }) =>
            handler(heard, { ...hearing, call: callOver<R>(broker) }),
        },
      ];
    });
    return {
      name: contract.name,
      mixins: parts.mixins ?? [],
      dependencies: [...(parts.dependencies ?? [])],
      actions: Object.fromEntries(actions),
      channels: Object.fromEntries(channels),
      async started() {
        await parts.started?.(lifecycleOf<R>(this.broker, this.logger));
      },
      async stopped() {
        await parts.stopped?.(lifecycleOf<R>(this.broker, this.logger));
      },
    } as ServiceSchema; // `Object.fromEntries` loses the keys that Moleculer's type asks for.
  };
}
