/**
 * The vocabulary of the contracts: every rule for a value is made here, checks it under
 * fastest-validator, carries its TypeScript type ({@link ValueOf}) and its JSON schema (json-schema.ts).
 *
 * All text is refused when it holds a NUL byte or half a surrogate pair, because PostgreSQL cannot store
 * it as it was sent; lengths count characters as a person would (code points), like JSON schema does.
 */
import { isId } from "../ids";

interface Problem {
  type: string;
  message: string;
}
type Check = (value: unknown, errors: Problem[]) => unknown;

/** What any rule may carry. `nullable: false` is explicit because the validator would allow null without it. */
export interface RuleFlags {
  readonly optional?: boolean;
  readonly nullable: boolean;
  readonly default?: unknown;
  readonly description?: string;
  /** Name under which OpenAPI lists this shape. */
  readonly schemaName?: string;
}

export interface CustomRule<Kind extends string> extends RuleFlags {
  readonly type: "custom";
  readonly kind: Kind;
  readonly check: Check;
}
export interface EnumRule<V extends string> extends RuleFlags {
  readonly type: "enum";
  readonly values: readonly V[];
}
export interface NumberRule extends RuleFlags {
  readonly type: "number";
  readonly integer?: boolean;
  readonly min?: number;
  readonly max?: number;
}
export interface BooleanRule extends RuleFlags {
  readonly type: "boolean";
}
export interface ArrayRule<I extends Rule> extends RuleFlags {
  readonly type: "array";
  readonly items: I;
  readonly max?: number;
}
export interface ObjectRule<P extends Props> extends RuleFlags {
  readonly type: "object";
  readonly strict: true;
  readonly props: P;
}
export type Rule =
  | TextRule
  | CustomRule<"id" | "instant" | "queryInteger" | "queryNumber" | "queryBoolean" | "queryPoint">
  | EnumRule<string>
  | NumberRule
  | BooleanRule
  | ArrayRule<Rule>
  | ObjectRule<Props>;
export type Props = { readonly [name: string]: Rule };

export interface TextOptions {
  /** Characters at least; 0 unless told. */
  minLength?: number;
  /** Characters at most. */
  maxLength: number;
  /** Bytes of UTF-8 at most. */
  maxBytes?: number;
  /** Leave white space at both ends and control characters alone (passwords, tokens). */
  verbatim?: boolean;
  /** May have several lines; other text is one line, which may end up in the header of a mail. */
  multiline?: boolean;
  pattern?: RegExp;
  /** What the pattern asks for, in words. */
  hint?: string;
  /** JSON schema's `format`. */
  format?: string;
  /** A last look at the trimmed text: the words of a problem, or undefined. */
  also?: (value: string) => string | undefined;
  /** A change of form after the checks, e.g. lower case. */
  normalize?: (value: string) => string;
}
export interface TextRule extends CustomRule<"text">, TextOptions {}

const refuse = (errors: Problem[], message: string): undefined => {
  errors.push({ type: "rule", message });
  return undefined;
};

const custom = <K extends string>(kind: K, check: Check): CustomRule<K> => ({
  type: "custom",
  kind,
  nullable: false,
  check,
});

/** What would break a line or a terminal: control characters and the separators of lines and paragraphs. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
/** The same, but for tabs and the ends of lines. */
const CONTROL_IN_LINES = /[^\P{Cc}\t\n\r]/u;

/**
 * Characters of a text, or its UTF-16 units where they tell as well whether it is too short or too long: one or two
 * of them are a character, so nearly no text must be counted.
 */
function charactersOf(value: string, min: number, max: number): number {
  const isClear = value.length > max * 2 || (value.length <= max && value.length >= min * 2);
  return isClear ? value.length : [...value].length;
}

