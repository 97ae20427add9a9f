import { type JsonSchema, jsonSchemaOf, type NamedSchemas } from "../../lib/contract/json-schema";
import {
  boolean,
  described,
  id,
  instant,
  integer,
  list,
  nullable,
  number,
  object,
  oneOf,
  optional,
  queryBoolean,
  queryInteger,
  queryNumber,
  queryPoint,
  type Rule,
  text,
  withDefault,
} from "../../lib/contract/rules";

const schemaOf = (rule: Rule, named: NamedSchemas = new Map()) => jsonSchemaOf(rule, named);

const CASES: readonly [string, Rule, JsonSchema][] = [
  ["text", text({ maxLength: 5 }), { type: "string", maxLength: 5 }],
  [
    "text with everything",
    text({ minLength: 1, maxLength: 5, pattern: /^a/, format: "email" }),
    { type: "string", minLength: 1, maxLength: 5, pattern: "^a", format: "email" },
  ],
  ["an id", id(), { type: "string", format: "uuid" }],
  ["an instant", instant(), { type: "string", format: "date-time" }],
  ["an integer", integer({ min: 0 }), { type: "integer", minimum: 0 }],
  ["a number", number({ max: 9 }), { type: "number", maximum: 9 }],
  ["a boolean", boolean(), { type: "boolean" }],
  ["an enumeration", oneOf(["a", "b"]), { type: "string", enum: ["a", "b"] }],
  [
    "a list",
    list(integer(), { max: 3 }),
    { type: "array", items: { type: "integer" }, maxItems: 3 },
  ],
  [
    "an integer of a query",
    queryInteger({ min: 1, max: 2 }),
    { type: "integer", minimum: 1, maximum: 2 },
  ],
  [
    "a number of a query",
    queryNumber({ min: 0, max: 2 }),
    { type: "number", minimum: 0, maximum: 2 },
  ],
  ["a boolean of a query", queryBoolean(), { type: "boolean" }],
  ["something nullable", nullable(id()), { type: ["string", "null"], format: "uuid" }],
  [
    "a nullable enumeration, null being one of the values",
    nullable(oneOf(["a"])),
    { type: ["string", "null"], enum: ["a", null] },
  ],
  ["something with a default", withDefault(integer(), 0), { type: "integer", default: 0 }],
  ["something described", described(boolean(), "Why."), { type: "boolean", description: "Why." }],
];

test.each(CASES)("%s", (_what, rule, schema) => {
  expect(schemaOf(rule)).toEqual(schema);
});

test("an object has no other fields, and requires what neither is optional nor has a default", () => {
  const rule = object({
    a: integer(),
    b: optional(integer()),
    c: withDefault(boolean(), false),
    d: nullable(integer()),
  });
  expect(schemaOf(rule)).toEqual({
    type: "object",
    properties: {
      a: { type: "integer" },
      b: { type: "integer" },
      c: { type: "boolean", default: false },
      d: { type: ["integer", "null"] },
    },
    required: ["a", "d"],
    additionalProperties: false,
  });
});

test("a point is described as the text that a query holds", () => {
  const { type, pattern } = schemaOf(queryPoint());
  expect(type).toBe("string");
  const form = new RegExp(String(pattern));
  expect(["59.91,10.75", "-1,2", "0,0"].every((point) => form.test(point))).toBe(true);
  expect(["1", "1,2,3", "a,b", "1, 2", ""].some((point) => form.test(point))).toBe(false);
});

test("an object with a name is described once and referred to, nullable or not", () => {
  const named: NamedSchemas = new Map();
  const place = object({ lat: number() }, "Place");
  const schema = schemaOf(object({ here: place, there: nullable(place) }), named);
  const reference = { $ref: "#/components/schemas/Place" };
  expect(schema.properties).toEqual({
    here: reference,
    there: { anyOf: [reference, { type: "null" }] },
  });
  expect([...named.keys()]).toEqual(["Place"]);
  expect(named.get("Place")).toMatchObject({ type: "object", required: ["lat"] });
});
