import { MethodNotAllowed, NotFound } from "../../lib/errors";
import type { GatewayAlias } from "./gateway-request";

/** The routes of each path template, as they are looked for. */
export interface Routing {
  /**
   * Finds the route of a request: the path decides first, then the method, so that a known path with a wrong
   * method is told apart from an unknown one.
   *
   * @throws NotFound, MethodNotAllowed
   */
  find(path: string, method: string): { alias: GatewayAlias; params: Record<string, string> };
  /** Methods that a path knows, in alphabetical order; none where there is no such path. */
  methodsAt(path: string): string[];
}

/** The path's parameters; what is not valid percent-encoding stays as it is and is nobody's id. */
function pathParametersOf(alias: GatewayAlias, path: string): Record<string, string> {
  const match = alias.re.exec(path);
  return Object.fromEntries(
    alias.keys.map(({ name }, i) => {
      const raw = match?.[i + 1] ?? "";
      try {
        return [name, decodeURIComponent(raw)];
      } catch {
        return [name, raw];
      }
    }),
  );
}

/** @param aliases those with fixed words come before those with parameters, and the first that fits counts */
export function routingOf(aliases: readonly GatewayAlias[]): Routing {
  const templates = new Map<string, GatewayAlias[]>();
  for (const alias of aliases) {
    const others = templates.get(alias.path);
    if (others) others.push(alias);
    else templates.set(alias.path, [alias]);
  }
  const inOrder = [...templates.values()];
  /** A path without parameters is its own template; nothing has to be tried for it. */
  const fixed = new Map(
    inOrder.flatMap((routes) => {
      const [first] = routes;
      return first?.keys.length === 0 ? [[first.fullPath, routes] as const] : [];
    }),
  );

  const routesAt = (path: string) =>
    fixed.get(path) ?? inOrder.find(([first]) => first?.re.test(path)) ?? [];
  const methodsOf = (routes: readonly GatewayAlias[]) => {
    const methods = new Set(routes.map(({ method }) => method));
    if (methods.has("GET")) methods.add("HEAD");
    return [...methods].sort();
  };
  return {
    find(path, method) {
      const routes = routesAt(path);
      if (routes.length === 0) throw new NotFound({});
      const wanted = method === "HEAD" ? "GET" : method;
      const alias = routes.find((route) => route.method === wanted);
      if (!alias) throw new MethodNotAllowed({ allow: methodsOf(routes) });
      return { alias, params: pathParametersOf(alias, path) };
    },
    methodsAt: (path) => methodsOf(routesAt(path)),
  };
}
