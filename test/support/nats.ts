import { connect } from "node:net";

export const NATS_URL = "nats://127.0.0.1:4222";

/** Whether a NATS server answers there; on its usual local port unless told. */
export function natsAnswers(url = NATS_URL): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port || 4222), hostname);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("data", (greeting) => done(greeting.toString().startsWith("INFO")));
    socket.once("error", () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}
