let ending: Promise<void> | undefined;

/**
 * Resolves when all that has come in this turn of the event loop has been looked at, for everybody who asks in it at
 * once: what they then send to another node leaves in one write instead of one for each.
 */
export function endOfTurn(): Promise<void> {
  ending ??= new Promise((resolve) =>
    setImmediate(() => {
      ending = undefined;
      resolve();
    }),
  );
  return ending;
}
