import { connect } from "node:net";

export const NATS_URL = "nats://127.0.0.1:4222";

/** Whether a NATS server answers on its usual local port. */
export function natsAnswers(): Promise<boolean> {
  const { hostname, port } = new URL(NATS_URL);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("data", (greeting) => done(greeting.toString().startsWith("INFO")));
    socket.once("error", () => done(false));
    socket.setTimeout(1000, () => done(false));
  });
}
