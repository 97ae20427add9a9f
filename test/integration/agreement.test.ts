/**
 * Lists that must agree with each other: what the code has, what the documents say, what the database holds.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { systemClock } from "../../lib/clock";
import { type Environment, loadConfig, SERVICE_NAMES } from "../../lib/config";
import { type Contract, type Registry, ROLES } from "../../lib/contract/define";
import { openDatabase } from "../../lib/database";
import { errorCatalogue } from "../../lib/errors";
import { dependencies, optionalDependencies, scripts } from "../../package.json";
import { services } from "../../services";
import { API_BASE, routesOf } from "../../services/api/routes";
import { SESSION_END_REASONS } from "../../services/auth/auth.validations";
import { bookings } from "../../services/bookings/bookings.contract";
import * as bookingRules from "../../services/bookings/bookings.rules";
import {
  STATUSES as BOOKING_STATUSES,
  CANCEL_REASONS,
} from "../../services/bookings/bookings.validations";
import { contracts } from "../../services/contracts";
import * as eventRules from "../../services/events/events.rules";
import { STATUSES as EVENT_STATUSES } from "../../services/events/events.validations";
import { columnsOf } from "../support/catalog";
import { variablesRead } from "../support/recorded-environment";
import { codeOf, filesIn, importsIn, ROOT, read, tableRows } from "../support/sources";
import { startTestSystem, type TestSystem } from "../support/system";

/** By their contracts' common type: here they are all alike. */
const registry: Registry = contracts;
const rows = (file: string) => tableRows(read(file));

let system: TestSystem;
beforeAll(async () => {
  system = await startTestSystem();
});
afterAll(() => system.stop());

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
  const SECRETS = ["ADMIN_PASSWORD", "JWT_SECRET"];

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
    const secrets = { ADMIN_PASSWORD: "geheim 123", JWT_SECRET: "x".repeat(32) };
    expect(() => loadConfig({ ...filledIn, ...secrets })).not.toThrow();
  });

  test("have no secret in .env.example that everybody would know", () => {
    expect(SECRETS.filter((name) => filledIn[name])).toEqual([]);
  });

  test("are read in lib/config.ts alone", () => {
    const elsewhere = filesIn(
      [...PRODUCT_FOLDERS, ...filesIn(["."], ".ts").filter((file) => !file.includes("/"))],
      ".ts",
    ).flatMap((file) =>
      [...read(file).matchAll(/process\.env\b(?:\.\w+|\[[^\]]*\])?/g)].map(
        ([use]) => `${file}: ${use}`,
      ),
    );
    expect(elsewhere).toEqual([
      // PostgreSQL's programs are found and run by it; nothing is configured.
      "lib/embedded-postgres/account.ts: process.env.PATH",
      // These hand the whole of it to lib/config.ts.
      "main.ts: process.env",
      "moleculer.config.ts: process.env",
      "repl.ts: process.env",
      "tasks.ts: process.env",
    ]);
  });

  test("name the services there are", () => {
    const [, , meaning] =
      rows("docs/configuration.md").find(([name]) => codeOf(name) === "SERVICES") ?? [];
    const named = [...(meaning ?? "").matchAll(/`([a-z-]+)`/g)].map(([, name]) => name);
    expect(named).toEqual([...SERVICE_NAMES]);
  });
});

const PRODUCT_FOLDERS = ["lib", "mixins", "services", "migrations", "seeders"];

