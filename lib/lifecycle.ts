/** One way from a status to another. */
export interface Step<From extends string, To extends From = From> {
  readonly from: From;
  readonly to: To;
}

/**
 * Gives a status table back once it has been looked over; runs when the service is loaded, so that a table
 * that contradicts itself stops the start.
 *
 * @param name of what moves along it, for the message
 * @param statuses every status there is
 * @throws Error for a status that there is not, or the same step twice
 */
export function checkedLifecycle<S extends Step<string>>(
  name: string,
  statuses: readonly string[],
  steps: readonly S[],
): readonly S[] {
  const seen = new Set<string>();
  for (const { from, to } of steps) {
    for (const status of [from, to]) {
      if (!statuses.includes(status)) throw new Error(`${name}: there is no status ${status}`);
    }
    const step = `${from} → ${to}`;
    if (seen.has(step)) throw new Error(`${name}: ${step} is in the table twice`);
    seen.add(step);
  }
  return steps;
}
