import type { Registry } from "./define";

/** Which services hear of an event by their channels, for every event there is; undefined for one that is not known. */
export type Consumers = (event: string) => readonly string[] | undefined;

/** @throws Error where a service would hear of an event that there is not */
export function consumersIn(contracts: Registry): Consumers {
  const consumers = new Map<string, string[]>();
  for (const { events } of Object.values(contracts)) {
    for (const name of Object.keys(events)) consumers.set(name, []);
  }
  for (const { name: service, consumes = [] } of Object.values(contracts)) {
    for (const event of consumes) {
      const all = consumers.get(event);
      if (!all) throw new Error(`${service} would hear of ${event}, which there is not`);
      all.push(service);
    }
  }
  return (event) => consumers.get(event);
}

/** Every event there is, with the services that hear of it. */
export const hearersIn = (contracts: Registry): (readonly [event: string, readonly string[]])[] => {
  const consumers = consumersIn(contracts);
  return Object.values(contracts)
    .flatMap(({ events }) => Object.keys(events))
    .map((name) => [name, consumers(name) ?? []] as const);
};
