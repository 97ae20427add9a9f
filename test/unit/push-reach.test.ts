import type { lookup } from "node:dns";
import { reach } from "../../services/notifications/senders/push-reach";

const PRIVATE = [
  ...["127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
  ...["169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"],
  ...["[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd12::1]", "[ff02::1]", "[::ffff:127.0.0.1]"],
  ...["[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:db8::1]", "[2001::1]"],
  // Other spellings of the loopback.
  ...["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[0:0:0:0:0:ffff:7f00:1]"],
];
const PUBLIC = ["93.184.216.34", "172.32.0.1", "[2606:2800:220:1::1]", "11.0.0.1"];

const mayLead = (networks: readonly string[], url: string) => reach(networks).mayLead(new URL(url));

describe("Whom a subscription may lead to", () => {
  test.each(PRIVATE)("not to %s", (host) => {
    expect(mayLead([], `https://${host}/push`)).toBe(false);
    expect(mayLead([], `http://${host}/push`)).toBe(false);
  });

  test.each(PUBLIC)("to %s, but only encrypted", (host) => {
    expect(mayLead([], `https://${host}/push`)).toBe(true);
    expect(mayLead([], `http://${host}/push`)).toBe(false);
  });

  test("to a name, whatever that means later; unencrypted only where there are networks for it", () => {
    expect(mayLead([], "https://push.example/x")).toBe(true);
    expect(mayLead([], "http://push.example/x")).toBe(false);
    expect(mayLead(["loopback"], "http://push.example/x")).toBe(true);
  });

  test("to what an operator allows, and no further", () => {
    for (const protocol of ["http", "https"]) {
      expect(mayLead(["loopback"], `${protocol}://127.0.0.1:8080/x`)).toBe(true);
      expect(mayLead(["loopback"], `${protocol}://[::1]/x`)).toBe(true);
      expect(mayLead(["10.8.0.0/16"], `${protocol}://10.8.1.1/x`)).toBe(true);
      expect(mayLead(["10.8.0.0/16"], `${protocol}://10.9.1.1/x`)).toBe(false);
      expect(mayLead(["loopback"], `${protocol}://10.8.1.1/x`)).toBe(false);
    }
  });
});

describe("What a name means when something is sent", () => {
  const resolving = (...addresses: string[]) =>
    ((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      )) as unknown as typeof lookup;
  const lookedUp = (
    networks: readonly string[],
    protocol: string,
    addresses: string[],
    options: { all?: boolean } = {},
  ) =>
    new Promise((resolve) =>
      reach(networks, resolving(...addresses)).lookupFor(protocol)(
        "push.example",
        options,
        (error, found) => resolve(error ? error.code : found),
      ),
    );

  test("only addresses that may be reached are given", async () => {
    const both = ["10.0.0.1", "93.184.216.34", "::1", "2606:2800:220:1::1"];
    expect(await lookedUp([], "https:", both, { all: true })).toEqual([
      { address: "93.184.216.34", family: 4 },
      { address: "2606:2800:220:1::1", family: 6 },
    ]);
    expect(await lookedUp([], "https:", both)).toBe("93.184.216.34");
    expect(await lookedUp(["10.0.0.0/8"], "http:", both)).toBe("10.0.0.1");
  });

  test("a name that means none of these leads nowhere", async () => {
    expect(await lookedUp([], "https:", ["10.0.0.1", "::1"])).toBe("OUT_OF_REACH");
    expect(await lookedUp(["loopback"], "http:", ["93.184.216.34"])).toBe("OUT_OF_REACH");
    expect(await lookedUp([], "https:", [], { all: true })).toBe("OUT_OF_REACH");
  });
});
