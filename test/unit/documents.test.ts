/**
 * What the documents list is what there is: error codes, variables, commands, packages, and the pictures.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { type Environment, loadConfig, SERVICE_NAMES } from "../../lib/config";
import { errorCatalogue } from "../../lib/errors";
import { dependencies, optionalDependencies, scripts } from "../../package.json";
import { bookings } from "../../services/bookings/bookings.contract";
import * as bookingRules from "../../services/bookings/bookings.rules";
import * as eventRules from "../../services/events/events.rules";
import { VAPID } from "../support/push-service";
import { variablesRead } from "../support/recorded-environment";
import { codeOf, filesIn, picturesIn, ROOT, read, tableRows } from "../support/sources";
// Every error is defined where it belongs: with the services' contracts.
import "../../services/contracts";

const rows = (file: string) => tableRows(read(file));

describe("Error codes", () => {
  test("are documented with their status, all of them and no others", () => {
    const documented = rows("docs/errors.md").flatMap(([code, status, meaning]) =>
      codeOf(code) ? [{ code: codeOf(code), status: Number(status), meaning }] : [],
    );
    const defined = [...errorCatalogue().values()].map(({ code, status }) => ({
      code,
      status,
      meaning: expect.stringMatching(/^[A-Z`].*\.$/),
    }));
    const byCode = <E extends { code?: string }>(entries: E[]) =>
      entries.sort((a, b) => String(a.code).localeCompare(String(b.code)));
    expect(byCode(documented)).toEqual(byCode(defined));
  });

  test("of bookings are documented in the order in which they are decided", () => {
    const order = bookings.actions.create.errors.map(({ code }) => code);
    const documented = rows("docs/errors.md").map(([code]) => codeOf(code));
    const decided = order.filter((code) => code !== "EVENT_NOT_FOUND");
    expect(documented.filter((code) => decided.some((other) => other === code))).toEqual(decided);
  });
});

describe("Environment variables", () => {
  const documented = rows("docs/configuration.md").flatMap(([name, fallback = "", meaning]) => {
    const variable = codeOf(name);
    return variable ? [{ variable, fallback, meaning }] : [];
  });
  const example = read(".env.example");
  /** The example with every variable set. */
  const filledIn = parseEnv(example.replace(/^# (?=[A-Z_]+=)/gm, ""));
  /** And keys that only a pair of one's own is of use with. */
  const SECRETS = {
    ...{ ADMIN_PASSWORD: "geheim 123", JWT_SECRET: "x".repeat(32), TWILIO_AUTH_TOKEN: "x" },
    VAPID_PUBLIC_KEY: VAPID.VAPID_PUBLIC_KEY,
    VAPID_PRIVATE_KEY: VAPID.VAPID_PRIVATE_KEY,
  };

  test("are those of docs/configuration.md", () => {
    expect(documented.map(({ variable }) => variable).sort()).toEqual(variablesRead());
    expect(documented.map(({ meaning }) => meaning)).toEqual(
      documented.map(() => expect.stringMatching(/^\S.*\.$/)),
    );
  });

  test("have the defaults that are documented", () => {
    const literal = documented.filter(({ fallback }) => codeOf(fallback));
    expect(literal.length).toBeGreaterThan(8);
    for (const { variable, fallback } of literal) {
      const environment: Environment = { [variable]: codeOf(fallback) };
      expect({ variable, config: loadConfig(environment) }).toEqual({
        variable,
        config: loadConfig({}),
      });
    }
    const others = documented.filter(({ fallback }) => !codeOf(fallback));
    expect(others.map(({ fallback }) => fallback)).toEqual(
      others.map(() => expect.stringMatching(/^(none|all|generated)/)),
    );
  });

  test("are those of .env.example", () => {
    expect(Object.keys(filledIn).sort()).toEqual(variablesRead());
  });

  test("as in .env.example change nothing until somebody takes the # away, and are sound then", () => {
    expect(loadConfig(parseEnv(example))).toEqual(loadConfig({}));
    expect(() => loadConfig({ ...filledIn, ...SECRETS })).not.toThrow();
  });

  test("have no secret in .env.example that everybody would know", () => {
    expect(Object.keys(SECRETS).filter((name) => filledIn[name])).toEqual([]);
  });

  test("name the services there are", () => {
    const [, , meaning] =
      rows("docs/configuration.md").find(([name]) => codeOf(name) === "SERVICES") ?? [];
    const named = [...(meaning ?? "").matchAll(/`([a-z-]+)`/g)].map(([, name]) => name);
    expect(named).toEqual([...SERVICE_NAMES]);
  });
});

describe("The architecture's pictures", () => {
  const pictures = picturesIn(read("docs/architecture.md"));
  const arrows = (picture: string | undefined) =>
    [...(picture ?? "").matchAll(/^\s*(\S+) --> (\w+)/gm)].map(([, from, to]) => `${from} ${to}`);
  const states = pictures.filter((picture) => picture.startsWith("stateDiagram"));

  test("show the lifecycle of an event", () => {
    const steps = eventRules.LIFECYCLE.filter(({ from, to }) => from !== to);
    expect(arrows(states[0]).sort()).toEqual(
      [
        "[*] draft",
        "[*] published",
        ...steps.map(({ from, to }) => `${from} ${to}`),
        "published completed",
      ].sort(),
    );
  });

  test("show the lifecycle of a booking", () => {
    const steps = bookingRules.LIFECYCLE.map(({ from, to }) => `${from} ${to}`);
    expect(
      arrows(states[1])
        .filter((arrow) => !arrow.startsWith("[*]"))
        .sort(),
    ).toEqual(steps.sort());
  });

  test("show every service", () => {
    const drawn = [...(pictures[0] ?? "").matchAll(/^\s+\w+\[([a-z-]+)(?:<br>[^\]]*)?\]/gm)];
    expect(drawn.map(([, name]) => name).sort()).toEqual([...SERVICE_NAMES].sort());
  });
});

describe("Documents", () => {
  const documents = [...filesIn(["docs"], ".md"), "README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

  test("link to files that there are", () => {
    const links = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)].map(([, to = ""]) => ({
        file,
        to,
      })),
    );
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter(({ file, to }) => !existsSync(join(ROOT, dirname(file), to)))).toEqual([]);
  });

  test("name commands that there are", () => {
    const commands = documents.flatMap((file) =>
      [...read(file).matchAll(/npm run ([\w:]+)/g)].map(([, name = ""]) => ({ file, name })),
    );
    expect(commands.length).toBeGreaterThan(3);
    expect(commands.filter(({ name }) => !(name in scripts))).toEqual([]);
  });

  test("give a reason for every package that the product needs", () => {
    const reasons = read("docs/decisions/0001-dependencies.md");
    const needed = Object.keys({ ...dependencies, ...optionalDependencies });
    const isNamed = (name: string) =>
      new RegExp(`(^|[\\s|,(])${name.replaceAll("/", "\\/")}($|[\\s|,).;])`, "m").test(reasons);
    expect(needed.filter((name) => !isNamed(name))).toEqual([]);
  });
});
