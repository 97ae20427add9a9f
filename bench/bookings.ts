/**
 * `npm run bench:bookings`: how fast seats are sold, on this machine, against what one client does with one
 * booking a commit. docs/benchmarks.md says what is measured and how to read it.
 */
import { hot, hundred, overNats } from "./bookings/against-floor";
import { memory, IN_ALL as PEOPLE_FOR_MEMORY } from "./bookings/memory";
import { host, rush } from "./bookings/neighbours";
import { nodes } from "./bookings/nodes";
import { crowded, soldOut } from "./bookings/pressure";
import { runBench } from "./run-bench";

/** Nobody books faster than this on a small machine; a measurement that runs out of people ends early. */
const MOST_BOOKINGS_A_SECOND = 12_000;
const MOST_PEOPLE = 400_000;

runBench({
  name: "bookings",
  title: "Bookings",
  // They would be sent in the middle of what is measured next; bench:events measures with them.
  mails: false,
  scenarios: {
    hot: { run: hot },
    hundred: { run: hundred },
    nats: { run: overNats, needsNats: true },
    nodes: { run: nodes, needsNats: true },
    crowd: { run: crowded },
    "sold-out": { run: soldOut },
    memory: { run: memory },
    rush: { run: rush },
    host: { run: host },
  },
  crowdOf: ({ seconds, only }) =>
    Math.max(
      Math.min(seconds * MOST_BOOKINGS_A_SECOND, MOST_PEOPLE),
      only.includes("memory") ? PEOPLE_FOR_MEMORY : 0,
    ),
});
