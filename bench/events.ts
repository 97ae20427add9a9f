/**
 * `npm run bench:events`: how fast people hear of what happened, on this machine. docs/benchmarks.md says what is
 * measured and how to read it.
 */
import { create, fanOut } from "./events/fan-out";
import { FOLLOWERS } from "./events/hosts";
import { socket, socketOverNats, sockets } from "./events/live";
import { relay } from "./events/relay";
import { rush } from "./events/rush";
import { runBench } from "./run-bench";

/** For the long rush, of 30 seconds. */
const PEOPLE = 200_000;

runBench({
  name: "events",
  title: "Events",
  mails: true,
  scenarios: {
    "fan-out": { run: fanOut },
    create: { run: create },
    relay: { run: relay },
    rush: { run: rush },
    socket: { run: socket },
    nats: { run: socketOverNats, needsNats: true },
    sockets: { run: sockets },
  },
  crowdOf: ({ only }) => (only.includes("rush") ? PEOPLE : FOLLOWERS),
});
