import type FastestValidator from "fastest-validator";
import { type ActionSchema, type EventSchema, type ServiceBroker, Validators } from "moleculer";
import { errorCatalogue, type FieldError, ValidationFailed } from "../errors";

/** A field's name or a list of faults in an answer is echoed only so far. */
const ECHO_CHARACTERS = 100;
const ECHO_ERRORS = 50;

const MESSAGES = {
  required: "is required",
  number: "must be a number",
  numberInteger: "must be a whole number",
  numberMin: "must be {expected} or more",
  numberMax: "must be {expected} at most",
  boolean: "must be true or false",
  enumValue: "must be one of: {expected}",
  array: "must be a list",
  arrayMax: "must have {expected} entries at most",
  object: "must be an object",
};

/**
 * Problems that tell what was found there: null or nothing, and the names of unknown fields. The others do not: the
 * validator makes text of it, which a value like `[{"toString": 0}]` cannot become.
 */
const TELL_ACTUAL: ReadonlySet<string | number> = new Set(["required", "objectStrict"]);

interface RawProblem {
  type: string;
  field?: string;
  message?: string;
  actual?: unknown;
}

const clip = (name: string) =>
  name.length > ECHO_CHARACTERS ? `${name.slice(0, ECHO_CHARACTERS)}…` : name;

const wordsOf = ({ type, message, actual }: RawProblem): string =>
  type === "required" && actual === null ? "must not be null" : (message ?? "is not acceptable");

/** The validator's findings in the form that clients get; every unknown field has an entry of its own. */
function fieldErrors(problems: RawProblem[]): FieldError[] {
  return problems
    .flatMap((problem) => {
      const { type, field, actual } = problem;
      if (type !== "objectStrict")
        return [{ field: clip(field ?? "body"), message: wordsOf(problem) }];
      return String(actual)
        .split(", ")
        .map((name) => ({
          field: clip(field ? `${field}.${name}` : name),
          message: "is not a known field",
        }));
    })
    .slice(0, ECHO_ERRORS);
}

type Check = (params: unknown) => true | RawProblem[];
type Handler = (ctx: { params: unknown }) => Promise<unknown>;

interface RuleShape {
  default?: unknown;
  nullable?: boolean;
  props?: Record<string, RuleShape>;
}

/** Fields set to null that have a default: the validator would take null for left out and fill it in. */
function nullsForDefaults(
  rules: Record<string, RuleShape>,
  values: object,
  path = "",
): RawProblem[] {
  return Object.entries(values).flatMap(([name, value]): RawProblem[] => {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    const field = `${path}${name}`;
    if (value === null) {
      const filledIn = rule?.default !== undefined && !rule.nullable;
      return filledIn ? [{ type: "required", field, actual: null }] : [];
    }
    const nested = rule?.props && typeof value === "object" ? rule.props : undefined;
    return nested ? nullsForDefaults(nested, value, `${field}.`) : [];
  });
}

const haveDefaults = (rules: Record<string, RuleShape>): boolean =>
  Object.values(rules).some(
    (rule) => rule.default !== undefined || (rule.props && haveDefaults(rule.props)),
  );

/** Adds the fault of a change that changes nothing. */
function withoutChange(
  params: unknown,
  changes: string[] | undefined,
  outcome: true | RawProblem[],
): true | RawProblem[] {
  const given = Object.keys(params as object);
  if (!changes || given.some((name) => changes.includes(name))) return outcome;
  const nothing = { type: "rule", field: "body", message: "has nothing to change" };
  return outcome === true ? [nothing] : [...outcome, nothing];
}

/**
 * Checks parameters and payloads by their contract. Its errors are ours: a malformed id in a path is the
 * 404 of the thing it should have named (after every other fault of the input), all else a 422.
 */
export class ContractValidator extends Validators.Fastest {
  /** Moleculer's class makes it; its types do not tell. */
  declare readonly validator: FastestValidator;

  constructor() {
    super({
      considerNullAsAValue: true,
      useNewCustomCheckerFunction: true,
      messages: MESSAGES,
    });
    const { validator } = this;
    const makeError = validator.makeError.bind(validator);
    validator.makeError = ({ actual, ...problem }) =>
      makeError(TELL_ACTUAL.has(problem.type) ? { ...problem, actual } : problem);
  }

  override middleware(_broker: ServiceBroker) {
    const guard = (
      handler: Handler,
      schema: { params?: unknown; missing?: Record<string, string>; changes?: string[] },
    ): Handler => {
      if (typeof schema.params !== "object" || schema.params === null) return handler;
      const missing = schema.missing ?? {};
      const rules = schema.params as Record<string, RuleShape>;
      // Moleculer types checkers as possibly asynchronous; ours never are.
      const validate = this.compile(rules as Record<string, unknown>) as unknown as Check;
      const check: Check = !haveDefaults(rules)
        ? validate
        : (params) => {
            // Before the validator, which writes the defaults into the parameters.
            const nulls = nullsForDefaults(rules, Object(params));
            const outcome = validate(params);
            return nulls.length ? [...nulls, ...(outcome === true ? [] : outcome)] : outcome;
          };
      return async (ctx) => {
        const params = ctx.params ?? {};
        const outcome = withoutChange(params, schema.changes, check(params));
        if (outcome === true) return handler(ctx);
        const ofPath = outcome.find(({ field }) => field !== undefined && field in missing);
        const others = outcome.filter(({ field }) => field === undefined || !(field in missing));
        if (ofPath?.field && others.length === 0) {
          const kind = errorCatalogue().get(missing[ofPath.field] ?? "");
          if (kind) throw new kind({});
        }
        throw new ValidationFailed({ errors: fieldErrors(others) });
      };
    };
    return {
      name: "ContractValidator",
      localAction: (handler: Handler, action: ActionSchema) => guard(handler, action),
      localEvent: (handler: Handler, event: EventSchema) => guard(handler, event),
    };
  }
}
