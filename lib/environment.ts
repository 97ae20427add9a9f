import { existsSync } from "node:fs";
import { OperatorError } from "./program";

/**
 * Adds the variables of a `.env` file in the working directory; what is set already stays.
 *
 * @throws OperatorError when there is one that cannot be read
 */
export function loadEnvironment(): void {
  if (!existsSync(".env")) return;
  try {
    process.loadEnvFile(".env");
  } catch (error) {
    throw new OperatorError(`The file .env cannot be read: ${(error as Error).message}.`);
  }
}
