/**
 * Endpoints are whatever people have told us, so some never answer, and each of those would hold a place for ten seconds
 * again and again. Whoever was not answered in time is a suspect until they are: a push service is then asked one
 * thing at a time, and after a few more left alone for a while; so is a person, of whatever services.
 */
import { NotAsked } from "./sender";

/** Unanswered one after the other, until a push service is left alone. */
const MOST_UNANSWERED = 3;
const FIRST_REST_MS = 60_000;
const LONGEST_REST_MS = 3_600_000;
/** How soon what waits for another one is tried again. */
const BUSY_MS = 5_000;
/** More are not remembered: those that were suspects first are forgotten. */
const MOST_SUSPECTS = 10_000;

interface Suspect {
  unanswered: number;
  restsUntil: number;
}

export interface Suspects {
  /**
   * Asks for one of them, unless it is to wait.
   *
   * @param isUnanswered whether an error says that nobody has answered
   * @throws NotAsked where it is; what `ask` throws otherwise
   */
  ask<T>(
    who: { origin: string; userId: string },
    ask: () => Promise<T>,
    isUnanswered: (error: unknown) => boolean,
  ): Promise<T>;
}

/** @param now in milliseconds, by a clock that never goes back */
export function suspects(now: () => number = () => performance.now()): Suspects {
  const known = new Map<string, Suspect>();
  const underWay = new Map<string, number>();
  const count = (key: string, by: 1 | -1) => {
    const more = (underWay.get(key) ?? 0) + by;
    if (more > 0) underWay.set(key, more);
    else underWay.delete(key);
  };
  const suspect = (key: string, mayRest: boolean) => {
    const unanswered = (known.get(key)?.unanswered ?? 0) + 1;
    const over = unanswered - MOST_UNANSWERED;
    const restMs = mayRest && over >= 0 ? Math.min(FIRST_REST_MS * 2 ** over, LONGEST_REST_MS) : 0;
    known.delete(key);
    known.set(key, { unanswered, restsUntil: now() + restMs });
    const [first] = known.keys();
    if (known.size > MOST_SUSPECTS && first !== undefined) known.delete(first);
  };

  return {
    async ask({ origin, userId }, ask, isUnanswered) {
      const keys = [origin, userId];
      for (const key of keys) {
        const one = known.get(key);
        if (!one) continue;
        const restMs = one.restsUntil - now();
        if (restMs > 0) throw new NotAsked("The push service has not answered for a while", restMs);
        if (underWay.has(key)) throw new NotAsked("Another message waits for an answer", BUSY_MS);
      }
      for (const key of keys) count(key, 1);
      try {
        const answer = await ask();
        for (const key of keys) known.delete(key);
        return answer;
      } catch (error) {
        if (isUnanswered(error)) {
          suspect(origin, true);
          // Their other browsers may be elsewhere.
          suspect(userId, false);
        }
        throw error;
      } finally {
        for (const key of keys) count(key, -1);
      }
    },
  };
}
