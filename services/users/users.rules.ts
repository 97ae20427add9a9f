import type { Caller, Role } from "../../lib/contract/define";
import type { ValueOf } from "../../lib/contract/rules";
import { Forbidden, ValidationFailed } from "../../lib/errors";
import { LastAdministrator, type publicUserShape, type userShape } from "./users.contract";

type User = ValueOf<typeof userShape>;
type PublicUser = ValueOf<typeof publicUserShape>;

/** The user that a path names: `me` is the caller. */
export const namedUser = (id: string, caller: Caller): string => (id === "me" ? caller.id : id);

/** Whether the caller may see and change everything of this user. */
export const isOwnOrAdmin = (id: string, caller: Caller): boolean =>
  caller.id === id || caller.role === "admin";

/** What everybody signed in may see of a user. */
export const publicView = ({ id, name, username, role }: PublicUser): PublicUser => ({
  id,
  name,
  username,
  role,
});

/** The user as this caller may see it. */
export const viewFor = (user: User, caller: Caller) =>
  isOwnOrAdmin(user.id, caller) ? user : publicView(user);

/** @throws ValidationFailed when a role is set by somebody who is no administrator */
export function checkChanges(changes: { role?: Role }, caller: Caller): void {
  if (changes.role !== undefined && caller.role !== "admin") {
    throw new ValidationFailed({
      errors: [{ field: "role", message: "can be changed by an administrator only" }],
    });
  }
}

/** @throws Forbidden unless it is the caller's own account or the caller is an administrator */
export function checkMayChange(id: string, caller: Caller): void {
  if (!isOwnOrAdmin(id, caller)) throw new Forbidden({});
}

/**
 * @param administrators ids of all there are
 * @throws LastAdministrator where this one is all of them
 */
export function checkMayStepDown(id: string, administrators: readonly string[]): void {
  if (administrators.length === 1 && administrators[0] === id) throw new LastAdministrator({});
}
