import { consumersIn, hearersIn } from "../../lib/contract/channels";
import {
  type Caller,
  type Contract,
  defineContract,
  type Meta,
  pathParameters,
  ROLES,
  type Role,
  successStatus,
} from "../../lib/contract/define";
import { checkAccess, implementer } from "../../lib/contract/implement";
import { id, integer, object, oneOf, optional, text, withDefault } from "../../lib/contract/rules";
import { Forbidden, isError, Unauthenticated } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { withBroker } from "../support/brokers";
import { faultsOf } from "../support/guarded";

const greetings = defineContract({
  name: "greetings",
  description: "For this test.",
  actions: {
    $count: {
      summary: "Internal",
      params: { start: withDefault(integer({ min: 0 }), 1) },
      result: object({ count: integer() }),
    },
    greet: {
      summary: "For anybody",
      params: { name: text({ minLength: 1, maxLength: 10 }) },
      result: object({ words: text({ maxLength: 100 }) }),
      access: "public",
      rest: { method: "POST", path: "/greetings", status: 201 },
    },
    mine: {
      summary: "For whoever is signed in",
      params: {},
      result: object({ userId: id() }),
      access: "signedIn",
      rest: { method: "GET", path: "/greetings/mine" },
    },
    forget: {
      summary: "For administrators",
      params: { id: id() },
      result: null,
      access: { roles: ["admin"] },
      rest: { method: "DELETE", path: "/greetings/:id" },
    },
  },
  events: {
    "greetings.said": {
      summary: "Somebody was greeted",
      payload: object({ words: text({ maxLength: 50 }), how: optional(oneOf(["warm", "cool"])) }),
    },
  },
});
const listeners = defineContract({
  name: "listeners",
  description: "For this test.",
  actions: {},
  events: {},
  consumes: ["greetings.said"],
});

/** Both services. */
function servicesOf() {
  const implement = implementer({ greetings, listeners });
  return [
    implement(greetings, {
      actions: {
        $count: async ({ params }) => ({ count: params.start + 1 }),
        async greet({ params, call }) {
          const { count } = await call("greetings.$count", { start: params.name.length });
          return { words: `Hello ${params.name} ${count}` };
        },
        mine: async (_ctx, caller) => ({ userId: caller.id }),
        forget: async () => {},
      },
    }),
    implement(listeners, {
      actions: {},
      channels: { "greetings.said": async () => {} },
    }),
  ];
}

const callerOf = (role: Role): Caller => ({ id: newId(), role, sessionId: newId() });
const as = (caller: Caller | null): { meta: Meta } => ({ meta: { caller } });
const codeOf = (error: unknown) => (error as { type?: unknown }).type;

describe("A contract and its handlers", () => {
  test("become a service whose actions check their parameters and call each other", async () => {
    await withBroker(servicesOf(), async (broker) => {
      expect(await broker.call("greetings.greet", { name: " Ada " })).toEqual({
        words: "Hello Ada 4",
      });
      expect(await broker.call("greetings.$count")).toEqual({ count: 2 });
      const refusal = broker.call("greetings.greet", { name: "Ada", mood: "good" });
      await expect(refusal.catch(faultsOf)).resolves.toMatchObject([{ field: "mood" }]);
    });
  });

  test("publish only what has a REST mapping", () => {
    const [service] = servicesOf();
    const visibility = Object.fromEntries(
      Object.entries(service?.actions ?? {}).map(([name, action]) => [
        name,
        (action as { visibility: string }).visibility,
      ]),
    );
    expect(visibility).toEqual({
      $count: "public",
      greet: "published",
      mine: "published",
      forget: "published",
    });
  });

  test("send calls for one thing to one node, where the contract says by what", () => {
    const contract = defineContract({
      name: "spreads",
      description: "For this test.",
      actions: {
        $spread: { summary: "By thing", params: { id: id() }, result: null, shardBy: "id" },
        $any: { summary: "Anywhere", params: { id: id() }, result: null },
      },
      events: {},
    });
    const { actions } = implementer({ contract })(contract, {
      actions: { $spread: async () => {}, $any: async () => {} },
    });
    expect(actions?.$spread).toMatchObject({
      strategy: "Shard",
      strategyOptions: { shardKey: "id" },
    });
    expect(actions?.$any).not.toHaveProperty("strategy");
  });

  test("keep out who may not call, also when no gateway stands before them", async () => {
    await withBroker(servicesOf(), async (broker) => {
      const host = callerOf("host");
      expect(await broker.call("greetings.mine", {}, as(host))).toEqual({ userId: host.id });
      await expect(broker.call("greetings.mine", {}, as(null)).catch(codeOf)).resolves.toBe(
        "UNAUTHENTICATED",
      );
      await expect(broker.call("greetings.mine", {}).catch(codeOf)).resolves.toBe(
        "UNAUTHENTICATED",
      );
      const target = { id: newId() };
      await expect(broker.call("greetings.forget", target, as(host)).catch(codeOf)).resolves.toBe(
        "FORBIDDEN",
      );
      await expect(
        broker.call("greetings.forget", target, as(callerOf("admin"))),
      ).resolves.toBeUndefined();
    });
  });
});

