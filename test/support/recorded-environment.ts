import { type Environment, loadConfig } from "../../lib/config";

/** The names of all variables that the configuration looks at. */
export function variablesRead(): string[] {
  const names = new Set<string>();
  const recording: Environment = new Proxy(
    {},
    {
      get: (_target, name) => {
        names.add(String(name));
        return undefined;
      },
    },
  );
  loadConfig(recording);
  return [...names].sort();
}
