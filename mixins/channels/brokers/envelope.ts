import type { OutboxEvent } from "../../../lib/contract/outbox-event";
import { isId } from "../../../lib/ids";

/** An event as a message broker carries it. */
export function bodyOf(event: OutboxEvent): Buffer {
  const { id, type, action, aggregateId, aggregateVersion, occurredAt, correlationId, data } =
    event;
  return Buffer.from(
    JSON.stringify({
      ...{ id, type, action, aggregateId, aggregateVersion },
      ...{ occurredAt: occurredAt.toISOString(), correlationId, data },
    }),
  );
}

const isText = (value: unknown): value is string => typeof value === "string";
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString());
  } catch {
    throw new Error("it is no JSON");
  }
}

/**
 * The event of a message, whoever has sent that.
 *
 * @throws Error with what is wrong with it, without its contents
 */
export function eventOf(body: Uint8Array): OutboxEvent {
  const envelope = parsed(body);
  if (!isRecord(envelope)) throw new Error("it is no object");
  const { id, type, action, aggregateId, aggregateVersion, occurredAt, correlationId, data } =
    envelope;
  const wrong = (field: string) => new Error(`its ${field} is wrong`);
  if (!isId(id)) throw wrong("id");
  if (!isText(type)) throw wrong("type");
  if (!isText(action)) throw wrong("action");
  if (!isId(aggregateId)) throw wrong("aggregateId");
  if (!Number.isSafeInteger(aggregateVersion) || Number(aggregateVersion) < 1) {
    throw wrong("aggregateVersion");
  }
  const moment = new Date(isText(occurredAt) ? occurredAt : Number.NaN);
  if (Number.isNaN(moment.getTime())) throw wrong("occurredAt");
  if (correlationId !== null && !isText(correlationId)) throw wrong("correlationId");
  if (!isRecord(data)) throw wrong("data");
  return {
    // As PostgreSQL gives it back.
    id: id.toLowerCase(),
    ...{ type, action, aggregateId, aggregateVersion: Number(aggregateVersion) },
    ...{ occurredAt: moment, correlationId, data },
  };
}