/** Text of a length between two bounds, trimmed unless `verbatim`. */
export function text(options: TextOptions): TextRule {
  const { minLength = 0, maxLength, maxBytes, verbatim, multiline } = options;
  const { pattern, hint, also, normalize } = options;
  const check: Check = (value, errors) => {
    if (typeof value !== "string") return refuse(errors, "must be text");
    if (!value.isWellFormed() || value.includes("\u0000")) {
      return refuse(errors, "holds characters that are not valid text");
    }
    const trimmed = verbatim ? value : value.trim();
    const length = charactersOf(trimmed, minLength, maxLength);
    if (length < minLength) {
      return refuse(
        errors,
        minLength === 1 ? "must not be empty" : `must have ${minLength} characters or more`,
      );
    }
    // Before the characters: who is told of those would count them and be refused for the bytes.
    if (maxBytes !== undefined && Buffer.byteLength(trimmed) > maxBytes) {
      return refuse(errors, `must have ${maxBytes} bytes at most`);
    }
    if (length > maxLength) return refuse(errors, `must have ${maxLength} characters at most`);
    if (!verbatim && (multiline ? CONTROL_IN_LINES : CONTROL).test(trimmed)) {
      return refuse(errors, multiline ? "holds control characters" : "must be one line");
    }
    if (pattern && !pattern.test(trimmed)) return refuse(errors, hint ?? "has the wrong form");
    const problem = also?.(trimmed);
    if (problem) return refuse(errors, problem);
    return normalize ? normalize(trimmed) : trimmed;
  };
  return { ...custom("text", check), ...options };
}

/** A UUID, given back in lower case. */
export const id = (): CustomRule<"id"> =>
  custom("id", (value, errors) =>
    isId(value) ? value.toLowerCase() : refuse(errors, "must be a UUID"),
  );

const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/**
 * A moment: ISO 8601 with `Z` or an offset, between 1970 and 9999; given back in UTC with `Z` and
 * milliseconds. A day that the calendar lacks (30 February) is refused where JavaScript would roll over.
 */
export const instant = (): CustomRule<"instant"> =>
  custom("instant", (value, errors) => {
    const parts = typeof value === "string" ? INSTANT.exec(value) : null;
    if (!parts) return refuse(errors, "must be an ISO 8601 time with Z or an offset");
    const [, year, month, day] = parts.map(Number);
    const calendarDay = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day));
    if (calendarDay.getUTCMonth() + 1 !== month || calendarDay.getUTCDate() !== day) {
      return refuse(errors, "names a day that does not exist");
    }
    const moment = new Date(String(value));
    const utcYear = moment.getUTCFullYear();
    if (!(utcYear >= 1970 && utcYear <= 9999)) {
      return refuse(errors, "must lie between the years 1970 and 9999");
    }
    return moment.toISOString();
  });

const INTEGER_TEXT = /^-?\d{1,15}$/;
const NUMBER_TEXT = /^-?\d{1,15}(?:\.\d{1,15})?$/;

const numberFromQuery =
  (form: RegExp, words: string, min: number, max: number): Check =>
  (value, errors) => {
    const number = typeof value === "string" && form.test(value) ? Number(value) : value;
    if (
      typeof number !== "number" ||
      Number.isNaN(number) ||
      (form === INTEGER_TEXT && !Number.isInteger(number))
    ) {
      return refuse(errors, `must be ${words}`);
    }
    if (number < min || number > max) return refuse(errors, `must lie between ${min} and ${max}`);
    return number;
  };

/** A whole number that may come as the text of a query string; between `min` and `max`. */
export const queryInteger = (bounds: { min: number; max: number }) => ({
  ...custom(
    "queryInteger",
    numberFromQuery(INTEGER_TEXT, "a whole number", bounds.min, bounds.max),
  ),
  ...bounds,
});

/** A number that may come as the text of a query string; between `min` and `max`. */
export const queryNumber = (bounds: { min: number; max: number }) => ({
  ...custom("queryNumber", numberFromQuery(NUMBER_TEXT, "a number", bounds.min, bounds.max)),
  ...bounds,
});

/** `true` or `false`, also as the text of a query string. */
export const queryBoolean = (): CustomRule<"queryBoolean"> =>
  custom("queryBoolean", (value, errors) => {
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    return refuse(errors, "must be true or false");
  });

/** Latitude and longitude of a text `lat,lng`, or of the point that an earlier check made of one. */
function pointOf(value: unknown): unknown[] {
  if (typeof value === "string") {
    return value.split(",").map((part) => (NUMBER_TEXT.test(part) ? Number(part) : undefined));
  }
  // A value that is no text proves nothing of what is in it: a query that names it twice makes a list.
  const { lat, lng, ...rest } = Object(value) as Record<string, unknown>;
  return [lat, lng, ...Object.keys(rest)];
}

