/**
 * Requests that ask for another protocol on their connection. They are answered like all others, with the same headers
 * and problems, and the connection is closed then; unless somebody takes it over.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { BadRequest } from "../../lib/errors";

interface Upgrade {
  socket: Socket;
  /** What has come of the other protocol already. */
  head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/** Joins a response to a connection that Node has taken out of HTTP. */
export function beginUpgrade(
  req: IncomingMessage,
  socket: Socket,
  head: Buffer,
  res: ServerResponse,
): ServerResponse {
  upgrades.set(req, { socket, head });
  // Whoever has gone before the answer is read has not harmed us.
  socket.on("error", () => socket.destroy());
  res.shouldKeepAlive = false;
  res.assignSocket(socket);
  res.once("finish", () => {
    res.detachSocket(socket);
    // For whoever waits for the end of the request.
    res.emit("close");
    socket.destroySoon();
  });
  return res;
}

/**
 * Node does not read the body of a request that asks for an upgrade.
 *
 * @throws BadRequest where there is one
 */
export function checkUpgrade(req: IncomingMessage): void {
  const { "content-length": length = "0", "transfer-encoding": coding } = req.headers;
  if (upgrades.has(req) && (length !== "0" || coding !== undefined)) throw new BadRequest({});
}

/** Whether a request asks for another protocol. */
export const isUpgrade = (req: IncomingMessage): boolean => upgrades.has(req);

/** Takes the connection of such a request over; nothing can be answered from then on. */
export function takeOver(req: IncomingMessage, res: ServerResponse): Upgrade {
  const upgrade = upgrades.get(req);
  if (!upgrade) throw new Error("There is nothing to take over");
  res.detachSocket(upgrade.socket);
  res.emit("close");
  return upgrade;
}
