import { setImmediate as turn } from "node:timers/promises";
import type { Call, Caller, Log, ResultOf } from "../../lib/contract/define";
import { isError } from "../../lib/errors";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { Contracts } from "../contracts";
import { EventNotFound, MOST_LIVE_AT_ONCE } from "../events/events.contract";
import { MOST_HOSTS_AT_ONCE, UserNotFound } from "../users/users.contract";
import { inBatches } from "./batches";
import type { Subscriptions } from "./sockets-connection";
import type { Peer } from "./sockets-peer";
import { eventFrame, type Frame, type Topic } from "./sockets-protocol";

/** How often it is looked how events stand: so often their watchers are told at the most. */
const LOOK_EVERY_MS = 250;
/** Of its time a look takes no more than a fourth, however much there is to look at. */
const REST_FACTOR = 3;
/** Sockets that are written to before others have their turn. */
const SLICE = 250;

type State = ResultOf<Contracts["events"]["actions"]["$liveStates"]>["states"][number];

/** An event that somebody watches, by itself or with all of its host's. */
interface Watched {
  state: State;
  readonly watchers: Set<Peer>;
  /** Whether those who watch its host have not heard yet that there is it. */
  isUntold: boolean;
}

const availabilityOf = ({ id, capacity, numberOfAttendees }: State): Frame =>
  eventFrame("availability", {
    id,
    eventId: id,
    capacity,
    numberOfAttendees,
    availableTickets: capacity - numberOfAttendees,
  });

const idOf = (topic: Topic): string => ("eventId" in topic ? topic.eventId : topic.hostId);

const chunksOf = (ids: readonly string[], size: number): string[][] =>
  Array.from({ length: Math.ceil(ids.length / size) }, (_, i) =>
    ids.slice(i * size, (i + 1) * size),
  );

/** The same for many, without keeping all others waiting for as long as that takes. */
async function tellEach(peers: Iterable<Peer>, frame: Frame): Promise<void> {
  const all = [...peers];
  for (let i = 0; i < all.length; i += SLICE) {
    if (i > 0) await turn();
    for (const peer of all.slice(i, i + SLICE)) peer.tell(frame);
  }
}

export interface LiveEvents extends Subscriptions {
  start(log: Log): void;
  /** Ends all subscriptions of somebody. */
  forget(watcher: Peer): void;
  stop(): Promise<void>;
}

/**
 * How events stand, for those who watch them. All of them are looked up together, a few times a second, and what is
 * another than it was is told: so of many bookings between two looks the last state alone, and the same on every node.
 */
