import { connect, type Socket } from "node:net";

export interface RawAnswer {
  status: number;
  headers: Headers;
  bytes: Buffer;
  body: string;
}

/** How long a test waits for an answer that does not come. */
const PATIENCE_MS = 15_000;

/** Takes a body apart that came in chunks; undefined while its end is missing. */
function unchunked(bytes: Buffer): { body: Buffer; length: number } | undefined {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    const start = lineEnd + 2;
    if (bytes.length < start + size + 2) return undefined;
    if (size === 0) return { body: Buffer.concat(parts), length: start + 2 };
    parts.push(bytes.subarray(start, start + size));
    at = start + size + 2;
  }
}

/** A bare connection, for what no HTTP client would send. */
export class Wire {
  private received = Buffer.alloc(0);
  private ended = false;
  private wake = () => {};

  private constructor(private readonly socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.wake();
    });
    const end = () => {
      this.ended = true;
      this.wake();
    };
    socket.on("close", end);
    // A reset is a way to close; whether an answer came before it is what tests ask.
    socket.on("error", end);
  }

  static to(origin: string): Promise<Wire> {
    const { hostname, port } = new URL(origin);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new Wire(socket)));
      socket.once("error", reject);
    });
  }

  says(...lines: (string | Buffer)[]): this {
    for (const line of lines) this.socket.write(line);
    return this;
  }

  /** The next answer on this connection. */
  async hears(): Promise<RawAnswer> {
    return this.until("an answer", () => this.take());
  }

  /** Fails unless the server closes the connection. */
  async isClosed(): Promise<void> {
    await this.until("the end", () => (this.ended ? true : undefined));
  }

  hangsUp(): void {
    this.socket.destroy();
  }

  private async until<T>(what: string, look: () => T | undefined): Promise<T> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const left = deadline - Date.now();
      if (left <= 0 || this.ended) {
        throw new Error(`Waited for ${what}, got: ${this.received.toString("latin1")}`);
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

  private take(): RawAnswer | undefined {
    const headEnd = this.received.indexOf("\r\n\r\n");
    if (headEnd < 0) return undefined;
    const [statusLine = "", ...lines] = this.received.toString("latin1", 0, headEnd).split("\r\n");
    const headers = new Headers(
      lines.map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
    );
    const rest = this.received.subarray(headEnd + 4);
    const length = Number(headers.get("content-length") ?? 0);
    const found =
      headers.get("transfer-encoding") === "chunked"
        ? unchunked(rest)
        : rest.length < length
          ? undefined
          : { body: rest.subarray(0, length), length };
    if (!found) return undefined;
    this.received = rest.subarray(found.length);
    const status = Number(statusLine.split(" ")[1]);
    return { status, headers, bytes: found.body, body: found.body.toString() };
  }
}

/** Opens a connection for a piece of work and hangs up after it. */
export async function onWire<T>(origin: string, work: (wire: Wire) => Promise<T>): Promise<T> {
  const wire = await Wire.to(origin);
  try {
    return await work(wire);
  } finally {
    wire.hangsUp();
  }
}
