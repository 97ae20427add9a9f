import type { IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";
import proxyaddr from "proxy-addr";

const groupsOf = (text: string | undefined): number[] =>
  text ? text.split(":").map((group) => Number.parseInt(group, 16)) : [];

/**
 * The first half of an IPv6 address: the network that one customer gets as a whole. Always in one spelling,
 * because a proxy may write the same address in several.
 */
function networkOf(address: string): string {
  const [head, tail] = address.split("::");
  const left = groupsOf(head);
  const right = groupsOf(tail);
  const zeros = Array<number>(Math.max(0, 8 - left.length - right.length)).fill(0);
  const network = [...left, ...zeros, ...right].slice(0, 4);
  return `${network.map((group) => group.toString(16)).join(":")}::/64`;
}

/**
 * Tells who a request came from, as the key of a budget: an IPv4 address, or the /64 network of an IPv6
 * one, because whoever has one address there has them all.
 *
 * @param trusted addresses and networks whose `X-Forwarded-For` counts; nobody's does without
 */
export function clientAddress(trusted: readonly string[]): (req: IncomingMessage) => string {
  const trust = proxyaddr.compile([...trusted]);
  return (req) => {
    const address =
      (trusted.length ? proxyaddr(req, trust) : req.socket.remoteAddress) ?? "unknown";
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
    if (mapped) return mapped;
    return isIPv6(address) ? networkOf(address) : address;
  };
}
