import type { CustomRule, Rule } from "./rules";

export type JsonSchema = Record<string, unknown>;

/** Collects the shapes that have a name, so that a description can refer to them. */
export type NamedSchemas = Map<string, JsonSchema>;

const QUERY_TYPES = {
  queryInteger: "integer",
  queryNumber: "number",
  queryBoolean: "boolean",
} as const;

const defined = (schema: JsonSchema): JsonSchema =>
  Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));

function customSchema(rule: CustomRule<string>): JsonSchema {
  if (rule.kind === "id") return { type: "string", format: "uuid" };
  if (rule.kind === "instant") return { type: "string", format: "date-time" };
  if (rule.kind === "queryPoint")
    return { type: "string", pattern: "^-?\\d+(\\.\\d+)?,-?\\d+(\\.\\d+)?$" };
  const { min, max } = rule as { min?: number; max?: number };
  const type = QUERY_TYPES[rule.kind as keyof typeof QUERY_TYPES];
  return { type, minimum: min, maximum: max };
}

function plainSchema(rule: Rule, named: NamedSchemas): JsonSchema {
  switch (rule.type) {
    case "boolean":
      return { type: "boolean" };
    case "enum":
      return { type: "string", enum: [...rule.values] };
    case "number":
      return { type: rule.integer ? "integer" : "number", minimum: rule.min, maximum: rule.max };
    case "array":
      return { type: "array", items: jsonSchemaOf(rule.items, named), maxItems: rule.max };
    case "object":
      return {
        type: "object",
        properties: Object.fromEntries(
          Object.entries(rule.props).map(([name, prop]) => [name, jsonSchemaOf(prop, named)]),
        ),
        required: Object.entries(rule.props)
          .filter(([, prop]) => !prop.optional && prop.default === undefined)
          .map(([name]) => name),
        additionalProperties: false,
      };
    case "custom":
      if (rule.kind !== "text") return customSchema(rule);
      return {
        type: "string",
        minLength: rule.minLength || undefined,
        maxLength: rule.maxLength,
        pattern: rule.pattern?.source,
        format: rule.format,
      };
  }
}

function orNull(schema: JsonSchema): JsonSchema {
  if (typeof schema.type !== "string") return { anyOf: [schema, { type: "null" }] };
  const values = schema.enum as unknown[] | undefined;
  return { ...schema, type: [schema.type, "null"], ...(values ? { enum: [...values, null] } : {}) };
}

/**
 * A rule as JSON schema (2020-12, as OpenAPI 3.1 uses it). Objects with a name go to `named` and are
 * referred to.
 */
export function jsonSchemaOf(rule: Rule, named: NamedSchemas): JsonSchema {
  let schema = defined(plainSchema(rule, named));
  if (rule.schemaName) {
    named.set(rule.schemaName, schema);
    schema = { $ref: `#/components/schemas/${rule.schemaName}` };
  }
  if (rule.nullable) schema = orNull(schema);
  return defined({ ...schema, default: rule.default, description: rule.description });
}
