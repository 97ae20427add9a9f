import type { Answer } from "./people";
import { expectProblem, faultyFields } from "./problems";

/** Expects a problem with this status and code and, where named, exactly these fields at fault. */
export function expectRefusal(
  answer: Answer,
  status: number,
  code: string,
  fields?: readonly string[],
): void {
  expectProblem(answer, status, code);
  if (fields) expect(faultyFields(answer)).toEqual([...fields].sort());
}