describe("A channel", () => {
  const parts = { actions: {}, channels: { "greetings.said": async () => {} } };

  test("is what a service hears by, with the shape of what it hears", () => {
    const handler = async () => {};
    const channelsIn = (schema: object) => (schema as { channels: object }).channels;
    const implement = implementer({ greetings, listeners });
    const many = implement(listeners, { actions: {}, channels: { "greetings.said": handler } });
    expect(channelsIn(many)).toMatchObject({
      "greetings.said": { atOnce: 200, params: { words: expect.anything() } },
    });
    const alone = { atOnce: 1, handler };
    const one = implement(listeners, { actions: {}, channels: { "greetings.said": alone } });
    expect(channelsIn(one)).toMatchObject({ "greetings.said": { atOnce: 1 } });
  });

  test("that a contract names must be there, and its event too", () => {
    const implement = implementer({ greetings, listeners });
    expect(() => implement(listeners, { actions: {} })).toThrow("greetings.said");
    expect(() => implementer({ listeners })(listeners, parts as never)).toThrow("greetings.said");
    expect(() => consumersIn({ listeners })).toThrow("greetings.said");
    const more = { ...parts.channels, "greetings.heard": async () => {} };
    expect(() => implement(listeners, { ...parts, channels: more })).toThrow("greetings.heard");
  });

  test("is known by its event, wherever that happens", () => {
    const consumersOf = consumersIn({ greetings, listeners });
    expect(consumersOf("greetings.said")).toEqual(["listeners"]);
    expect(consumersOf("greetings.unknown")).toBeUndefined();
    expect(hearersIn({ greetings, listeners })).toEqual([["greetings.said", ["listeners"]]]);
    expect(hearersIn({ greetings })).toEqual([["greetings.said", []]]);
  });
});

describe("Access", () => {
  const everybody = [null, ...ROLES.map(callerOf)];
  const outcome = (work: () => void) => {
    try {
      work();
      return "in";
    } catch (error) {
      if (isError(error, Unauthenticated)) return "401";
      if (isError(error, Forbidden)) return "403";
      throw error;
    }
  };

  test.each([
    ["public", "public" as const, ["in", "in", "in", "in"]],
    ["signed in", "signedIn" as const, ["401", "in", "in", "in"]],
    ["hosts and administrators", { roles: ["host", "admin"] as const }, ["401", "403", "in", "in"]],
    ["nobody", { roles: [] }, ["401", "403", "403", "403"]],
  ])("%s: nobody, attendee, host, admin", (_who, access, expected) => {
    expect(everybody.map((caller) => outcome(() => checkAccess(access, caller)))).toEqual(expected);
  });

  test("without a caller at all is as without being signed in", () => {
    expect(outcome(() => checkAccess("signedIn", undefined))).toBe("401");
  });
});

describe("defineContract refuses what the house does not know", () => {
  const rest = { method: "GET", path: "/things/:id" } as const;
  const action = { summary: "For this test", params: {}, result: null };
  const contract = (parts: Partial<Contract>): Contract => ({
    name: "things",
    description: "For this test.",
    actions: {},
    events: {},
    ...parts,
  });

  test.each<[string, Partial<Contract>, RegExp]>([
    [
      "an internal action with a route",
      { actions: { $find: { ...action, params: { id: id() }, rest } } },
      /things\.\$find: an internal action/,
    ],
    [
      "an internal action with an access rule",
      { actions: { $find: { ...action, access: "public" } } },
      /things\.\$find: an internal action/,
    ],
    [
      "a REST action without an access rule",
      { actions: { find: { ...action, params: { id: id() }, rest } } },
      /things\.find: a REST action needs/,
    ],
    [
      "a REST action without a route",
      { actions: { find: { ...action, access: "public" } } },
      /things\.find: a REST action needs/,
    ],
    [
      "a path parameter that the parameters lack",
      { actions: { find: { ...action, rest, access: "public" } } },
      /things\.find: the path names :id/,
    ],
    [
      "an event of another service",
      { events: { "others.made": { summary: "For this test", payload: object({}) } } },
      /things: an event's name begins with its service/,
    ],
  ])("%s", (_what, parts, words) => {
    expect(() => defineContract(contract(parts))).toThrow(words);
  });
});

describe("What follows from a definition", () => {
  const { greet, mine, forget, $count } = greetings.actions;

  test("the status of a success", () => {
    expect([greet, mine, forget].map(successStatus)).toEqual([201, 200, 204]);
  });

  test("the parameters of the path", () => {
    expect([greet, forget, $count].map(pathParameters)).toEqual([[], ["id"], []]);
  });
});
