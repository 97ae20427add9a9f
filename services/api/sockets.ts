/**
 * The gateway's sockets: who may open one, for how long it stays, and how it ends. What goes over them is said in
 * sockets-connection.ts (what clients ask for), sockets-notifications.ts (what they are told) and sockets-events.ts
 * (how what they watch stands).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Context, ServiceSchema } from "moleculer";
import { type WebSocket, WebSocketServer } from "ws";
import type { Call, Log } from "../../lib/contract/define";
import {
  BadRequest,
  isError,
  RateLimited,
  ServiceUnavailable,
  ValidationFailed,
} from "../../lib/errors";
import { isId } from "../../lib/ids";
import type { Kernel } from "../../lib/kernel";
import { type RepeatedWork, repeat } from "../../lib/repeated";
import type { About } from "../../mixins/nudges";
import type { Contracts } from "../contracts";
import { NEWS, NotificationNotFound } from "../notifications/notifications.contract";
import { answerOnSocket } from "./broken-requests";
import type { EndedSessions } from "./ended-sessions";
import type { GatewayRequest } from "./gateway-request";
import { converse } from "./sockets-connection";
import { liveEvents } from "./sockets-events";
import { liveNotifications } from "./sockets-notifications";
import { CLOSE, Peer } from "./sockets-peer";
import { errorFrame } from "./sockets-protocol";
import { SOCKET_METHODS, type Ticket, ticketOf } from "./sockets-upgrade";
import { sendOptions } from "./system-pages";
import { takeOver } from "./upgrades";

/** Bytes of a message. */
const MOST_BYTES = 4_096;
const MOST_OF_USER = 20;
const MOST_OF_GATEWAY = 20_000;
/** A full gateway has room again soon, a user with too many sockets when they close one. */
const RETRY_AFTER_S = 5;
/** The request's id, and what is left of its budget. */
const TOLD_HEADERS = /^x-(request-id|ratelimit-)/;
/** Whose session has ended is found out so often; what has ended is asked for as often (ended-sessions.ts). */
const CHECK_EVERY_MS = 400;

/** How long everybody has for what; tests have less time. */
export interface SocketTimes {
  /** Whoever has not answered the last question whether they are there by the next one is not. */
  heartbeatMs: number;
  /** For the client's word that it has heard of the end, after which it is cut off. */
  closeMs: number;
}
export const SOCKET_TIMES: SocketTimes = { heartbeatMs: 30_000, closeMs: 2_000 };

export interface Sockets {
  /** Opens a socket for a request, or throws what is to be answered. */
  serve(req: GatewayRequest, res: ServerResponse, since: string | undefined): void;
  start(log: Log): void;
  /** What nodes nudge each other with, for the gateway's schema. */
  readonly events: ServiceSchema["events"];
  /** Says good-bye to everybody and lets nobody in any more. */
  drain(): Promise<void>;
}

