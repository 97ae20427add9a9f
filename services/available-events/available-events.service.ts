/**
 * available-events: the catalogue of event types that the platform offers. Owns the table available_events.
 *
 * Invariant: names are unique without case.
 */
import type { ServiceSchema } from "moleculer";
import type { Kernel } from "../../lib/kernel";
import { implement } from "../contracts";
import { availableEvents } from "./available-events.contract";
import { availableEventsStore } from "./available-events.store";

export default function availableEventsService({ clock, database }: Kernel): ServiceSchema {
  const store = availableEventsStore(database);

  return implement(availableEvents, {
    mixins: [store.mixin],
    actions: {
      $create: ({ params }) => store.create(params, clock.now()),
      $update: ({ params: { id, ...changes } }) => store.update(id, changes, clock.now()),
      $delete: ({ params }) => store.remove(params.id),
      $find: ({ params }) => store.find(params.id),
      $list: ({ params }) => store.list(params),
      list: ({ params, call }) => call("available-events.$list", params),
    },
  });
}
