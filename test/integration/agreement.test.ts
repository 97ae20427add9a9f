/**
 * Lists that must agree with each other: services, contracts, routes, the API's description, the database.
 * What the documents list is compared in test/unit/documents.test.ts, who imports whom in imports.test.ts.
 */
import { execFileSync } from "node:child_process";
import { systemClock } from "../../lib/clock";
import { loadConfig, SERVICE_NAMES } from "../../lib/config";
import { type Contract, type Registry, ROLES } from "../../lib/contract/define";
import { openDatabase } from "../../lib/database";
import { services } from "../../services";
import { API_BASE, routesOf } from "../../services/api/routes";
import { SESSION_END_REASONS } from "../../services/auth/auth.validations";
import { bookings } from "../../services/bookings/bookings.contract";
import {
  STATUSES as BOOKING_STATUSES,
  CANCEL_REASONS,
} from "../../services/bookings/bookings.validations";
import { contracts } from "../../services/contracts";
import { STATUSES as EVENT_STATUSES } from "../../services/events/events.validations";
import { columnsOf } from "../support/catalog";
import { filesIn, picturesIn, ROOT, read } from "../support/sources";
import { startTestSystem, type TestSystem } from "../support/system";

/** By their contracts' common type: here they are all alike. */
const registry: Registry = contracts;

let system: TestSystem;
beforeAll(async () => {
  system = await startTestSystem();
});
afterAll(() => system.stop());

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

test("The architecture's picture shows every table, and no column that there is not", async () => {
  const pictures = picturesIn(read("docs/architecture.md"));
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
