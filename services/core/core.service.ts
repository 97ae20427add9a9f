/**
 * core: hashing and tokens, and what became of events that somebody could not handle. Owns no table.
 *
 * Invariants: passwords are hashed a few at a time, because bcrypt works in libuv's four threads and would
 * keep every file and name look-up of the process waiting; tokens are of one algorithm, issuer and audience.
 */
import { availableParallelism } from "node:os";
import bcrypt from "bcrypt";
import type { ServiceSchema } from "moleculer";
import { ACCESS_TOKEN_SECONDS, accessTokens } from "../../lib/access-tokens";
import type { Kernel } from "../../lib/kernel";
import type { RepeatedWork } from "../../lib/repeated";
import { createWorkQueue } from "../../lib/work-queue";
import { sweepOutbox } from "../../mixins/channels";
import { listUndelivered, replay } from "../../mixins/dead-letters";
import { hearers, implement } from "../contracts";
import { core } from "./core.contract";

/** Leaves libuv at least one of its four threads for files and names. */
const MOST_HASHES_AT_ONCE = 3;
/** About seven seconds of work at cost 10 on two cores: whoever comes later would wait in vain. */
const MOST_HASHES_WAITING = 256;
/** Events that could not be handled, unless more are asked for. */
const LISTED_AT_MOST = 100;
/** At a higher cost fewer may wait: nobody's call lives much longer than this. */
const MOST_WAITING_MS = 12_000;

export default function coreService({ config, clock, database }: Kernel): ServiceSchema {
  const tokens = accessTokens(config, clock);
  const hashing = createWorkQueue({
    concurrency: Math.min(MOST_HASHES_AT_ONCE, availableParallelism()),
    waiting: MOST_HASHES_WAITING,
    waitMs: MOST_WAITING_MS,
  });

  let sweeping: RepeatedWork | undefined;

  return implement(core, {
    actions: {
      async $hashText({ params }) {
        return { hash: await hashing.run(() => bcrypt.hash(params.text, config.bcryptRounds)) };
      },

      async $compareText({ params }) {
        return { matches: await hashing.run(() => bcrypt.compare(params.text, params.hash)) };
      },

      async $signJwt({ params: { claims } }) {
        return { token: tokens.sign(claims), expiresIn: ACCESS_TOKEN_SECONDS };
      },

      // The gateway checks tokens by itself; this is for whoever else is given one.
      async $verifyJwt({ params: { token } }) {
        return tokens.verify(token);
      },

      $listUndelivered: ({ params: { limit = LISTED_AT_MOST, ...which } }) =>
        listUndelivered(database, { ...which, most: limit }),

      async $replay({ params }) {
        return { replayed: await replay(database, params) };
      },
    },

    async started({ log }) {
      sweeping = sweepOutbox(database, hearers, log);
    },

    async stopped() {
      await sweeping?.stop();
    },
  });
}
