import type { ActionDefinition, Registry, RestMapping } from "../../lib/contract/define";

export const API_BASE = "/api";

/** One way in: a method and a path template that lead to an action. */
export interface Route {
  method: string;
  /** Below {@link API_BASE}, parameters as `:name`. */
  path: string;
  /** `service.action` */
  action: string;
  definition: ActionDefinition;
}

export const methodsOf = (rest: RestMapping): string[] =>
  rest.alsoMethod ? [rest.method, rest.alsoMethod] : [rest.method];

/** Paths whose words are fixed go before those with parameters: `/events/search` is no event's id. */
function bySpecificity(a: Route, b: Route): number {
  const left = a.path.split("/");
  const right = b.path.split("/");
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = Number(left[i]?.startsWith(":")) - Number(right[i]?.startsWith(":"));
    if (difference) return difference;
  }
  return right.length - left.length;
}

/**
 * Every route of the API: exactly what the contracts publish.
 *
 * @throws Error when two actions want the same method and path
 */
export function routesOf(contracts: Registry): Route[] {
  const routes = Object.values(contracts).flatMap((contract) =>
    Object.entries(contract.actions).flatMap(([name, definition]) =>
      definition.rest
        ? methodsOf(definition.rest).map((method) => ({
            method,
            path: definition.rest?.path ?? "",
            action: `${contract.name}.${name}`,
            definition,
          }))
        : [],
    ),
  );
  const taken = new Set<string>();
  for (const { method, path, action } of routes) {
    const way = `${method} ${path.replace(/:\w+/g, ":")}`;
    if (taken.has(way)) throw new Error(`${action} wants ${method} ${path}, which is taken`);
    taken.add(way);
  }
  return routes.sort(bySpecificity);
}
