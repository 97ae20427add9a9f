import type { ServiceBroker } from "moleculer";
import type { Log } from "../../lib/contract/define";
import { contracts } from "../contracts";

export interface Readiness {
  /** Whether requests can be served; what is missing goes to the log and not to the client. */
  isReady(): Promise<boolean>;
}

/** Services that some node runs now, this one or another. */
export const servicesRun = (broker: ServiceBroker): ReadonlySet<string> =>
  new Set(broker.registry.getServiceList({ onlyAvailable: true }).map(({ name }) => name));

/**
 * Tells whether this gateway can serve requests. The log has one line when something goes missing or
 * something else does, and one when nothing is missing any more, however often somebody asks.
 *
 * @param parts.draining whether the gateway has begun to stop
 * @param parts.askDatabase fails where the database cannot be reached
 */
export function readiness(parts: {
  broker: () => ServiceBroker;
  draining: () => boolean;
  askDatabase: () => Promise<void>;
  log: () => Log;
}): Readiness {
  /** What the log's last line about it said is missing. */
  let told: string | null = null;

  const missing = async (): Promise<string | null> => {
    const run = servicesRun(parts.broker());
    const absent = Object.keys(contracts).filter((name) => !run.has(name));
    if (absent.length) return `no node runs ${absent.join(", ")}`;
    return parts.askDatabase().then(
      () => null,
      () => "the database cannot be reached",
    );
  };

  // Starting and stopping are no news: whoever does it says so.
  const isPassing = () => parts.draining() || !parts.broker().started;

  return {
    async isReady() {
      if (isPassing()) return false;
      const reason = await missing();
      // While we asked, the stop may have begun; what is missing then has been stopped.
      if (isPassing()) return false;
      if (reason !== told) {
        if (reason === null) parts.log().info("Ready again");
        else parts.log().warn(`Not ready: ${reason}`);
        told = reason;
      }
      return reason === null;
    },
  };
}
