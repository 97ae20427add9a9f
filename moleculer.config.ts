import { brokerOptions } from "./lib/broker";
import { loadConfig } from "./lib/config";
import { loadEnvironment } from "./lib/environment";

/**
 * Broker options from the environment, for Moleculer's own tools (`moleculer-runner --config`). The
 * product's processes are started by main.ts, which uses the same options.
 */
loadEnvironment();

export default brokerOptions(loadConfig(process.env));