/** A place on earth as the text `lat,lng`, in degrees; given back as `{lat, lng}`. */
export const queryPoint = (): CustomRule<"queryPoint"> =>
  custom("queryPoint", (value, errors) => {
    const [lat, lng, ...more] = pointOf(value);
    if (typeof lat !== "number" || typeof lng !== "number" || more.length) {
      return refuse(errors, "must be a latitude and a longitude: lat,lng");
    }
    if (!(Math.abs(lat) <= 90 && Math.abs(lng) <= 180)) {
      return refuse(errors, "must be degrees: a latitude of -90 to 90, a longitude of -180 to 180");
    }
    return { lat, lng };
  });

/** A whole number in JSON; text that looks like one is refused. */
export const integer = (bounds: { min?: number; max?: number } = {}): NumberRule => ({
  type: "number",
  integer: true,
  nullable: false,
  ...bounds,
});

/** A finite number in JSON. */
export const number = (bounds: { min?: number; max?: number } = {}): NumberRule => ({
  type: "number",
  nullable: false,
  ...bounds,
});

export const boolean = (): BooleanRule => ({ type: "boolean", nullable: false });

/** One of a few words. */
export const oneOf = <const V extends readonly string[]>(values: V): EnumRule<V[number]> => ({
  type: "enum",
  values,
  nullable: false,
});

/** A list of values of one rule, with `max` entries at most. */
export const list = <I extends Rule>(items: I, bounds: { max?: number } = {}): ArrayRule<I> => ({
  type: "array",
  items,
  nullable: false,
  ...bounds,
});

/** An object with these fields and no others; `schemaName` names it in OpenAPI. */
export const object = <const P extends Props>(props: P, schemaName?: string): ObjectRule<P> => ({
  type: "object",
  strict: true,
  props,
  nullable: false,
  ...(schemaName ? { schemaName } : {}),
});

/** The same rule for a field that may be left out. */
export const optional = <R extends Rule>(rule: R): R & { readonly optional: true } => ({
  ...rule,
  optional: true,
});

/** The same rule for a field that may be null: nothing set, or cleared. */
export const nullable = <R extends Rule>(rule: R): R & { readonly nullable: true } => ({
  ...rule,
  nullable: true,
});

/** The same rule for a field that has a value when it is left out. */
export const withDefault = <R extends Rule, const D>(
  rule: R,
  value: D,
): R & { readonly default: D } => ({ ...rule, default: value });

/** The same rule with a sentence for the reader of the API's description. */
export const described = <R extends Rule>(rule: R, description: string): R => ({
  ...rule,
  description,
});

type Flat<T> = { [K in keyof T]: T[K] } & {};

type PlainValueOf<R> = R extends { type: "enum"; values: readonly (infer V)[] }
  ? V
  : R extends { type: "number" } | { kind: "queryInteger" | "queryNumber" }
    ? number
    : R extends { type: "boolean" } | { kind: "queryBoolean" }
      ? boolean
      : R extends { kind: "queryPoint" }
        ? { lat: number; lng: number }
        : R extends { kind: "text" | "id" | "instant" }
          ? string
          : R extends { type: "array"; items: infer I }
            ? ValueOf<I>[]
            : R extends { type: "object"; props: infer P }
              ? ObjectOf<P>
              : never;

/** The TypeScript type of what a rule lets through. */
export type ValueOf<R> = R extends { nullable: true } ? PlainValueOf<R> | null : PlainValueOf<R>;

type OptionalKey<P, K extends keyof P> = P[K] extends { optional: true } ? K : never;
type DefaultKey<P, K extends keyof P> = P[K] extends { default: unknown } ? K : never;
type OptionalKeys<P> = { [K in keyof P]: OptionalKey<P, K> }[keyof P];
type DefaultKeys<P> = { [K in keyof P]: DefaultKey<P, K> }[keyof P];

/** An object after its check: defaults are filled in. */
export type ObjectOf<P> = Flat<
  { -readonly [K in Exclude<keyof P, OptionalKeys<P>>]: ValueOf<P[K]> } & {
    -readonly [K in OptionalKeys<P>]?: ValueOf<P[K]>;
  }
>;

/** An object before its check: what has a default may be left out. */
export type InputOf<P> = Flat<
  { -readonly [K in Exclude<keyof P, OptionalKeys<P> | DefaultKeys<P>>]: ValueOf<P[K]> } & {
    -readonly [K in OptionalKeys<P> | DefaultKeys<P>]?: ValueOf<P[K]>;
  }
>;
