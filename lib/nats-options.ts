/** The servers of a NATS URL as a log may name them, without account and password. */
export const natsServers = (url: string): string =>
  url
    .split(",")
    .map((address) => new URL(address).host)
    .join(", ");

/** What somebody wrote with a stray percent sign means itself. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export interface NatsOptions {
  servers: string[];
  user?: string;
  pass?: string;
  tls?: object;
}

/**
 * How to connect to the servers of a NATS URL, with TLS where one of its addresses asks for it. Moleculer would take the
 * addresses apart as well, but leave user and password percent-encoded.
 */
export function natsOptions(url: string): NatsOptions {
  const urls = url.split(",").map((address) => new URL(address));
  // One connection signs in with one account, whichever server it reaches.
  const account = urls.find(({ username }) => username !== "");
  return {
    servers: urls.map(({ host }) => host),
    ...(account ? { user: decoded(account.username), pass: decoded(account.password) } : {}),
    ...(urls.some(({ protocol }) => protocol === "tls:") ? { tls: {} } : {}),
  };
}
