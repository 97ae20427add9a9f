import type { Call, Caller } from "../../lib/contract/define";
import { isError, ValidationFailed } from "../../lib/errors";
import { AvailableEventNotFound } from "../available-events/available-events.contract";
import type { Contracts } from "../contracts";
import { EventNotFound } from "./events.contract";
import { checkManages, type Event, isVisibleTo } from "./events.rules";
import { NOT_IN_CATALOGUE } from "./events.store";

/**
 * Looks an entry up before anything else is found wrong with a change. That it goes between now and then
 * shows as a foreign key that refuses.
 *
 * @throws ValidationFailed for one that the catalogue lacks
 */
export async function checkCatalogue(
  call: Call<Contracts>,
  id: string | null | undefined,
): Promise<void> {
  if (!id) return;
  try {
    await call("available-events.$find", { id });
  } catch (error) {
    if (!isError(error, AvailableEventNotFound)) throw error;
    throw new ValidationFailed({ errors: [NOT_IN_CATALOGUE] });
  }
}

/**
 * Loads an event that the caller may see.
 *
 * @throws EventNotFound also for a draft of somebody else
 */
export async function visibleEvent(
  call: Call<Contracts>,
  id: string,
  caller: Caller | null,
): Promise<Event> {
  const event = await call("events.$find", { id });
  if (!isVisibleTo(event, caller)) throw new EventNotFound({});
  return event;
}

/** @throws EventNotFound, Forbidden unless the caller manages it */
export async function checkManaged(
  call: Call<Contracts>,
  id: string,
  caller: Caller,
): Promise<void> {
  checkManages(await call("events.$find", { id }), caller);
}

/** Whose drafts a list may show. */
export const viewerOf = (caller: Caller | null) =>
  caller ? { viewerId: caller.id, viewerIsAdmin: caller.role === "admin" } : {};
