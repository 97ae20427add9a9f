import { MethodNotAllowed, NotFound } from "../../lib/errors";
import type { GatewayAlias } from "./gateway-request";

/** Routes of the first path template that fits; the templates come with fixed words before parameters. */
function routesAt(aliases: readonly GatewayAlias[], path: string): GatewayAlias[] {
  const first = aliases.find((alias) => alias.re.test(path));
  return aliases.filter((alias) => alias.path === first?.path);
}

/** Methods that a path knows, in alphabetical order; none where there is no such path. */
export function methodsAt(aliases: readonly GatewayAlias[], path: string): string[] {
  const methods = new Set(routesAt(aliases, path).map(({ method }) => method));
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods].sort();
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

/**
 * Finds the route of a request: the path decides first, then the method, so that a known path with a wrong
 * method is told apart from an unknown one.
 *
 * @throws NotFound, MethodNotAllowed
 */
export function findRoute(
  aliases: readonly GatewayAlias[],
  path: string,
  method: string,
): { alias: GatewayAlias; params: Record<string, string> } {
  const routes = routesAt(aliases, path);
  if (routes.length === 0) throw new NotFound({});
  const wanted = method === "HEAD" ? "GET" : method;
  const alias = routes.find((route) => route.method === wanted);
  if (!alias) throw new MethodNotAllowed({ allow: methodsAt(aliases, path) });
  return { alias, params: pathParametersOf(alias, path) };
}
