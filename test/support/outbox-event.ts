import type { OutboxEvent } from "../../lib/contract/outbox-event";
import { newId } from "../../lib/ids";

/** Something that happened to a booking that is nowhere else: for tests of the outbox itself. */
export const outboxEvent = (data: object = {}, id = newId()): OutboxEvent => ({
  id,
  type: "booking",
  action: "confirmed",
  aggregateId: newId(),
  aggregateVersion: 1,
  occurredAt: new Date(),
  correlationId: null,
  data,
});
