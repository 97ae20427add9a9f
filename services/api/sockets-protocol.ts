/** What is said on a socket, both ways; docs/websocket.md describes it for clients. */
import { exposedError, type FieldError, MalformedJson, ValidationFailed } from "../../lib/errors";
import { isId } from "../../lib/ids";

/** What can be subscribed to: an event, or all events of a host. */
export type Topic = { readonly eventId: string } | { readonly hostId: string };
export type Command =
  | { readonly action: "ping" }
  | { readonly action: "subscribe" | "unsubscribe"; readonly topic: Topic };

const refused = (...errors: FieldError[]) => new ValidationFailed({ errors });
const TOPICS = ["eventId", "hostId"] as const;

function topicOf(fields: Record<string, unknown>): Topic {
  const [name, ...more] = TOPICS.filter((topic) => fields[topic] !== undefined);
  if (!name || more.length > 0) {
    throw refused({ field: "eventId", message: "is required, or a hostId, and not both" });
  }
  const id = fields[name];
  if (!isId(id)) throw refused({ field: name, message: "must be a UUID" });
  return name === "eventId" ? { eventId: id.toLowerCase() } : { hostId: id.toLowerCase() };
}

/** @throws MalformedJson; ValidationFailed with the first fault there is */
export function commandOf(text: string): Command {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    throw new MalformedJson({});
  }
  if (typeof said !== "object" || said === null || Array.isArray(said)) {
    throw refused({ field: "body", message: "must be an object" });
  }
  const { action, ...fields } = said as Record<string, unknown>;
  if (action !== "subscribe" && action !== "unsubscribe" && action !== "ping") {
    throw refused({ field: "action", message: "must be one of: subscribe, unsubscribe, ping" });
  }
  const known: readonly string[] = action === "ping" ? [] : TOPICS;
  const unknown = Object.keys(fields).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw refused({ field: unknown.slice(0, 100), message: "is not a known field" });
  }
  return action === "ping" ? { action } : { action, topic: topicOf(fields) };
}

export const keyOf = (topic: Topic): string =>
  "eventId" in topic ? `event ${topic.eventId}` : `host ${topic.hostId}`;

/** A frame as it is sent; made once, however many get it. */
export type Frame = Buffer;

export const frameOf = (said: { type: string } & Record<string, unknown>): Frame =>
  Buffer.from(JSON.stringify(said));

export const eventFrame = (
  action: "created" | "updated" | "deleted" | "availability",
  data: object,
): Frame => frameOf({ type: "event", action, data });

/** Any error as what a client may know of it, and what it is about. */
export function errorFrame(error: unknown, about?: Topic): Frame {
  const { kind, facts } = exposedError(error);
  return frameOf({
    type: "error",
    code: kind.code,
    detail: kind.detail(facts),
    ...(facts.errors ? { errors: facts.errors } : {}),
    ...about,
  });
}
