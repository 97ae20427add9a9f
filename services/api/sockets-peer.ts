import { WebSocket } from "ws";
import {
  BadRequest,
  MalformedJson,
  PayloadTooLarge,
  RateLimited,
  ServiceUnavailable,
  Unauthenticated,
  UnsupportedMediaType,
} from "../../lib/errors";
import { errorFrame, type Frame } from "./sockets-protocol";

/** Why a socket is closed (RFC 6455, 7.4). */
export const CLOSE = {
  goingAway: 1001,
  protocol: 1002,
  binary: 1003,
  badText: 1007,
  policy: 1008,
  tooLarge: 1009,
  tryAgain: 1013,
  unauthenticated: 4401,
} as const;

/** Whoever takes in so much less than is sent to them is dropped: nothing is kept for them without bound. */
const MOST_BUFFERED_BYTES = 1_048_576;

/** What is said before a socket is closed for the client's own fault, or ours. */
const faultOf = (code: number | undefined): Error | undefined => {
  switch (code) {
    case CLOSE.protocol:
      return new BadRequest({});
    case CLOSE.binary:
      return new UnsupportedMediaType({});
    case CLOSE.badText:
      return new MalformedJson({});
    case CLOSE.policy:
      return new RateLimited({ retryAfter: 1 });
    case CLOSE.tooLarge:
      return new PayloadTooLarge({});
    case CLOSE.tryAgain:
      return new ServiceUnavailable({ retryAfter: 1 });
    case CLOSE.unauthenticated:
      return new Unauthenticated({});
    default:
      return undefined;
  }
};

/** The other end of a socket: whatever it is closed for, by the library too, it is told in a frame first. */
export class Peer extends WebSocket {
  /** Whether it has answered since it was last asked whether it is there. */
  isAlive = true;

  get isOpen(): boolean {
    return this.readyState === WebSocket.OPEN;
  }

  override close(code?: number, reason?: string | Buffer): void {
    const fault = this.isOpen ? faultOf(code) : undefined;
    if (fault) this.tell(errorFrame(fault));
    super.close(code, reason);
  }

  /** Sends a frame, to whoever is still there and keeps up. */
  tell(frame: Frame): void {
    if (!this.isOpen) return;
    this.send(frame, { binary: false });
    if (this.bufferedAmount > MOST_BUFFERED_BYTES) this.terminate();
  }

  /** Sends frames and waits until they are on their way, or nobody is there any more. */
  async tellAll(frames: readonly Frame[]): Promise<void> {
    for (const frame of frames) {
      if (!this.isOpen) return;
      await new Promise<void>((resolve) => this.send(frame, { binary: false }, () => resolve()));
    }
  }
}
