import type { IncomingMessage } from "node:http";
import { clientAddress } from "../../services/api/client-address";

/** The key for a request from this address, perhaps through proxies. */
function keyOf(remoteAddress: string | undefined, trusted: string[] = [], forwarded?: string) {
  const request = {
    socket: { remoteAddress },
    headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
  };
  // All that is looked at of a request.
  return clientAddress(trusted)(request as unknown as IncomingMessage);
}

describe("A client is known by", () => {
  test("its IPv4 address, also where it is mapped into IPv6", () => {
    expect(keyOf("203.0.113.7")).toBe("203.0.113.7");
    expect(keyOf("::ffff:203.0.113.7")).toBe("203.0.113.7");
    expect(keyOf("::FFFF:203.0.113.7")).toBe("203.0.113.7");
  });

  test("the /64 network of its IPv6 address", () => {
    const network = keyOf("2001:db8:1:2:3:4:5:6");
    for (const neighbour of [
      "2001:db8:1:2::",
      "2001:db8:1:2::1",
      "2001:db8:1:2:ffff:ffff:ffff:ffff",
      "2001:0db8:0001:0002:0000:0000:0000:0001",
      "2001:DB8:1:2::A",
    ]) {
      expect(keyOf(neighbour)).toBe(network);
    }
    const strangers = [
      "2001:db8:1:3:3:4:5:6",
      "2001:db8:1::2",
      "2001:db8::1:2:3:4:5",
      "2001:db9:1:2::1",
      "::1",
      "::2001:db8:1:2",
      "fe80::1",
    ].map((address) => keyOf(address));
    expect(strangers).not.toContain(network);
  });

  test.each([
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["1::", "1:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["2001:db8::", "2001:db8:0:0::/64"],
    ["2001:db8::5:6:7:8", "2001:db8:0:0::/64"],
    ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
    ["::2:3:4:5:6:7:8", "0:2:3:4::/64"],
  ])("%s: %s", (address, key) => {
    expect(keyOf(address)).toBe(key);
  });

  test("nothing in particular once its connection is gone", () => {
    expect(keyOf(undefined)).toBe("unknown");
  });
});

describe("X-Forwarded-For", () => {
  const proxy = "10.0.0.1";

  test("counts for nothing unless somebody is trusted", () => {
    expect(keyOf("203.0.113.7", [], "198.51.100.1")).toBe("203.0.113.7");
  });

  test("counts for nothing from somebody who is not trusted", () => {
    expect(keyOf("203.0.113.7", [proxy], "198.51.100.1")).toBe("203.0.113.7");
  });

  test("names the client of a trusted proxy", () => {
    expect(keyOf(proxy, [proxy], "198.51.100.1")).toBe("198.51.100.1");
    expect(keyOf(`::ffff:${proxy}`, [proxy], "198.51.100.1")).toBe("198.51.100.1");
    expect(keyOf("10.200.3.4", ["10.0.0.0/8"], "2001:db8::7")).toBe("2001:db8:0:0::/64");
    expect(keyOf("127.0.0.1", ["loopback"], "198.51.100.1")).toBe("198.51.100.1");
  });

  test("counts from the right, up to the first that is not trusted: what a client made up is left of it", () => {
    expect(keyOf(proxy, [proxy], "1.1.1.1, 198.51.100.1")).toBe("198.51.100.1");
    expect(keyOf(proxy, ["10.0.0.0/8"], "1.1.1.1, 198.51.100.1, 10.0.0.9")).toBe("198.51.100.1");
    expect(keyOf(proxy, ["10.0.0.0/8"], "10.0.0.5, 10.0.0.9")).toBe("10.0.0.5");
  });

  test("may be missing or nonsense", () => {
    expect(keyOf(proxy, [proxy])).toBe(proxy);
    expect(keyOf(proxy, [proxy], "")).toBe(proxy);
    expect(keyOf(proxy, [proxy], "evil, nonsense")).toBe("nonsense");
  });
});
