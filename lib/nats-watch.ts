import type { Middleware } from "moleculer";
import { natsServers } from "./nats-options";

/** Moleculer tries every five seconds; what stays the same is told again after so long. */
const TELL_AGAIN_AFTER_MS = 60_000;

/** Moleculer's own lines of a try that failed, three for each; {@link natsWatch} tells of them instead. */
const OF_A_FAILED_TRY = new Set<unknown>([
  "NATS error.",
  "Connection is failed.",
  "Reconnecting...",
]);

/** Whether a line's arguments are such a one. */
export const tellsOfFailedTry = ([first]: readonly unknown[]): boolean =>
  OF_A_FAILED_TRY.has(first);

/**
 * Tells the operator when a node cannot reach NATS, with the variable and the servers, and when it has: once
 * for each reason, and once a minute while it stays.
 */
export function natsWatch(natsUrl: string): Middleware {
  const servers = natsServers(natsUrl);
  return {
    name: "NatsWatch",
    created(broker) {
      const log = broker.getLogger("nats");
      const { localBus } = broker;
      let told = { reason: "", at: Number.NEGATIVE_INFINITY };
      localBus.on("$transporter.error", ({ error }: { error?: { message?: string } }) => {
        const reason = error?.message ?? "it does not answer";
        const at = performance.now();
        if (reason === told.reason && at - told.at < TELL_AGAIN_AFTER_MS) return;
        told = { reason, at };
        log.error(
          `No connection to the NATS of NATS_URL, ${servers}: ${reason}. Nothing runs here until there ` +
            "is one; trying again every few seconds",
        );
      });
      localBus.on("$transporter.connected", () => log.info(`Connected to the NATS at ${servers}`));
    },
  };
}