describe("Services", () => {
  test("are the same for SERVICES, in services/index.ts and in a folder each", () => {
    expect(Object.keys(services).sort()).toEqual([...SERVICE_NAMES].sort());
    const faces = filesIn(["services"], ".service.ts");
    expect(faces).toEqual(
      SERVICE_NAMES.map((name) => `services/${name}/${name}.service.ts`).sort(),
    );
  });

  test("have a contract each, of their name; the gateway has none, because it has no action", () => {
    expect(Object.keys(contracts).sort()).toEqual(
      SERVICE_NAMES.filter((name) => name !== "api").sort(),
    );
    expect(Object.entries(contracts).filter(([name, contract]) => contract.name !== name)).toEqual(
      [],
    );
    expect(filesIn(["services"], ".contract.ts")).toEqual(
      Object.keys(contracts)
        .map((name) => `services/${name}/${name}.contract.ts`)
        .sort(),
    );
  });

  test("have exactly the actions of their contract, and listen to events that exist", async () => {
    const database = openDatabase("postgres://nobody@127.0.0.1/nothing", { connections: 1 });
    const config = loadConfig({ JWT_SECRET: "x".repeat(32) });
    const events = Object.values(registry).flatMap((contract) => Object.keys(contract.events));
    for (const [name, contract] of Object.entries(registry)) {
      const build = Object.entries(services).find(([service]) => service === name)?.[1];
      const schema = build?.({ config, database, clock: systemClock });
      expect(schema?.name).toBe(name);
      expect(Object.keys(schema?.actions ?? {}).sort()).toEqual(
        Object.keys(contract.actions).sort(),
      );
      expect(events).toEqual(expect.arrayContaining(Object.keys(schema?.events ?? {})));
    }
    await database.close();
  });

  test("have the actions of the document from which the system comes", () => {
    const seed: Record<string, string> = {
      core: "$hashText $compareText $verifyJwt $signJwt",
      auth: "signUp signIn",
      "available-events": "$create $update $delete $find $list list",
      events: "$create $update $delete $find $list create update find list",
      users: "$create $update $delete $find $list list",
      bookings: "$create $update $delete $find $list",
    };
    for (const [service, names] of Object.entries(seed)) {
      expect(Object.keys(registry[service]?.actions ?? {})).toEqual(
        expect.arrayContaining(names.split(" ")),
      );
    }
  });
});

describe("Imports run one way", () => {
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

  test("models never leave their store", () => {
    const ofModels = ours.filter(({ to }) => to.endsWith(".model"));
    expect(ofModels.length).toBeGreaterThan(4);
    expect(
      ofModels.filter(({ from, to }) => from !== `${to.replace(/model$/, "store")}.ts`),
    ).toEqual([]);
  });

  test("rules do no input or output", () => {
    const ofRules = importsIn(["services"]).filter(({ from }) => from.endsWith(".rules.ts"));
    const allowed =
      /^(lib\/(contract\/(define|rules)|errors|ids)|services\/[\w-]+\/[\w-]+\.(contract|validations|rules))$/;
    expect(ofRules.length).toBeGreaterThan(10);
    expect(ofRules.filter(({ to }) => !allowed.test(to))).toEqual([]);
  });
});

interface Operation {
  operationId: string;
  security: object[];
  responses: Record<string, unknown>;
}
interface Description {
  paths: Record<string, Record<string, Operation>>;
}

describe("Routes, contracts and the description of the API", () => {
  const described = async () =>
    (await (await fetch(`${system.origin}/openapi.json`)).json()) as Description;
  const inTemplate = (path: string) => `${API_BASE}${path}`.replace(/:(\w+)/g, "{$1}");
  const published = routesOf(contracts).map(
    ({ method, path, action }) => `${method} ${inTemplate(path)} ${action}`,
  );

  test("every action with a mapping is a route, and every route of the gateway such an action", () => {
    const mapped = Object.values(registry).flatMap(({ name, actions }: Contract) =>
      Object.entries(actions).flatMap(([action, { rest }]) =>
        rest
          ? [rest.method, ...(rest.alsoMethod ? [rest.alsoMethod] : [])].map(
              (method) => `${method} ${inTemplate(rest.path)} ${name}.${action}`,
            )
          : [],
      ),
    );
    expect([...published].sort()).toEqual(mapped.sort());
    const gateway = system.systems[0]?.broker.services.find(({ name }) => name === "api");
    // What moleculer-web keeps of its routes; its types do not say.
    const aliases = (
      gateway as unknown as { aliases: { method: string; path: string; action: string }[] }
    ).aliases;
    expect(
      aliases
        .map(({ method, path, action }) => `${method} ${inTemplate(`/${path}`)} ${action}`)
        .sort(),
    ).toEqual([...published].sort());
  });

  test("every route is described as an operation, and every operation is a route", async () => {
    const { paths } = await described();
    const operations = Object.entries(paths).flatMap(([path, item]) =>
      path.startsWith(`${API_BASE}/`)
        ? Object.entries(item).map(([method, { operationId }]) => {
            const [service, action] = operationId.split(".");
            return `${method.toUpperCase()} ${path} ${service}.${action}`;
          })
        : [],
    );
    expect(operations.sort()).toEqual([...published].sort());
    const ids = Object.values(paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    );
    expect(ids).toEqual([...new Set(ids)]);
  });

  test("an operation asks for a token where its action does, and tells the action's errors", async () => {
    const { paths } = await described();
    for (const { method, path, definition } of routesOf(contracts)) {
      const operation = paths[inTemplate(path)]?.[method.toLowerCase()];
      const withoutToken = operation?.security.some((way) => Object.keys(way).length === 0);
      expect({ method, path, withoutToken }).toEqual({
        method,
        path,
        withoutToken: definition.access === "public",
      });
      for (const { code, status } of definition.errors ?? []) {
        expect(JSON.stringify(operation?.responses[status])).toContain(code);
      }
    }
  });

  test("what is described at the root answers", async () => {
    const { paths } = await described();
    const atRoot = Object.keys(paths).filter((path) => !path.startsWith(`${API_BASE}/`));
    expect(atRoot).toEqual(["/health/live", "/health/ready", "/openapi.json"]);
    for (const path of atRoot) expect((await fetch(`${system.origin}${path}`)).status).toBe(200);
  });

  test("the description is valid OpenAPI 3.1", async () => {
    const description = await described();
    expect(openApiProblems(description)).toEqual({ valid: true, version: "3.1" });
    const { paths: _paths, ...broken } = { ...description, info: {} };
    expect(openApiProblems(broken)).toMatchObject({ valid: false });
  });
});

