import { connect, createServer, type Socket } from "node:net";

/** A cable between a program and a server, which can be cut and mended. */
export interface Cable {
  /** The server's URL, by way of the cable. */
  readonly url: string;
  /** Both ends hear that the connections are over, and new ones are refused. */
  cut(): void;
  /** Nobody hears anything any more: packets are lost, as behind a firewall that forgot the connection. */
  silence(): void;
  /** New connections work again; those from before do not come back. */
  mend(): void;
  remove(): Promise<void>;
}

/** @param target URL of the server, with its port */
export async function cableTo(target: string): Promise<Cable> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let state: "whole" | "cut" | "silent" = "whole";
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      // Cut on both sides: a broken pipe is what this is for.
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    if (state === "cut") near.destroy();
    if (state === "whole") near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(typeof address === "object" && address ? address.port : "");

  const cut = () => {
    state = "cut";
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    silence() {
      state = "silent";
      for (const socket of sockets) socket.unpipe().pause();
    },
    mend() {
      state = "whole";
    },
    remove() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
