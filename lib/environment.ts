import { existsSync } from "node:fs";

/** Adds the variables of a `.env` file in the working directory; what is set already stays. */
export function loadEnvironment(): void {
  if (existsSync(".env")) process.loadEnvFile(".env");
}
