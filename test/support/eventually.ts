const PAUSE_MS = 20;

/**
 * Tries again and again what comes true a moment later.
 *
 * @param withinMs what the contract promises, or patience
 * @throws what the last try threw
 */
export async function eventually<T>(attempt: () => Promise<T>, withinMs = 15_000): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
