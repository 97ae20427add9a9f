import { defineContract, LONG_WORK_MS, ROLES } from "../../lib/contract/define";
import { happening } from "../../lib/contract/outbox-event";
import {
  boolean,
  described,
  id,
  instant,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
} from "../../lib/contract/rules";
import { defineError } from "../../lib/errors";
import { listParams, pageOf } from "../../lib/list";
import { email, name, passwordHash, pathUserId, phone, role, username } from "./users.validations";

export const UserNotFound = defineError(
  "USER_NOT_FOUND",
  404,
  "User not found",
  () => "There is no such user.",
);
export const EmailTaken = defineError(
  "EMAIL_TAKEN",
  409,
  "Email taken",
  () => "Another account has this email address.",
);
export const UsernameTaken = defineError(
  "USERNAME_TAKEN",
  409,
  "Username taken",
  () => "Another account has this username.",
);
export const LastAdministrator = defineError(
  "LAST_ADMINISTRATOR",
  409,
  "Last administrator",
  () => "Nobody else is an administrator; make somebody one first.",
);

export const userShape = object(
  {
    id: id(),
    name,
    username: nullable(text({ maxLength: 50 })),
    email: text({ maxLength: 254, format: "email" }),
    phone: nullable(phone),
    role,
    emailVerified: boolean(),
    createdAt: instant(),
    updatedAt: instant(),
  },
  "User",
);

export const publicUserShape = object(
  { id: id(), name, username: nullable(text({ maxLength: 50 })), role },
  "PublicUser",
);

/** Own and administrators' answers have all fields, others' the public ones. */
const userView = object(
  {
    ...publicUserShape.props,
    email: optional(userShape.props.email),
    phone: optional(userShape.props.phone),
    emailVerified: optional(userShape.props.emailVerified),
    createdAt: optional(userShape.props.createdAt),
    updatedAt: optional(userShape.props.updatedAt),
  },
  "UserView",
);

const listOptions = {
  ...listParams(["createdAt", "name", "date"]),
  role: optional(oneOf(ROLES)),
  q: described(optional(text({ maxLength: 100 })), "Part of the name or username."),
};

const onHost = {
  params: { id: pathUserId },
  result: null,
  access: "signedIn",
  errors: [UserNotFound],
} as const;

const changes = {
  name: optional(name),
  email: optional(email),
  username: optional(nullable(username)),
  phone: optional(nullable(phone)),
  role: described(optional(oneOf(ROLES)), "Administrators only."),
};

/** Users of whom it can be asked at once whether they are hosts. */
export const MOST_HOSTS_AT_ONCE = 1_000;

export const users = defineContract({
  name: "users",
  description: "People: hosts, attendees, administrators.",
  actions: {
    $create: {
      summary: "Create a user",
      params: { name, email, username: optional(nullable(username)), role, passwordHash },
      result: userShape,
      errors: [EmailTaken, UsernameTaken],
    },
    $update: {
      summary: "Change a user's fields",
      params: { id: id(), ...changes },
      result: userShape,
      errors: [UserNotFound, EmailTaken, UsernameTaken, LastAdministrator],
    },
    $delete: {
      summary:
        "Erase a user: cancel what they host and have booked, end their sessions, forget who they were",
      timeoutMs: LONG_WORK_MS,
      params: { id: id() },
      result: null,
      // Of somebody who is erased already, too, but only when nothing of theirs is left.
      errors: [UserNotFound, LastAdministrator],
    },
    $find: {
      summary: "Find a user by id",
      params: { id: id() },
      result: userShape,
      errors: [UserNotFound],
    },
    $list: {
      summary: "List users",
      params: { ...listOptions, rolesShown: optional(oneOf(["hosts", "all"])) },
      result: pageOf(userShape),
    },
    $listHosts: {
      summary: "Who of some users is a host",
      params: { ids: list(id(), { max: MOST_HOSTS_AT_ONCE }) },
      result: object({ ids: list(id()) }),
    },
    $findCredentials: {
      summary: "Find who signs in by an email address or username, with the password's hash",
      params: { usernameOrEmail: text({ minLength: 1, maxLength: 254 }) },
      result: nullable(object({ id: id(), passwordHash: text({ maxLength: 100 }) })),
    },
    $findPasswordHash: {
      summary: "The hash of a user's password",
      params: { id: id() },
      result: object({ passwordHash: text({ maxLength: 100 }) }),
      errors: [UserNotFound],
    },
    $setPasswordHash: {
      summary: "Set the hash of a user's password, if it is still the one the caller knows",
      params: {
        id: id(),
        from: passwordHash,
        to: passwordHash,
        endSessionsExcept: described(optional(id()), "Given where the password is another one."),
      },
      result: object({ changed: boolean() }),
    },
    $ensureAdmin: {
      summary: "Create the first administrator unless an account with this address exists",
      params: { email, passwordHash },
      result: object({ outcome: oneOf(["created", "present", "address_of_another"]) }),
    },
    list: {
      summary: "List hosts; an administrator sees everybody",
      params: listOptions,
      result: pageOf(userView),
      access: "signedIn",
      rest: { method: "GET", path: "/users" },
    },
    find: {
      summary: "One user; «me» is the caller",
      params: { id: pathUserId },
      result: userView,
      access: "signedIn",
      rest: { method: "GET", path: "/users/:id", missing: { id: UserNotFound } },
      errors: [UserNotFound],
    },
    update: {
      summary: "Change one's own account",
      params: { id: pathUserId, ...changes },
      needsChange: true,
      result: userShape,
      access: "signedIn",
      rest: {
        method: "PATCH",
        alsoMethod: "PUT",
        path: "/users/:id",
        missing: { id: UserNotFound },
      },
      errors: [UserNotFound, EmailTaken, UsernameTaken, LastAdministrator],
    },
    delete: {
      summary:
        "Delete an account: hosted events and bookings are cancelled, personal data is erased",
      timeoutMs: LONG_WORK_MS,
      params: { id: pathUserId },
      result: null,
      access: "signedIn",
      rest: { method: "DELETE", path: "/users/:id", missing: { id: UserNotFound } },
      errors: [UserNotFound, LastAdministrator],
    },
    follow: {
      summary: "Follow a host: be told of their new events",
      ...onHost,
      rest: { method: "POST", path: "/users/:id/follow", missing: { id: UserNotFound } },
    },
    unfollow: {
      summary: "Follow a host no more, also when not following",
      ...onHost,
      rest: { method: "DELETE", path: "/users/:id/follow", missing: { id: UserNotFound } },
    },
    listFollowing: {
      summary: "The hosts that one follows, newest first",
      params: listParams(["createdAt", "date"]),
      result: pageOf(publicUserShape),
      access: "signedIn",
      rest: { method: "GET", path: "/users/me/following" },
    },
    listFollowers: {
      summary: "Who follows a host, newest first: for that host and administrators",
      params: { id: pathUserId, ...listParams(["createdAt", "date"]) },
      result: pageOf(publicUserShape),
      access: { roles: ["host", "admin"] },
      rest: { method: "GET", path: "/users/:id/followers", missing: { id: UserNotFound } },
      errors: [UserNotFound],
    },
  },
  consumes: ["users.erased"],
  events: {
    "users.erased": {
      summary: "A person was erased; what came in while that was done is still to be cleared away",
      payload: object({ ...happening, userId: id() }),
    },
  },
});
