import type { Clock } from "./clock";
import type { Config } from "./config";
import type { Database } from "./database";

/** What every service is built with: one of each in a process. */
export interface Kernel {
  readonly config: Config;
  readonly clock: Clock;
  readonly database: Database;
}
