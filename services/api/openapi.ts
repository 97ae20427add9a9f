import {
  type ActionDefinition,
  type Contract,
  type Registry,
  successStatus,
} from "../../lib/contract/define";
import { type JsonSchema, jsonSchemaOf, type NamedSchemas } from "../../lib/contract/json-schema";
import { object, type Props } from "../../lib/contract/rules";
import {
  type ErrorKind,
  Forbidden,
  IdempotencyInProgress,
  IdempotencyKeyReused,
  Internal,
  MalformedJson,
  PayloadTooLarge,
  RateLimited,
  ServiceUnavailable,
  Unauthenticated,
  UnsupportedMediaType,
  ValidationFailed,
} from "../../lib/errors";
import { MOST_KEY_CHARACTERS } from "./idempotency";
import { parametersOf } from "./parameters";
import { API_BASE, methodsOf } from "./routes";

type Kind = Pick<ErrorKind, "code" | "status" | "title">;

const PROBLEM: JsonSchema = {
  type: "object",
  description: "RFC 9457. Branch on code; it is stable.",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    requestId: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { field: { type: "string" }, message: { type: "string" } },
        required: ["field", "message"],
        additionalProperties: false,
      },
    },
  },
  required: ["type", "title", "status", "detail", "code", "requestId"],
  additionalProperties: false,
};

const schemaOf = (props: Props, named: NamedSchemas): JsonSchema =>
  jsonSchemaOf(object(props), named);

/** Every error that an action may answer with: its own and those of the gateway on the way to it. */
function errorsOf(action: ActionDefinition): Kind[] {
  const { path } = parametersOf(action);
  const isPublic = action.access === "public";
  const kinds: Kind[] = [Unauthenticated, RateLimited, Internal, ServiceUnavailable];
  if (!isPublic && action.access !== "signedIn") kinds.push(Forbidden);
  // Of an action that anybody signed in may call, the thing itself may still be somebody else's.
  if (action.access === "signedIn" && path.length) kinds.push(Forbidden);
  // Whatever the method, a body that comes along is read, and one that nobody asked for is refused.
  kinds.push(MalformedJson, PayloadTooLarge, UnsupportedMediaType, ValidationFailed);
  if (action.rest?.idempotent) kinds.push(IdempotencyKeyReused, IdempotencyInProgress);
  return [
    ...new Map([...kinds, ...(action.errors ?? [])].map((kind) => [kind.code, kind])).values(),
  ];
}

function errorResponses(action: ActionDefinition): Record<string, JsonSchema> {
  const byStatus = new Map<number, Kind[]>();
  for (const kind of errorsOf(action)) {
    byStatus.set(kind.status, [...(byStatus.get(kind.status) ?? []), kind]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, kinds]) => [
      String(status),
      {
        description: kinds.map(({ code, title }) => `${code}: ${title}`).join("; "),
        content: {
          "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
        },
      },
    ]),
  );
}

function successResponse(action: ActionDefinition, named: NamedSchemas): JsonSchema {
  if (action.result === null) return { description: "Done; there is nothing to say." };
  const contentType = action.rest?.contentType?.split(";")[0] ?? "application/json";
  return {
    description: action.summary,
    content: { [contentType]: { schema: jsonSchemaOf(action.result, named) } },
  };
}

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description:
    "Sent again within 24 h, the same request under the same key has its effect once, and its first success is " +
    "answered again with Idempotency-Replayed: true.",
  schema: { type: "string", minLength: 1, maxLength: MOST_KEY_CHARACTERS },
};

/** As a mail reader sends it for one click (RFC 8058). */
const ANY_BODY = {
  required: false,
  description: "Means nothing, and may be of any type.",
  content: { "application/x-www-form-urlencoded": { schema: { type: "object" } } },
};

