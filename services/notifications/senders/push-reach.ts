/**
 * Whom push messages may reach. Where a subscription leads is what somebody has told us, so it must lead to nobody whom
 * only this server can reach: neither by its name nor by what that name means at the moment of sending.
 */
import { type LookupAddress, lookup } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";
import proxyaddr from "proxy-addr";

/** Networks of IPv4 that are nobody's on the internet (IANA's registry of special purposes). */
const SPECIAL = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  SPECIAL.addSubnet(network, prefix, "ipv4");
}
/** Of IPv6 what is public is one block; within it what stands for other addresses or for none. */
const PUBLIC_6 = new BlockList();
PUBLIC_6.addSubnet("2000::", 3, "ipv6");
for (const [network, prefix] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const) {
  SPECIAL.addSubnet(network, prefix, "ipv6");
}

function isPublic(address: string): boolean {
  if (isIPv6(address)) return PUBLIC_6.check(address, "ipv6") && !SPECIAL.check(address, "ipv6");
  return isIP(address) === 4 && !SPECIAL.check(address, "ipv4");
}

/** The address that a URL names by itself, without a name; undefined where it has a name. */
const addressIn = ({ hostname }: URL): string | undefined => {
  const bare = hostname.replace(/^\[|\]$/g, "");
  return isIP(bare) ? bare : undefined;
};

export interface Reach {
  /** Whether a subscription may be taken at all: what its name means shows when something is sent. */
  mayLead(endpoint: URL): boolean;
  /** Looks a name up, and gives of its addresses those that may be reached by the endpoint's protocol. */
  lookupFor(protocol: string): LookupFunction;
}

/** A name that means nothing but addresses which only this server can reach. */
export class OutOfReach extends Error {
  readonly code = "OUT_OF_REACH";
}

/**
 * @param privateNetworks what an operator allows besides public addresses; there, also without encryption
 * @param resolve as `dns.lookup`
 */
export function reach(privateNetworks: readonly string[], resolve = lookup): Reach {
  const isOwn = proxyaddr.compile([...privateNetworks]);
  const mayReach = (address: string, protocol: string): boolean =>
    isOwn(address, 0) || (protocol === "https:" && isPublic(address));

  return {
    mayLead(endpoint) {
      const address = addressIn(endpoint);
      if (address !== undefined) return mayReach(address, endpoint.protocol);
      return endpoint.protocol === "https:" || privateNetworks.length > 0;
    },

    lookupFor: (protocol) => (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
        if (error) return callback(error, []);
        const reached = found.filter(({ address }) => mayReach(address, protocol));
        const [first] = reached;
        if (!first) return callback(new OutOfReach("The name leads to a private network"), []);
        if (options.all) callback(null, reached);
        else callback(null, first.address, first.family);
      });
    },
  };
}
