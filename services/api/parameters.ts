import { type ActionDefinition, pathParameters } from "../../lib/contract/define";
import { type FieldError, ValidationFailed } from "../../lib/errors";

/** Which parameters of an action come from where in a request. */
export interface ParameterPlaces {
  path: string[];
  query: string[];
  body: string[];
  /** Parameter → header in lower case. */
  headers: Readonly<Record<string, string>>;
}

/**
 * Reads and deletions have their parameters in the query, all else in the body unless told; path and headers apart. A
 * deletion that may have them in either place has them in both lists.
 */
export function parametersOf(action: ActionDefinition): ParameterPlaces {
  const path = pathParameters(action);
  const headers = action.rest?.headers ?? {};
  const others = Object.keys(action.params).filter(
    (name) => !path.includes(name) && !(name in headers),
  );
  const reads = action.rest?.method === "GET" || action.rest?.method === "DELETE";
  const isInQuery = (name: string) => reads || (action.rest?.query?.includes(name) ?? false);
  const inBoth = action.rest?.alsoInBody ?? false;
  return {
    path,
    headers,
    query: others.filter(isInQuery),
    body: others.filter((name) => inBoth || !isInQuery(name)),
  };
}

export interface RequestParts {
  path: Record<string, unknown>;
  query: Record<string, unknown>;
  headers: Record<string, string | string[] | undefined>;
  /** Undefined where the request had no body. */
  body: unknown;
}

/**
 * Puts an action's parameters together. Each is taken from its own place only, so that nothing can pass for
 * what belongs elsewhere; of one that has two places from the body first. Query parameters that nobody knows are
 * ignored, body fields that nobody knows are left in for the validator to refuse.
 *
 * @throws ValidationFailed for a body that is no object, or that has a field which belongs elsewhere
 */
export function actionParameters(
  places: ParameterPlaces,
  parts: RequestParts,
): Record<string, unknown> {
  const { body } = parts;
  if (body !== undefined && (typeof body !== "object" || body === null || Array.isArray(body))) {
    throw new ValidationFailed({ errors: [{ field: "body", message: "must be an object" }] });
  }
  const misplaced: FieldError[] = [...places.path, ...places.query, ...Object.keys(places.headers)]
    .filter((name) => body !== undefined && Object.hasOwn(body, name))
    .filter((name) => !places.body.includes(name))
    .map((name) => ({ field: name, message: "is not a known field" }));
  if (misplaced.length) throw new ValidationFailed({ errors: misplaced });

  const parameters: Record<string, unknown> = { ...body };
  for (const name of places.query) {
    if (places.body.includes(name) && Object.hasOwn(parameters, name)) continue;
    if (Object.hasOwn(parts.query, name)) parameters[name] = parts.query[name];
  }
  for (const name of places.path) parameters[name] = parts.path[name];
  for (const [name, header] of Object.entries(places.headers)) {
    const value = parts.headers[header];
    if (value !== undefined) parameters[name] = value;
  }
  return parameters;
}
