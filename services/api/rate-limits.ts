import type { ServerResponse } from "node:http";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import type { Config } from "../../lib/config";
import { RateLimited } from "../../lib/errors";
import { callerOf, type GatewayRequest } from "./gateway-request";
import { API_BASE } from "./routes";

const WINDOW_SECONDS = 60;
/** POSTs under /auth per address, for each that an account may have. */
const ADDRESS_FACTOR = 10;

/** One kind of budget: so many requests a minute for each key. */
export interface Budget {
  /**
   * Counts a request and sets the `X-RateLimit-*` headers.
   *
   * @throws RateLimited when the budget of this minute is spent
   */
  spend(key: string, res: ServerResponse): Promise<void>;
  /** Sets the headers without counting. */
  show(key: string, res: ServerResponse): Promise<void>;
}

const OFF: Budget = { spend: async () => {}, show: async () => {} };

const toSeconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));

function budget(points: number): Budget {
  if (points === 0) return OFF;
  const limiter = new RateLimiterMemory({ points, duration: WINDOW_SECONDS });
  const setHeaders = (res: ServerResponse, state: RateLimiterRes | null) => {
    res.setHeader("X-RateLimit-Limit", points);
    res.setHeader("X-RateLimit-Remaining", Math.max(0, state?.remainingPoints ?? points));
    res.setHeader("X-RateLimit-Reset", toSeconds(state?.msBeforeNext ?? WINDOW_SECONDS * 1000));
  };
  return {
    async spend(key, res) {
      try {
        setHeaders(res, await limiter.consume(key));
      } catch (state) {
        if (!(state instanceof RateLimiterRes)) throw state;
        setHeaders(res, state);
        throw new RateLimited({ retryAfter: toSeconds(state.msBeforeNext) });
      }
    },
    async show(key, res) {
      setHeaders(res, await limiter.get(key));
    },
  };
}

export interface Budgets {
  /** Sign-in and the like, by the account named. */
  account: Budget;
  /** POSTs under /auth, by client address. */
  auth: Budget;
  /** Everything else, by user, or by address without one. */
  api: Budget;
}

/** The budgets of this node; each node counts for itself. */
export function budgetsOf({ rateLimits }: Config): Budgets {
  return {
    account: budget(rateLimits.auth),
    auth: budget(rateLimits.auth * ADDRESS_FACTOR),
    api: budget(rateLimits.api),
  };
}

/**
 * Counts a request against its budget: POSTs under /auth by address, all else by user, or by address without
 * one. Health checks and preflights are free, or a busy client could stop the service.
 *
 * @throws RateLimited
 */
export function spendOn(
  budgets: Budgets,
  req: GatewayRequest,
  res: ServerResponse,
  path: string,
): Promise<void> {
  const { address = "unknown" } = req;
  const caller = callerOf(req);
  const key = caller ? `u:${caller.id}` : `a:${address}`;
  if (path.startsWith("/health/") || req.method === "OPTIONS") return budgets.api.show(key, res);
  if (req.method === "POST" && path.startsWith(`${API_BASE}/auth/`)) {
    return budgets.auth.spend(address, res);
  }
  return budgets.api.spend(key, res);
}

/** The account that a sign-in names, as the key of its budget; undefined where it names none. */
export function namedAccount(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const { usernameOrEmail, email, username } = body as Record<string, unknown>;
  const name = [usernameOrEmail, email, username].find((value) => typeof value === "string");
  return typeof name === "string" ? name.normalize().trim().toLowerCase().slice(0, 254) : undefined;
}
