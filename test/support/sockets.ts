import { type ClientOptions, WebSocket } from "ws";

/** A frame as it came. */
// biome-ignore lint/suspicious/noExplicitAny: a test knows what it waits for
export type Said = { type: string } & Record<string, any>;

/** How long a test waits for a frame that does not come. */
const PATIENCE_MS = 10_000;

/** Somebody's open socket, and all that has come over it. */
export class Line {
  readonly heard: Said[] = [];
  closed: { code: number } | undefined;
  private taken = 0;
  private wake = () => {};

  private constructor(readonly socket: WebSocket) {
    socket.on("message", (data) => {
      this.heard.push(JSON.parse(String(data)));
      this.wake();
    });
    socket.on("close", (code) => {
      this.closed = { code };
      this.wake();
    });
    socket.on("error", () => {});
  }

  /**
   * @param query as it stands behind the path, e.g. `?token=…`
   * @throws Refused when the gateway does not open it
   */
  static to(origin: string, query = "", options: ClientOptions = {}): Promise<Line> {
    const socket = new WebSocket(`${origin.replace("http", "ws")}/ws${query}`, options);
    const line = new Line(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(line));
      socket.once("unexpected-response", (_req, res) => {
        let body = "";
        res.on("data", (part) => {
          body += part;
        });
        res.on("end", () => reject(new Refused(res.statusCode ?? 0, body, res.headers)));
      });
      socket.once("error", reject);
    });
  }

  says(...frames: object[]): this {
    for (const frame of frames) this.socket.send(JSON.stringify(frame));
    return this;
  }

  /** The next frame of this kind, of those that nobody has asked for yet; frames before it count as asked for. */
  hears(fits: Partial<Said> | ((said: Said) => boolean)): Promise<Said> {
    const isIt =
      typeof fits === "function"
        ? fits
        : (said: Said) => Object.entries(fits).every(([name, value]) => said[name] === value);
    return this.until(JSON.stringify(fits), () => {
      while (this.taken < this.heard.length) {
        const said = this.heard[this.taken++] as Said;
        if (isIt(said)) return said;
      }
      return undefined;
    });
  }

  /** The code with which the gateway closes it. */
  isClosed = (): Promise<number> => this.until("the end", () => this.closed?.code);

  hangsUp(): void {
    this.socket.terminate();
  }

  private async until<T>(what: string | undefined, look: () => T | undefined): Promise<T> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const left = deadline - Date.now();
      if (left <= 0 || this.closed) {
        throw new Error(
          `Waited for ${what}, closed: ${this.closed?.code}, heard: ${JSON.stringify(this.heard).slice(-2000)}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** What the gateway answers instead of opening a socket. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly body: string,
    readonly headers: Record<string, string | string[] | undefined>,
  ) {
    super(`Refused with ${status}: ${body}`);
  }
  get code(): string {
    return JSON.parse(this.body).code;
  }
}
