import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { filesIn, importsIn, ROOT, read } from "../support/sources";

const PRODUCT_FOLDERS = ["lib", "mixins", "services", "migrations", "seeders"];

describe("Imports", () => {
  /** The files of the project that may be imported from a file, by the architecture's table of layers. */
  function mayImport(from: string, to: string): boolean {
    const inside = (folder: string) => to.startsWith(`${folder}/`);
    const [layer, service = ""] = from.split("/");
    if (inside("lib")) return true;
    if (layer === "lib") return false;
    if (layer === "mixins" || layer === "migrations" || layer === "seeders") return inside(layer);
    if (from === "services/contracts.ts") return /^services\/([\w-]+)\/\1\.contract$/.test(to);
    if (from === "services/index.ts") return /^services\/([\w-]+)\/\1\.service$/.test(to);
    // Of a service.
    if (inside("mixins") || inside(`services/${service}`)) return true;
    if (to === "services/contracts") return true;
    if (/^services\/([\w-]+)\/\1\.contract$/.test(to)) return true;
    const shapes = /\.(contract|validations)\.ts$/.test(from);
    if (shapes && /^services\/([\w-]+)\/\1\.validations$/.test(to)) return true;
    // The gateway tells the product's version.
    return service === "api" && to === "package.json";
  }
  const ours = importsIn(PRODUCT_FOLDERS).filter(
    ({ to }) => /^[\w-]+(\/|\.json$)/.test(to) && isOurs(to),
  );

  function isOurs(to: string): boolean {
    return ["", ".ts", "/index.ts"].some((ending) => existsSync(join(ROOT, `${to}${ending}`)));
  }

  test("are found", () => {
    expect(ours.length).toBeGreaterThan(150);
    expect(ours).toContainEqual({
      from: "services/bookings/bookings.contract.ts",
      to: "services/events/events.contract",
    });
    expect(mayImport("lib/list.ts", "services/contracts")).toBe(false);
    expect(mayImport("mixins/crud.ts", "services/users/users.contract")).toBe(false);
    expect(mayImport("services/events/events.store.ts", "services/users/users.store")).toBe(false);
    expect(mayImport("services/events/events.rules.ts", "services/users/users.validations")).toBe(
      false,
    );
  });

  test("services → mixins → lib, and of another service its contract alone", () => {
    expect(ours.filter(({ from, to }) => !mayImport(from, to))).toEqual([]);
  });

  test("a model is used by its store, and by nobody else", () => {
    const uses = ours.filter(({ to }) => to.endsWith(".model"));
    expect(uses.map(({ from, to }) => `${to}.ts in ${from}`).sort()).toEqual(
      filesIn(["services"], ".model.ts").map(
        (model) => `${model} in ${model.replace(/model\.ts$/, "store.ts")}`,
      ),
    );
  });

  test("rules do no input or output", () => {
    const ofRules = importsIn(["services"]).filter(({ from }) =>
      /\.(rules|allocation)\.ts$/.test(from),
    );
    const allowed =
      /^(node:util|lib\/(contract\/(define|rules)|errors|ids|lifecycle)|services\/[\w-]+\/[\w-]+\.(contract|validations|rules))$/;
    expect(ofRules.length).toBeGreaterThan(10);
    expect(ofRules.filter(({ to }) => !allowed.test(to))).toEqual([]);
  });
});

test("The environment is read in lib/config.ts alone", () => {
  const programs = readdirSync(ROOT).filter((file) => file.endsWith(".ts"));
  const uses = [...programs, ...filesIn(PRODUCT_FOLDERS, ".ts")].flatMap((file) =>
    read(file)
      .split("\n")
      .filter((line) => line.includes("process.env"))
      .map((line) => `${file}: ${line.trim()}`),
  );
  // A program hands over the whole of it.
  const given = uses.filter((use) => /^[\w.]+: .*\bloadConfig\(.*process\.env\b(?![.[])/.test(use));
  expect(given.length).toBeGreaterThan(1);
  expect(uses.filter((use) => !given.includes(use))).toEqual([
    // PostgreSQL's programs are found by it; nothing is configured.
    expect.stringMatching(
      /^lib\/embedded-postgres\/account\.ts: env: \{ PATH: process\.env\.PATH, /,
    ),
  ]);
});
