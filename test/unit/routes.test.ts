import type { ActionDefinition, Contract, RestMapping } from "../../lib/contract/define";
import { routesOf } from "../../services/api/routes";
import { contracts } from "../../services/contracts";

const contract = (name: string, rests: Record<string, RestMapping>): Contract => ({
  name,
  description: "For this test.",
  actions: Object.fromEntries(
    Object.entries(rests).map(([action, rest]): [string, ActionDefinition] => [
      action,
      { summary: "For this test", params: {}, result: null, access: "public", rest },
    ]),
  ),
  events: {},
});
const waysOf = (...registry: Contract[]) =>
  routesOf(Object.fromEntries(registry.map((one) => [one.name, one]))).map(
    ({ method, path, action }) => `${method} ${path} ${action}`,
  );

test("fixed words go before parameters, whatever the order in which they are written", () => {
  const rests: Record<string, RestMapping> = {
    one: { method: "GET", path: "/things/:id" },
    other: { method: "GET", path: "/things/:id/parts" },
    search: { method: "GET", path: "/things/search" },
    mine: { method: "GET", path: "/things/mine/parts" },
    all: { method: "GET", path: "/things" },
  };
  const before = (first: string, second: string) => {
    for (const entries of [Object.entries(rests), Object.entries(rests).reverse()]) {
      const order = waysOf(contract("things", Object.fromEntries(entries)));
      const at = (action: string) => order.findIndex((way) => way.endsWith(`things.${action}`));
      expect(at(first)).toBeLessThan(at(second));
    }
  };
  before("search", "one");
  before("mine", "other");
});

test("an action with two methods has two routes", () => {
  const rest: RestMapping = { method: "PATCH", path: "/things/:id", alsoMethod: "PUT" };
  expect(waysOf(contract("things", { update: rest }))).toEqual([
    "PATCH /things/:id things.update",
    "PUT /things/:id things.update",
  ]);
});

test("an action without a mapping has none", () => {
  const { things } = { things: contract("things", {}) };
  const internal = { $find: { summary: "For this test", params: {}, result: null } };
  expect(waysOf({ ...things, actions: internal })).toEqual([]);
});

test("two actions cannot want the same way in, however they name its parameters", () => {
  const a = contract("a", { find: { method: "GET", path: "/things/:id" } });
  const b = contract("b", { find: { method: "GET", path: "/things/:name" } });
  const c = contract("c", { find: { method: "POST", path: "/things/:id" } });
  expect(() => waysOf(a, b)).toThrow(/b\.find wants GET \/things\/:name, which is taken/);
  expect(waysOf(a, c)).toHaveLength(2);
});

test("no route of the product hides another one", () => {
  const routes = routesOf(contracts);
  for (const [i, { method, path }] of routes.entries()) {
    const segments = path.split("/");
    const shadowing = routes.slice(0, i).find((earlier) => {
      const others = earlier.path.split("/");
      return (
        earlier.method === method &&
        others.length === segments.length &&
        others.every((word, at) => word.startsWith(":") || word === segments[at])
      );
    });
    expect({ method, path, hiddenBy: shadowing?.path }).toEqual({ method, path });
  }
});
