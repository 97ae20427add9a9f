import { type AppError, isError } from "../../lib/errors";
import { UserNotFound } from "../users/users.contract";

/**
 * What a call finds of somebody who was there a moment ago; whoever was deleted meanwhile is answered with
 * this refusal, as anybody who never had an account.
 */
export const unlessDeleted = <T>(finding: Promise<T>, refusal: () => AppError): Promise<T> =>
  finding.catch((error: unknown) => {
    throw isError(error, UserNotFound) ? refusal() : error;
  });
