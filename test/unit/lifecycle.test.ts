import { checkedLifecycle } from "../../lib/lifecycle";

const STATUSES = ["open", "shut"];

describe("A status table", () => {
  test("that agrees with itself is given back", () => {
    const steps = [
      { from: "open", to: "shut" },
      { from: "shut", to: "open" },
    ];
    expect(checkedLifecycle("door", STATUSES, steps)).toBe(steps);
  });

  test("with a status that there is not stops the start", () => {
    expect(() => checkedLifecycle("door", STATUSES, [{ from: "open", to: "ajar" }])).toThrow(
      "door: there is no status ajar",
    );
  });

  test("with the same step twice stops the start", () => {
    const step = { from: "open", to: "shut" };
    expect(() => checkedLifecycle("door", STATUSES, [step, { ...step }])).toThrow(
      "door: open → shut is in the table twice",
    );
  });
});
