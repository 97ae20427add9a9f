import { ValidationFailed } from "../../lib/errors";

const MAX_PASSWORD_BYTES = 72;

/** Whether bcrypt would look at the whole password. */
export const fitsBcrypt = (password: string): boolean =>
  Buffer.byteLength(password) <= MAX_PASSWORD_BYTES;

/** The cost that a bcrypt hash was made with: the second field of `$2b$10$…`. */
export const costOf = (hash: string): number => Number(hash.split("$")[2]);

/**
 * The account that a login names, by whichever one of the three fields it uses.
 *
 * @throws ValidationFailed when none or more than one is given
 */
export function namedAccount(names: {
  email?: string;
  username?: string;
  usernameOrEmail?: string;
}): string {
  const given = [names.email, names.username, names.usernameOrEmail].filter(
    (name) => name !== undefined,
  );
  const [account] = given;
  if (account === undefined || given.length > 1) {
    throw new ValidationFailed({
      errors: [
        {
          field: "usernameOrEmail",
          message:
            account === undefined
              ? "is required, or email, or username"
              : "excludes email and username; name the account once",
        },
      ],
    });
  }
  return account;
}
