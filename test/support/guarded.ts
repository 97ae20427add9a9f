import { type ActionSchema, ServiceBroker } from "moleculer";
import type { Props, Rule } from "../../lib/contract/rules";
import { ContractValidator } from "../../lib/contract/validator";
import type { AppError, FieldError } from "../../lib/errors";

/** Never started: the validator only wants to be asked for its middleware by one. */
const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
const { localAction } = new ContractValidator().middleware(broker);

export interface ActionParts {
  missing?: Record<string, string>;
  changes?: string[];
}

/** What a handler with these parameters gets to see when it is called with `values`. */
export async function seenByHandler(
  props: Props,
  values: unknown,
  parts: ActionParts = {},
): Promise<unknown> {
  const action = { params: { $$strict: true, ...props }, ...parts };
  // The parts that are ours are unknown to Moleculer's own type.
  const handler = localAction(async ({ params }) => params, action as unknown as ActionSchema);
  return handler({ params: values });
}

/** What becomes of a value under a rule: what a handler would see, or the words of the first fault. */
export async function judged(
  rule: Rule,
  value: unknown,
): Promise<{ value: unknown } | { fault: string | undefined }> {
  try {
    const seen = (await seenByHandler({ value: rule }, { value })) as { value: unknown };
    return { value: seen.value };
  } catch (error) {
    return { fault: faultsOf(error)[0]?.message };
  }
}

/** The fields at fault of a refusal; throws on what is anything else. */
export function faultsOf(error: unknown): FieldError[] {
  const { type, data } = error as AppError;
  if (type !== "VALIDATION_FAILED") throw error;
  return (data as { errors: FieldError[] }).errors;
}

/** The fields at fault when a handler with these parameters is called with `values`; none when it is reached. */
export async function faultyFields(
  props: Props,
  values: unknown,
  parts?: ActionParts,
): Promise<string[]> {
  try {
    await seenByHandler(props, values, parts);
    return [];
  } catch (error) {
    return faultsOf(error).map(({ field }) => field);
  }
}