/** Asks a validator that only exists as an ES module, which jest cannot load: in a process of its own. */
function openApiProblems(document: object): { valid: boolean; version?: string; errors?: unknown } {
  const script = `
    import { Validator } from "@seriousme/openapi-schema-validator";
    import { text } from "node:stream/consumers";
    const validator = new Validator();
    const { valid, errors } = await validator.validate(JSON.parse(await text(process.stdin)));
    console.log(JSON.stringify({ valid, version: validator.version, errors }));`;
  const output = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: ROOT,
    input: JSON.stringify(document),
    encoding: "utf8",
  });
  return JSON.parse(output);
}

describe("What the database allows is what the contracts name", () => {
  test.each<[string, string, readonly string[]]>([
    ["users", "role", ROLES],
    ["events", "status", EVENT_STATUSES],
    ["bookings", "status", BOOKING_STATUSES],
    ["bookings", "cancel_reason", CANCEL_REASONS],
    ["sessions", "end_reason", SESSION_END_REASONS],
    ["tickets", "status", bookings.actions.find.result.props.tickets.items.props.status.values],
  ])("%s.%s", async (table, column, words) => {
    const [row] = await system.database.query(
      `SELECT pg_get_constraintdef(c.oid) AS definition
         FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
        WHERE c.conrelid = $1::regclass AND c.contype = 'c' AND a.attname = $2`,
      [table, column],
    );
    const allowed = [...String(row?.definition).matchAll(/'([^']+)'::text/g)].map(
      ([, word]) => word,
    );
    expect(allowed.sort()).toEqual([...words].sort());
  });
});

describe("The architecture's pictures", () => {
  const pictures = [...read("docs/architecture.md").matchAll(/```mermaid\n([\s\S]*?)```/g)].map(
    ([, picture = ""]) => picture,
  );
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
    const steps = BOOKING_STATUSES.flatMap((from) =>
      bookingRules.LIFECYCLE[from].map((to) => `${from} ${to}`),
    );
    expect(
      arrows(states[1])
        .filter((arrow) => !arrow.startsWith("[*]"))
        .sort(),
    ).toEqual(steps.sort());
  });

  test("show every table, and no column that there is not", async () => {
    const picture = pictures.find((candidate) => candidate.startsWith("erDiagram")) ?? "";
    const drawn = [...picture.matchAll(/^ {2}(\w+) \{\n([\s\S]*?)^ {2}\}/gm)].flatMap(
      ([, table, body = ""]) =>
        [...body.matchAll(/^ +\w+ (\w+)/gm)].map(([, column]) => `${table}.${column}`),
    );
    const columns = await columnsOf(system.database);
    expect(columns.map(({ table, name }) => `${table}.${name}`)).toEqual(
      expect.arrayContaining(drawn),
    );
    const journals = ["migrations", "seeders"];
    const tables = new Set(
      columns.map(({ table }) => table).filter((table) => !journals.includes(table)),
    );
    expect([...new Set(drawn.map((column) => column.split(".", 1)[0]))].sort()).toEqual(
      [...tables].sort(),
    );
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
