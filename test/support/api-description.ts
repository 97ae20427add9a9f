import Ajv2020, { type ValidateFunction } from "ajv/dist/2020";
import addFormats from "ajv-formats";

interface Operation {
  responses: Record<string, { content?: Record<string, unknown> }>;
}
export interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown> };
}

const escapePointer = (part: string) => part.replaceAll("~", "~0").replaceAll("/", "~1");

/** Holds answers against the API's own description. */
export interface DescriptionCheck {
  /** @throws Error that says how the answer differs from what `/openapi.json` promises */
  check(
    method: string,
    path: string,
    status: number,
    contentType: string | null,
    body: unknown,
  ): void;
}

/** Reads the description that a running system gives of itself. */
export async function describedBy(origin: string): Promise<DescriptionCheck> {
  const document = (await (await fetch(`${origin}/openapi.json`)).json()) as OpenApi;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema(document, "api");
  const compiled = new Map<string, ValidateFunction>();
  const templates = Object.keys(document.paths)
    .map((template) => ({
      template,
      pattern: new RegExp(`^${template.replace(/\{\w+\}/g, "[^/]+")}$`),
    }))
    // Fixed words before parameters, as the gateway routes.
    .sort((a, b) => a.template.split("{").length - b.template.split("{").length);

  return {
    check(method, path, status, contentType, body) {
      const found = templates.find(({ pattern }) => pattern.test(path));
      const operation = found && document.paths[found.template]?.[method.toLowerCase()];
      // What no route leads to is no operation; its problem is checked by the gateway's own tests.
      if (!found || !operation) return;
      const where = `${method} ${found.template} → ${status}`;
      const response = operation.responses[String(status)];
      if (!response) throw new Error(`${where} is not described`);
      const type = contentType?.split(";")[0];
      if (!response.content) {
        if (body !== undefined) throw new Error(`${where} is described without a body`);
        return;
      }
      if (!type || !(type in response.content))
        throw new Error(`${where}: ${type} is not described`);
      const pointer = [
        "paths",
        found.template,
        method.toLowerCase(),
        "responses",
        status,
        "content",
        type,
        "schema",
      ]
        .map((part) => encodeURIComponent(escapePointer(String(part))))
        .join("/");
      const validate = compiled.get(pointer) ?? ajv.compile({ $ref: `api#/${pointer}` });
      compiled.set(pointer, validate);
      if (!validate(body)) throw new Error(`${where}: ${ajv.errorsText(validate.errors)}`);
    },
  };
}
