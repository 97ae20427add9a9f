import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a server of somebody else's answers; or does, where it misbehaves. */
export type Answering =
  | { status: number; headers?: Record<string, string>; body?: string }
  | ((res: ServerResponse) => void);

export interface StandIn {
  /** `http://127.0.0.1:…` */
  readonly origin: string;
  /** How often somebody has asked. */
  readonly requests: number;
  /** How many connections there have been, and how many there are. */
  readonly connections: number;
  readonly open: number;
  /** The next answers; afterwards it answers as it would by itself. */
  answers(...next: Answering[]): void;
  close(): Promise<void>;
}

/** Never answers. */
export const silence: Answering = () => {};
/** Begins an answer that has no end. */
export const endless =
  (status: number): Answering =>
  (res) => {
    res.writeHead(status);
    const more = () => {
      while (!res.destroyed && res.write("x".repeat(10_000)));
    };
    res.on("drain", more);
    more();
  };

/** A server on this machine that stands in for one of somebody else's. */
export async function standIn(
  answer: (req: IncomingMessage, body: Buffer) => Answering,
): Promise<StandIn> {
  let requests = 0;
  let planned: Answering[] = [];
  const server = createServer(async (req, res) => {
    requests++;
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const answering = planned.shift() ?? answer(req, Buffer.concat(chunks));
    if (typeof answering === "function") return answering(res);
    res.writeHead(answering.status, answering.headers).end(answering.body);
  });
  let [connections, open] = [0, 0];
  server.on("connection", (socket) => {
    connections++;
    open++;
    socket.once("close", () => {
      open--;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get requests() {
      return requests;
    },
    get connections() {
      return connections;
    },
    get open() {
      return open;
    },
    answers(...next) {
      planned = next;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
