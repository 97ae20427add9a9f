import type { ServiceBroker } from "moleculer";
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
});

/** Both services; what is heard goes to `heard`. */
function servicesOf(heard: (words: string) => Promise<void> = async () => {}) {
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
      events: { "greetings.said": ({ params }) => heard(params.words) },
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

describe("An announcement", () => {
  test("that is malformed reaches nobody; one that says more than is known does", async () => {
    const heard: string[] = [];
    const services = servicesOf(async (words) => void heard.push(words));
    await withBroker(services, async (broker) => {
      const malformed = [{}, { words: 1 }, { words: "x", how: "odd" }];
      for (const payload of malformed) await broker.emit("greetings.said", payload).catch(() => {});
      await broker.emit("greetings.said", { words: "new", schemaVersion: 2, extra: [] });
      expect(heard).toEqual(["new"]);
    });
  });
});

describe("An announcement from an outbox", () => {
  /** The services, with what hands out `announce` when it starts. */
  async function withAnnounce(
    heard: (words: string) => Promise<void>,
    work: (
      announce: (name: string, payload: object) => Promise<void>,
      broker: ServiceBroker,
    ) => Promise<void>,
  ): Promise<void> {
    let given: Parameters<typeof work>[0] | undefined;
    const relays = defineContract({
      name: "relays",
      description: "For this test.",
      actions: {},
      events: {},
    });
    const relay = implementer({ greetings, listeners, relays })(relays, {
      actions: {},
      async started({ announce }) {
        given = announce;
      },
    });
    await withBroker([...servicesOf(heard), relay], async (broker) => {
      if (!given) throw new Error("The relay has not started");
      await work(given, broker);
    });
  }

  test("comes back when whoever listens here has heard it", async () => {
    let hear = () => {};
    const heard = new Promise<void>((resolve) => {
      hear = resolve;
    });
    await withAnnounce(
      () => heard,
      async (announce) => {
        let back = false;
        const announced = announce("greetings.said", { words: "Hello" }).then(() => {
          back = true;
        });
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect(back).toBe(false);
        hear();
        await announced;
      },
    );
  });

  test("fails when it cannot be sent to other nodes", async () => {
    const silent = async () => {};
    await withAnnounce(silent, async (announce, broker) => {
      const { transit, options } = broker;
      // As a transporter that has lost its connection.
      const away = { sendEvent: () => Promise.reject(new Error("Nobody is connected")) };
      Object.assign(broker, { transit: away, options: { ...options, disableBalancer: true } });
      try {
        const announced = announce("greetings.said", { words: "Hello" });
        await expect(announced).rejects.toThrow("Nobody is connected");
      } finally {
        Object.assign(broker, { transit, options });
      }
    });
  });

  test("that somebody cannot hear, or nobody knows, is in nobody else's way", async () => {
    const heard: string[] = [];
    const deafOnce = async (words: string) => {
      if (words === "deaf") throw new Error("deaf");
      heard.push(words);
    };
    await withAnnounce(deafOnce, async (announce) => {
      await announce("greetings.said", { words: "deaf" });
      await announce("greetings.said", {});
      await announce("greetings.unknown", {});
      await announce("greetings.said", { words: "Hello" });
      expect(heard).toEqual(["Hello"]);
    });
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
