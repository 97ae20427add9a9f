import type { IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";
import proxyaddr from "proxy-addr";

/** The first half of an IPv6 address: the network that one customer gets as a whole. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("::");
  const groups = head ? head.split(":") : [];
  if (tail !== undefined) {
    const rest = tail ? tail.split(":") : [];
    groups.push(...Array<string>(Math.max(0, 8 - groups.length - rest.length)).fill("0"), ...rest);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
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