export function sockets(
  { config, clock }: Pick<Kernel, "config" | "clock">,
  { call, sessions }: { call: Call<Contracts>; sessions: EndedSessions },
  { heartbeatMs, closeMs }: SocketTimes = SOCKET_TIMES,
): Sockets {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // A few bytes for each frame are not worth some hundred kilobytes for each socket.
    perMessageDeflate: false,
    maxPayload: MOST_BYTES,
    WebSocket: Peer,
    closeTimeout: closeMs,
  } as ConstructorParameters<typeof WebSocketServer<typeof Peer>>[0]);
  /** Lines of the answer that opens a socket, besides the library's. */
  const headers = new WeakMap<IncomingMessage, string[]>();
  const tickets = new Map<Peer, Ticket>();
  const ofUser = new Map<string, number>();
  const events = liveEvents(call);
  const news = liveNotifications(call, clock);
  let draining = false;
  let log: Log | undefined;
  let inBackground: RepeatedWork[] = [];

  server.on("headers", (lines: string[], req: IncomingMessage) => {
    lines.push(...(headers.get(req) ?? []));
  });
  // Subprotocols or extensions that are none.
  server.on("wsClientError", (_error: Error, socket: Duplex) =>
    answerOnSocket(socket, new BadRequest({})),
  );

  const count = (userId: string, change: 1 | -1) => {
    const left = (ofUser.get(userId) ?? 0) + change;
    if (left > 0) ofUser.set(userId, left);
    else ofUser.delete(userId);
  };
  /** @throws ServiceUnavailable, RateLimited */
  const checkRoom = (userId: string) => {
    if (draining || tickets.size >= MOST_OF_GATEWAY) {
      throw new ServiceUnavailable({ retryAfter: RETRY_AFTER_S });
    }
    if ((ofUser.get(userId) ?? 0) >= MOST_OF_USER) {
      throw new RateLimited({ retryAfter: RETRY_AFTER_S });
    }
  };

  const sendNews = async (peer: Peer, userId: string, since: string | undefined) => {
    if (since !== undefined && !isId(since)) {
      const errors = [{ field: "since", message: "must be a UUID" }];
      peer.tell(errorFrame(new ValidationFailed({ errors })));
    }
    try {
      await news.open(peer, userId, isId(since) ? since.toLowerCase() : undefined);
    } catch (error) {
      if (isError(error, NotificationNotFound)) {
        peer.tell(errorFrame(error));
        return;
      }
      log?.debug({ userId }, "What somebody missed could not be read", error);
      peer.close(CLOSE.tryAgain);
    }
  };

  const open = (peer: Peer, ticket: Ticket, since: string | undefined) => {
    const { caller } = ticket;
    tickets.set(peer, ticket);
    count(caller.id, 1);
    peer.on("pong", () => {
      peer.isAlive = true;
    });
    // What was wrong it has been told, and nothing of ours has failed.
    peer.on("error", () => {});
    peer.once("close", () => {
      tickets.delete(peer);
      count(caller.id, -1);
      events.forget(peer);
      news.forget(peer, caller.id);
    });
    converse(peer, caller, events);
    void sendNews(peer, caller.id, since);
  };

  const closeEnded = async () => {
    const now = clock.now();
    for (const [peer, { caller, until }] of tickets) {
      if (until <= now || sessions.hasEnded(caller.sessionId)) peer.close(CLOSE.unauthenticated);
    }
  };
  const beat = async () => {
    for (const peer of tickets.keys()) {
      if (peer.isAlive) {
        peer.isAlive = false;
        if (peer.isOpen) peer.ping();
      } else {
        peer.terminate();
      }
    }
  };

  return {
    serve(req, res, since) {
      if (req.method === "OPTIONS") {
        sendOptions(res, SOCKET_METHODS);
        return;
      }
      const ticket = ticketOf(req, config);
      checkRoom(ticket.caller.id);
      const said = Object.entries(res.getHeaders()).filter(([name]) => TOLD_HEADERS.test(name));
      headers.set(
        req,
        said.map(([name, value]) => `${name}: ${value}`),
      );
      const { socket, head } = takeOver(req, res);
      log?.info({ requestId: req.requestId, userId: ticket.caller.id }, "GET /ws 101");
      server.handleUpgrade(req, socket, head, (peer: WebSocket) =>
        open(peer as Peer, ticket, since),
      );
    },

    start(logger) {
      log = logger;
      events.start(logger);
      news.start(logger);
      inBackground = [
        repeat({
          pauseMs: CHECK_EVERY_MS,
          work: closeEnded,
          log: logger,
          failed: "Sockets whose session has ended could not be closed",
        }),
        repeat({
          pauseMs: heartbeatMs,
          work: beat,
          log: logger,
          failed: "Sockets could not be asked whether they are alive",
        }),
      ];
    },

    events: {
      [NEWS]: {
        params: {
          whom: [
            { type: "array", items: "string" },
            { type: "equal", value: "many" },
          ],
        },
        handler: (ctx: Context<{ whom: About }>) => news.nudge(ctx.params.whom),
      },
    },

    async drain() {
      if (draining) return;
      draining = true;
      const closed = [...tickets.keys()].map(
        (peer) =>
          new Promise<void>((resolve) => {
            peer.once("close", () => resolve());
            peer.close(CLOSE.goingAway);
          }),
      );
      await Promise.all([events.stop(), news.stop(), ...inBackground.map((work) => work.stop())]);
      // The library cuts off who has not answered by then.
      await Promise.all(closed);
    },
  };
}
