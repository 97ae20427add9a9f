import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { takeWalk, walkOf } from "../support/readme-walk";
import { startTestSystem, type TestSystem } from "../support/system";

const readme = readFileSync(join(__dirname, "../../README.md"), "utf8");
const missing = ["bash", "curl"].filter((tool) => spawnSync(tool, ["--version"]).status !== 0);

describe("The README's walk", () => {
  let system: TestSystem;
  beforeAll(async () => {
    // The default limits: a person must be able to take the walk twice.
    system = await startTestSystem({
      environment: { RATE_LIMIT_AUTH: "", RATE_LIMIT_API: "", BCRYPT_ROUNDS: "10" },
    });
  });
  afterAll(() => system.stop());

  test("shows what really happens, and can be taken twice", async () => {
    const steps = walkOf(readme);
    expect(steps.length).toBeGreaterThan(5);
    if (missing.length > 0) {
      throw new Error(`The README's walk is typed into a shell: install ${missing.join(" and ")}.`);
    }
    for (const time of ["first", "second"]) {
      // The walk tells its runs apart by the second.
      if (time === "second") await new Promise((resolve) => setTimeout(resolve, 1000));
      const outputs = await takeWalk(steps, system.origin);
      const shown = steps.map(({ output }, i) => ({ time, step: i, output: output ?? "" }));
      expect(outputs.map((output, i) => ({ time, step: i, output }))).toEqual(shown);
    }
  });
});
