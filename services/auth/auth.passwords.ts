import { randomUUID } from "node:crypto";
import type { Call, Context } from "../../lib/contract/define";
import type { Contracts } from "../contracts";
import { InvalidCredentials } from "./auth.contract";
import { costOf, fitsBcrypt } from "./auth.rules";

/** A sign-in elsewhere may renew the hash that was just compared, though the password is the same. */
const MOST_ATTEMPTS = 3;

/** A text that is nobody's password. */
const anyText = (): string => randomUUID();

/** How passwords are compared: an unknown account takes the time that a wrong password takes. */
export function authPasswords() {
  /** Hash of nothing in particular, to spend the time of a comparison on. */
  let decoy: Promise<string> | undefined;

  const decoyHash = (call: Call<Contracts>): Promise<string> => {
    decoy ??= call("core.$hashText", { text: anyText() }).then(
      (made) => made.hash,
      (error) => {
        decoy = undefined;
        throw error;
      },
    );
    return decoy;
  };

  return {
    /** Before the first sign-in, which would be known for an unknown account's by the time it takes. */
    async prepare(call: Call<Contracts>): Promise<void> {
      await decoyHash(call);
    },

    /** Whether it is the password of this hash; without a hash it never is. */
    async matches(
      call: Call<Contracts>,
      password: string,
      hash: string | undefined,
    ): Promise<boolean> {
      const decoy = await decoyHash(call);
      const text = fitsBcrypt(password) ? password : anyText();
      const compared = await call("core.$compareText", { text, hash: hash ?? decoy });
      // One from when hashes were cheaper would be told from an unknown account by its haste.
      if (hash !== undefined && costOf(hash) < costOf(decoy)) {
        await call("core.$compareText", { text, hash: decoy });
      }
      return compared.matches && hash !== undefined && text === password;
    },

    /** Makes a hash of today's cost of one that was made with another; nobody is refused if that fails. */
    async renewHash(
      { call, log }: Pick<Context<Contracts, unknown>, "call" | "log">,
      password: string,
      { id, passwordHash: from }: { id: string; passwordHash: string },
    ): Promise<void> {
      try {
        if (costOf(from) === costOf(await decoyHash(call))) return;
        const { hash: to } = await call("core.$hashText", { text: password });
        await call("users.$setPasswordHash", { id, from, to });
      } catch (error) {
        log.warn("A password's hash could not be renewed", error);
      }
    },
  };
}

/**
 * Repeats what compares a password with the stored hash and then finds another one stored.
 *
 * @throws InvalidCredentials when it always is another one
 */
export async function withCurrentHash<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let left = MOST_ATTEMPTS; left > 0; left--) {
    const done = await attempt();
    if (done !== undefined) return done;
  }
  throw new InvalidCredentials({});
}
