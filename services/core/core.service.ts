/**
 * core: hashing and tokens. Owns no table.
 *
 * Invariants: passwords are hashed a few at a time, because bcrypt works in libuv's four threads and would
 * keep every file and name look-up of the process waiting; tokens are of one algorithm, issuer and audience.
 */
import { createSecretKey } from "node:crypto";
import { availableParallelism } from "node:os";
import bcrypt from "bcrypt";
import jwt from "jsonwebtoken";
import type { ServiceSchema } from "moleculer";
import { jwtSecret } from "../../lib/config";
import { ROLES } from "../../lib/contract/define";
import { Unauthenticated } from "../../lib/errors";
import { isId } from "../../lib/ids";
import type { Kernel } from "../../lib/kernel";
import { createWorkQueue } from "../../lib/work-queue";
import { implement } from "../contracts";
import { ACCESS_TOKEN_SECONDS, core } from "./core.contract";

const ALGORITHM = "HS256";
const ISSUER = "marquee";
const AUDIENCE = "marquee-api";

/** Leaves libuv at least one of its four threads for files and names. */
const MOST_HASHES_AT_ONCE = 3;
/** About seven seconds of work at cost 10 on two cores: whoever comes later would wait in vain. */
const MOST_HASHES_WAITING = 256;
/** At a higher cost fewer may wait: nobody's call lives much longer than this. */
const MOST_WAITING_MS = 12_000;

export default function coreService({ config, clock }: Kernel): ServiceSchema {
  // A KeyObject: with a string, jsonwebtoken first tries to read it as a public key, on every call.
  const key = createSecretKey(Buffer.from(jwtSecret(config)));
  const hashing = createWorkQueue({
    concurrency: Math.min(MOST_HASHES_AT_ONCE, availableParallelism()),
    waiting: MOST_HASHES_WAITING,
    waitMs: MOST_WAITING_MS,
  });
  const seconds = () => Math.floor(clock.now().getTime() / 1000);

  return implement(core, {
    actions: {
      async $hashText({ params }) {
        return { hash: await hashing.run(() => bcrypt.hash(params.text, config.bcryptRounds)) };
      },

      async $compareText({ params }) {
        return { matches: await hashing.run(() => bcrypt.compare(params.text, params.hash)) };
      },

      async $signJwt({ params: { claims } }) {
        const payload = { role: claims.role, sid: claims.sessionId, iat: seconds() };
        const token = jwt.sign(payload, key, {
          algorithm: ALGORITHM,
          issuer: ISSUER,
          audience: AUDIENCE,
          subject: claims.id,
          expiresIn: ACCESS_TOKEN_SECONDS,
        });
        return { token, expiresIn: ACCESS_TOKEN_SECONDS };
      },

      async $verifyJwt({ params: { token } }) {
        let payload: string | jwt.JwtPayload;
        try {
          payload = jwt.verify(token, key, {
            algorithms: [ALGORITHM],
            issuer: ISSUER,
            audience: AUDIENCE,
            clockTimestamp: seconds(),
          });
        } catch {
          throw new Unauthenticated({});
        }
        const { sub, role, sid, exp } = typeof payload === "string" ? {} : payload;
        const known = ROLES.find((candidate) => candidate === role);
        // The library takes a token without an expiry for one that never expires.
        if (!isId(sub) || !isId(sid) || !known || exp === undefined) throw new Unauthenticated({});
        return { id: sub, role: known, sessionId: sid };
      },
    },
  });
}
