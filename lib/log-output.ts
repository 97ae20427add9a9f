import pino, { type DestinationStream } from "pino";

/**
 * Writes the lines of one turn of the event loop together: a batch answers dozens of requests in a turn, and each
 * write of its own would keep the next of them waiting. A process that is killed in the middle of a turn loses its
 * lines; one that ends in any other way does not.
 *
 * @param output has written what it is given when it comes back
 */
export function turnByTurn(output: DestinationStream): DestinationStream {
  let lines = "";
  const flush = () => {
    const written = lines;
    lines = "";
    if (written) output.write(written);
  };
  process.on("exit", flush);
  return {
    write(line) {
      if (!lines) setImmediate(flush);
      lines += line;
    },
  };
}

/** Lines that cannot be written are kept up to so much, and written when there is room again. */
const MOST_KEPT_BYTES = 4 * 1024 * 1024;

let ofProcess: DestinationStream | undefined;

/** The standard output, for the log lines of all brokers of a process. */
export function standardOutput(): DestinationStream {
  if (!ofProcess) {
    const output = pino.destination({ dest: 1, sync: true, maxLength: MOST_KEPT_BYTES });
    // A full disk must not end what works: without its log it goes on.
    output.on("error", () => {});
    ofProcess = turnByTurn(output);
  }
  return ofProcess;
}