function operation(
  contract: Contract,
  name: string,
  method: string,
  action: ActionDefinition,
  named: NamedSchemas,
): JsonSchema {
  const { path, query, body, headers } = parametersOf(action);
  const parameter = (where: "path" | "query") => (key: string) => {
    const rule = action.params[key];
    if (!rule) throw new Error(`${name} has no parameter ${key}`);
    const isNeeded = !rule.optional && rule.default === undefined && !body.includes(key);
    const required = where === "path" || isNeeded;
    return { name: key, in: where, required, schema: jsonSchemaOf(rule, named) };
  };
  const headerParameters = Object.entries(headers).map(([key, header]) => ({
    name: header,
    in: "header",
    required: false,
    description: action.params[key]?.description,
    schema: { type: "string" } as JsonSchema,
  }));
  if (action.rest?.idempotent) headerParameters.push(IDEMPOTENCY_KEY);
  const bodyProps = Object.fromEntries(
    Object.entries(action.params).filter(([key]) => body.includes(key)),
  );
  const bodySchema: JsonSchema = {
    ...schemaOf(bodyProps, named),
    ...(action.needsChange ? { minProperties: 1 } : {}),
  };
  const isElsewhere = action.rest?.alsoInBody;
  const bodyRequired =
    action.needsChange || (!isElsewhere && (bodySchema.required as string[]).length > 0);
  const isPrimary = method === action.rest?.method;
  return {
    operationId: `${contract.name}.${name}${isPrimary ? "" : `.${method.toLowerCase()}`}`,
    tags: [contract.name],
    summary: action.summary,
    ...(action.description ? { description: action.description } : {}),
    security: action.access === "public" ? [{}, { bearer: [] }] : [{ bearer: [] }],
    parameters: [
      ...path.map(parameter("path")),
      ...query.map(parameter("query")),
      ...headerParameters,
    ],
    ...(action.rest?.ignoresBody ? { requestBody: ANY_BODY } : {}),
    ...(body.length
      ? {
          requestBody: {
            required: bodyRequired,
            content: { "application/json": { schema: bodySchema } },
          },
        }
      : {}),
    responses: {
      [successStatus(action)]: successResponse(action, named),
      ...errorResponses(action),
    },
  };
}

const SYSTEM_PATHS: JsonSchema = {
  "/health/live": {
    get: {
      operationId: "health.live",
      tags: ["system"],
      summary: "Whether the process runs",
      security: [],
      responses: { 200: { description: "It runs." } },
    },
  },
  "/health/ready": {
    get: {
      operationId: "health.ready",
      tags: ["system"],
      summary: "Whether requests can be served",
      security: [],
      responses: {
        200: { description: "They can." },
        503: {
          description: "Starting, draining, or a service or the database is missing.",
          content: {
            "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
          },
        },
      },
    },
  },
  "/openapi.json": {
    get: {
      operationId: "openapi",
      tags: ["system"],
      summary: "This description",
      security: [],
      responses: { 200: { description: "OpenAPI 3.1.", content: { "application/json": {} } } },
    },
  },
};

/** Describes the public face of all contracts as an OpenAPI 3.1 document. */
export function openApiDocument(contracts: Registry, version: string): JsonSchema {
  const named: NamedSchemas = new Map();
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const contract of Object.values(contracts)) {
    for (const [name, action] of Object.entries(contract.actions)) {
      if (!action.rest) continue;
      const path = `${API_BASE}${action.rest.path}`.replace(/:(\w+)/g, "{$1}");
      const item = paths[path] ?? {};
      paths[path] = item;
      for (const method of methodsOf(action.rest)) {
        item[method.toLowerCase()] = operation(contract, name, method, action, named);
      }
    }
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Marquee",
      version,
      description:
        "Events and bookings: hosts publish events, people find them and book seats. What happens meanwhile comes over " +
        "the WebSocket at /ws (?token=<access token>): own notifications, and how events stand that one subscribes to.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: [
      ...Object.values(contracts)
        .filter(({ actions }) => Object.values(actions).some(({ rest }) => rest))
        .map(({ name, description }) => ({ name, description })),
      { name: "system", description: "Health and this description." },
    ],
    paths: { ...paths, ...SYSTEM_PATHS },
    components: {
      schemas: { ...Object.fromEntries(named), Problem: PROBLEM },
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
    },
  };
}