export function liveEvents(call: Call<Contracts>): LiveEvents {
  const events = new Map<string, Watched>();
  /** Of these by host, so that who is watched no more takes their own with them. */
  const idsByHost = new Map<string, Set<string>>();
  const hosts = new Map<string, Set<Peer>>();
  /** By watcher, so that whoever goes is found. */
  const topics = new Map<Peer, Set<string>>();
  let looking: RepeatedWork | undefined;

  const statesOf = async (ids: readonly string[], hostIds: readonly string[]) => {
    const idChunks = chunksOf(ids, MOST_LIVE_AT_ONCE);
    const hostChunks = chunksOf(hostIds, MOST_LIVE_AT_ONCE);
    const found = new Map<string, State>();
    for (let i = 0; i < Math.max(idChunks.length, hostChunks.length); i++) {
      const some = { ids: idChunks[i] ?? [], hostIds: hostChunks[i] ?? [] };
      const { states } = await call("events.$liveStates", some);
      for (const state of states) found.set(state.id, state);
    }
    return found;
  };
  const askForState = inBatches((ids) => statesOf(ids, []));
  const stateOf = async (id: string) => events.get(id)?.state ?? (await askForState(id));
  /** The events of each of these who is a host. */
  const eventsOfHost = inBatches(async (ids) => {
    const found = new Map<string, State[]>();
    for (const some of chunksOf(ids, MOST_HOSTS_AT_ONCE)) {
      for (const id of (await call("users.$listHosts", { ids: some })).ids) found.set(id, []);
    }
    for (const state of (await statesOf([], [...found.keys()])).values()) {
      found.get(state.hostId)?.push(state);
    }
    return found;
  });

  const watchersOf = ({ state, watchers }: Watched): ReadonlySet<Peer> => {
    // Of a draft nobody hears but who may see it.
    const ofHost = state.status === "draft" ? undefined : hosts.get(state.hostId);
    return ofHost ? new Set([...watchers, ...ofHost]) : watchers;
  };
  const drop = (id: string) => {
    const hostId = events.get(id)?.state.hostId;
    if (hostId === undefined) return;
    events.delete(id);
    const ofHost = idsByHost.get(hostId);
    if (ofHost?.delete(id) && ofHost.size === 0) idsByHost.delete(hostId);
  };
  const forgetUnwatched = (id: string) => {
    const event = events.get(id);
    if (event && event.watchers.size === 0 && !hosts.has(event.state.hostId)) drop(id);
  };
  const follow = (state: State, isUntold = false): Watched => {
    const known = events.get(state.id);
    if (known) return known;
    const event = { state, watchers: new Set<Peer>(), isUntold };
    events.set(state.id, event);
    idsByHost.set(state.hostId, (idsByHost.get(state.hostId) ?? new Set()).add(state.id));
    return event;
  };

  /** As anybody reads it now; undefined where it was removed meanwhile. */
  const readEvent = (id: string) =>
    call("events.$find", { id }).catch((error: unknown) => {
      if (isError(error, EventNotFound)) return undefined;
      throw error;
    });

  const tellOfNew = async (state: State) => {
    const event = await readEvent(state.id);
    const ofHost = hosts.get(state.hostId);
    // Else the next look finds it, as whatever it is then.
    if (!event || !ofHost || event.status === "draft") return;
    follow(event).isUntold = false;
    await tellEach(ofHost, eventFrame("created", event));
  };
  const tellOfChange = async (watched: Watched, next: State) => {
    const { state } = watched;
    let now = next;
    const isOther = ({ version, status }: Pick<State, "version" | "status">) =>
      version !== state.version || status !== state.status;
    if (watched.isUntold || isOther(next)) {
      const event = await readEvent(next.id);
      if (!event) return;
      now = event;
      watched.state = now;
      const isNew = event.status !== "draft" && (watched.isUntold || state.status === "draft");
      watched.isUntold = false;
      const ofHost = isNew ? (hosts.get(event.hostId) ?? new Set<Peer>()) : new Set<Peer>();
      await tellEach(ofHost, eventFrame("created", event));
      const others = [...watchersOf(watched)].filter((peer) => !ofHost.has(peer));
      if (isOther(event)) await tellEach(others, eventFrame("updated", event));
    }
    watched.state = now;
    if (now.capacity !== state.capacity || now.numberOfAttendees !== state.numberOfAttendees) {
      await tellEach(watchersOf(watched), availabilityOf(now));
    }
    if (now.status === "completed") forgetCompleted(now.id);
  };
  /** Of a host's events that are over there is nothing more to tell. */
  const forgetCompleted = (id: string) => {
    if (events.get(id)?.watchers.size === 0) drop(id);
  };
  const tellOfRemoval = async (id: string, watched: Watched) => {
    const peers = watchersOf(watched);
    drop(id);
    for (const peer of watched.watchers) topics.get(peer)?.delete(id);
    await tellEach(peers, eventFrame("deleted", { id, eventId: id }));
  };

  const look = async () => {
    if (events.size === 0 && hosts.size === 0) return;
    const before = new Map(events);
    const found = await statesOf([...before.keys()], [...hosts.keys()]);
    for (const [id, watched] of before) {
      if (events.get(id) !== watched) continue;
      const next = found.get(id);
      if (next) await tellOfChange(watched, next);
      else await tellOfRemoval(id, watched);
    }
    for (const [id, state] of found) {
      if (!before.has(id) && !events.has(id)) await tellOfNew(state);
    }
  };

  const watchEvent = async (id: string, peer: Peer, caller: Caller): Promise<Frame[]> => {
    const state = await stateOf(id);
    const isSeen =
      state && (state.status !== "draft" || state.hostId === caller.id || caller.role === "admin");
    if (!isSeen) throw new EventNotFound({});
    if (!peer.isOpen) return [];
    // Of a host that is watched all that was there before is known: this one the next look would have found.
    const isUntold = hosts.has(state.hostId) && ["published", "postponed"].includes(state.status);
    const watched = follow(state, isUntold);
    watched.watchers.add(peer);
    note(peer, id);
    return [availabilityOf(watched.state)];
  };
  const watchHost = async (id: string, peer: Peer): Promise<Frame[]> => {
    const found = hosts.has(id) ? [] : await eventsOfHost(id);
    if (!found) throw new UserNotFound({});
    if (!peer.isOpen) return [];
    // What is there now is not new to who is the first; where others came meanwhile, it may be new to them.
    if (!hosts.has(id)) for (const state of found) follow(state);
    const watchers = hosts.get(id) ?? new Set();
    hosts.set(id, watchers.add(peer));
    note(peer, id);
    return [];
  };
  const note = (peer: Peer, id: string) => {
    topics.set(peer, (topics.get(peer) ?? new Set()).add(id));
  };
  const end = (id: string, peer: Peer) => {
    const event = events.get(id);
    if (event?.watchers.delete(peer)) forgetUnwatched(id);
    const ofHost = hosts.get(id);
    if (ofHost?.delete(peer) && ofHost.size === 0) {
      hosts.delete(id);
      for (const other of [...(idsByHost.get(id) ?? [])]) forgetUnwatched(other);
    }
  };

  return {
    start(log) {
      looking = repeat({
        pauseMs: LOOK_EVERY_MS,
        log,
        failed: "How the events stand that somebody watches could not be looked up",
        async work() {
          const startedAt = performance.now();
          await look();
          const tookMs = performance.now() - startedAt;
          return Math.max(LOOK_EVERY_MS, REST_FACTOR * tookMs);
        },
      });
    },
    watch: (topic, peer, caller) =>
      "eventId" in topic ? watchEvent(topic.eventId, peer, caller) : watchHost(topic.hostId, peer),
    of(peer, topic) {
      const own = topics.get(peer);
      return { count: own?.size ?? 0, isNew: !own?.has(idOf(topic)) };
    },
    unwatch(topic, peer) {
      const id = idOf(topic);
      if (topics.get(peer)?.delete(id)) end(id, peer);
    },
    forget(peer) {
      for (const id of topics.get(peer) ?? []) end(id, peer);
      topics.delete(peer);
    },
    async stop() {
      await looking?.stop();
    },
  };
}
