import { defineContract } from "../../lib/contract/define";
import { id, integer, object, optional, text } from "../../lib/contract/rules";
import { defineError } from "../../lib/errors";
import { listParams, pageOf } from "../../lib/list";

export const AvailableEventNotFound = defineError(
  "AVAILABLE_EVENT_NOT_FOUND",
  404,
  "Available event not found",
  () => "The catalogue has no such event type.",
);
export const AvailableEventNameTaken = defineError(
  "AVAILABLE_EVENT_NAME_TAKEN",
  409,
  "Name taken",
  () => "The catalogue has an event type of this name already.",
);

const fields = {
  name: text({ minLength: 1, maxLength: 100 }),
  category: text({ minLength: 1, maxLength: 50 }),
  description: text({ maxLength: 10_000, multiline: true }),
  defaultCapacity: integer({ min: 1, max: 1_000_000 }),
  defaultDurationMinutes: integer({ min: 1, max: 525_600 }),
};

export const availableEventShape = object({ id: id(), ...fields }, "AvailableEvent");

const listOptions = {
  ...listParams(["name", "category", "createdAt"]),
  category: optional(text({ minLength: 1, maxLength: 50 })),
};

export const availableEvents = defineContract({
  name: "available-events",
  description: "The catalogue of event types that the platform offers.",
  actions: {
    $create: {
      summary: "Add an event type to the catalogue",
      params: fields,
      result: availableEventShape,
      errors: [AvailableEventNameTaken],
    },
    $update: {
      summary: "Change an event type",
      params: {
        id: id(),
        name: optional(fields.name),
        category: optional(fields.category),
        description: optional(fields.description),
        defaultCapacity: optional(fields.defaultCapacity),
        defaultDurationMinutes: optional(fields.defaultDurationMinutes),
      },
      result: availableEventShape,
      errors: [AvailableEventNotFound, AvailableEventNameTaken],
    },
    $delete: {
      summary: "Take an event type out of the catalogue; events of it stay",
      params: { id: id() },
      result: null,
      errors: [AvailableEventNotFound],
    },
    $find: {
      summary: "Find an event type",
      params: { id: id() },
      result: availableEventShape,
      errors: [AvailableEventNotFound],
    },
    $list: {
      summary: "List the catalogue",
      params: listOptions,
      result: pageOf(availableEventShape),
    },
    list: {
      summary: "List the catalogue of event types",
      params: listOptions,
      result: pageOf(availableEventShape),
      access: "public",
      rest: { method: "GET", path: "/available-events" },
    },
  },
  events: {},
});
