import { intercepted } from "./intercepted";

/** Stands between a system and its database, and misbehaves when a test says so. */
export class UnreliableDatabase {
  private before: (sql: string) => Promise<void> = async () => {};

  /** For `wrapDatabase`. */
  readonly wrap = intercepted(async (sql) => {
    await this.before(sql);
    return sql;
  });

  /** From now on statements that match fail with this, once so many of them have been run. */
  fails(statements: RegExp, fault: unknown, spared = 0): void {
    let left = spared;
    this.before = async (sql) => {
      if (statements.test(sql) && left-- <= 0) throw fault;
    };
  }

  /** From now on statements that match wait until they are let go. */
  holds(statements: RegExp): { isReached: Promise<void>; letGo: () => void } {
    let reach = () => {};
    let letGo = () => {};
    const isReached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    this.before = async (sql) => {
      if (!statements.test(sql)) return;
      reach();
      await gate;
    };
    return { isReached, letGo };
  }

  works(): void {
    this.before = async () => {};
  }
}
