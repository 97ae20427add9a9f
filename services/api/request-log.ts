import type { ServerResponse } from "node:http";
import type { Log } from "../../lib/contract/define";
import { callerOf, type GatewayRequest } from "./gateway-request";

/** What the gateway writes of its requests: a line for each, and one more for each that failed. */
export interface RequestLog {
  /** Notes when the request has come, and logs it once it is answered. */
  follow(req: GatewayRequest, res: ServerResponse, path: string): void;
  /** Logs why a request was answered with this status, where that is for the operator to know. */
  failed(req: GatewayRequest, status: number, error: unknown): void;
}

export function requestLog(log: () => Log): RequestLog {
  return {
    follow(req, res, path) {
      const startedAt = performance.now();
      res.once("finish", () => {
        // Probes come every few seconds and tell nothing as long as they are answered.
        const level = path.startsWith("/health/") && res.statusCode < 400 ? "debug" : "info";
        log()[level](
          {
            requestId: req.requestId,
            userId: callerOf(req)?.id,
            ms: Math.round(performance.now() - startedAt),
          },
          `${req.method} ${path} ${res.statusCode}`,
        );
      });
    },

    failed({ requestId = "", method, url }, status, error) {
      // That something is away is no news to whoever looks whether it is.
      if (status === 503) log().debug({ requestId }, `${method} ${url}: 503`);
      else if (status >= 500) log().error({ requestId, err: error }, `${method} failed`);
    },
  };
}
