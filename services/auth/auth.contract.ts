import { defineContract } from "../../lib/contract/define";
import {
  id,
  instant,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  text,
  withDefault,
} from "../../lib/contract/rules";
import { defineError, ServiceUnavailable, Unauthenticated } from "../../lib/errors";
import { EmailTaken, UsernameTaken, userShape } from "../users/users.contract";
import { email, givenPassword, name, password, username } from "../users/users.validations";
import { SESSION_END_REASONS } from "./auth.validations";

export const InvalidCredentials = defineError(
  "INVALID_CREDENTIALS",
  401,
  "Invalid credentials",
  () => "The account or the password is wrong.",
);

const signedIn = object(
  {
    user: userShape,
    token: text({ maxLength: 4096 }),
    refreshToken: text({ maxLength: 200 }),
    expiresIn: integer({ min: 1 }),
  },
  "SignedIn",
);

const accountName = optional(text({ minLength: 1, maxLength: 254 }));
const refreshToken = text({ minLength: 1, maxLength: 200, verbatim: true });

export const auth = defineContract({
  name: "auth",
  description: "Accounts and sessions.",
  actions: {
    $endSessions: {
      summary: "End a user's sessions, all of them or all but one",
      params: { userId: id(), reason: oneOf(SESSION_END_REASONS), exceptSessionId: optional(id()) },
      result: object({ sessionIds: list(id()) }),
    },
    $endedSessions: {
      summary: "Sessions ended since a moment whose access tokens may still be alive",
      params: { since: optional(instant()) },
      result: object({ sessionIds: list(id()), until: instant() }),
    },
    signUp: {
      summary: "Register and sign in",
      params: {
        name,
        email,
        password,
        role: withDefault(oneOf(["attendee", "host"]), "attendee"),
        username: optional(nullable(username)),
      },
      result: signedIn,
      access: "public",
      rest: {
        method: "POST",
        path: "/auth/register",
        status: 201,
        location: "/users/me",
        rateLimit: "auth",
      },
      errors: [EmailTaken, UsernameTaken, ServiceUnavailable],
    },
    signIn: {
      summary: "Sign in by email address or username",
      params: {
        email: accountName,
        username: accountName,
        usernameOrEmail: accountName,
        password: givenPassword,
      },
      result: signedIn,
      access: "public",
      rest: { method: "POST", path: "/auth/login", rateLimit: "authAccount" },
      errors: [InvalidCredentials, ServiceUnavailable],
    },
    me: {
      summary: "Who is signed in",
      params: {},
      result: userShape,
      access: "signedIn",
      rest: { method: "GET", path: "/auth/me" },
    },
    refresh: {
      summary: "Exchange a refresh token for new tokens; each works once",
      params: { refreshToken },
      result: signedIn,
      access: "public",
      rest: { method: "POST", path: "/auth/refresh", rateLimit: "auth" },
      errors: [Unauthenticated],
    },
    signOut: {
      summary: "End this session",
      params: {},
      result: null,
      access: "signedIn",
      rest: { method: "POST", path: "/auth/logout", rateLimit: "auth" },
    },
    changePassword: {
      summary: "Change one's password; other sessions end",
      params: { currentPassword: givenPassword, newPassword: password },
      result: null,
      access: "signedIn",
      rest: { method: "POST", path: "/auth/change-password", rateLimit: "auth" },
      errors: [InvalidCredentials, ServiceUnavailable],
    },
  },
  events: {},
});
