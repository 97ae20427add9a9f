import type { Caller } from "../../lib/contract/define";
import { Forbidden } from "../../lib/errors";
import { newId } from "../../lib/ids";
import { namedAccount } from "../../services/auth/auth.rules";
import { LastAdministrator } from "../../services/users/users.contract";
import {
  checkChanges,
  checkMayChange,
  checkMayStepDown,
  isOwnOrAdmin,
  namedUser,
  publicView,
  viewFor,
} from "../../services/users/users.rules";
import { faultsOf } from "../support/guarded";

const caller = (role: Caller["role"], id = newId()): Caller => ({ id, role, sessionId: newId() });
const user = {
  id: newId(),
  name: "Hanna",
  username: "hanna",
  email: "hanna@example.org",
  phone: "+4712345678",
  role: "host" as const,
  emailVerified: true,
  createdAt: "2030-01-01T00:00:00.000Z",
  updatedAt: "2030-01-01T00:00:00.000Z",
};
const PUBLIC_FIELDS = ["id", "name", "role", "username"];

const WHO: readonly [string, Caller, boolean][] = [
  ["themselves", caller("host", user.id), true],
  ["an administrator", caller("admin"), true],
  ["another host", caller("host"), false],
  ["an attendee", caller("attendee"), false],
];

/** What is thrown, or undefined where nothing is. */
function refusal(work: () => unknown): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}

test("«me» is whoever asks; an id is whoever it names", () => {
  const me = caller("attendee");
  expect(namedUser("me", me)).toBe(me.id);
  expect(namedUser(user.id, me)).toBe(user.id);
});

describe.each(WHO)("A user, for %s", (_name, who, all) => {
  test(all ? "has all fields" : "has the public fields", () => {
    expect(Object.keys(viewFor(user, who)).sort()).toEqual(
      all ? Object.keys(user).sort() : PUBLIC_FIELDS,
    );
    expect(isOwnOrAdmin(user.id, who)).toBe(all);
  });

  test(all ? "may be changed" : "may not be changed", () => {
    const outcome = refusal(() => checkMayChange(user.id, who));
    if (all) expect(outcome).toBeUndefined();
    else expect(outcome).toMatchObject({ type: Forbidden.code });
  });
});

test("the public view takes nothing along that a later version may add to users", () => {
  const grown = { ...user, passwordHash: "secret" };
  expect(Object.keys(publicView(grown)).sort()).toEqual(PUBLIC_FIELDS);
});

test("only an administrator sets a role, be it the one that the user has", () => {
  for (const role of ["attendee", "host", "admin"] as const) {
    expect(refusal(() => checkChanges({ role }, caller("admin")))).toBeUndefined();
    for (const who of [caller("host"), caller("attendee")]) {
      expect(faultsOf(refusal(() => checkChanges({ role }, who)))).toMatchObject([
        { field: "role" },
      ]);
    }
  }
  expect(refusal(() => checkChanges({}, caller("attendee")))).toBeUndefined();
});

test("whoever is the only administrator stays one, and nobody else", () => {
  const [ada, grace] = [newId(), newId()];
  expect(refusal(() => checkMayStepDown(ada, [ada]))).toMatchObject({
    type: LastAdministrator.code,
  });
  for (const administrators of [[ada, grace], [grace, ada], [grace], []]) {
    expect(refusal(() => checkMayStepDown(ada, administrators))).toBeUndefined();
  }
});

describe("The account that a sign-in names", () => {
  test.each([
    [{ email: "a@example.org" }, "a@example.org"],
    [{ username: "ada" }, "ada"],
    [{ usernameOrEmail: "ada" }, "ada"],
  ])("%j", (names, account) => {
    expect(namedAccount(names)).toBe(account);
  });

  test.each([
    {},
    { email: "a@example.org", username: "ada" },
    { email: "a@example.org", usernameOrEmail: "a@example.org" },
    { email: "a", username: "b", usernameOrEmail: "c" },
  ])("is named once, not as in %j", (names) => {
    expect(faultsOf(refusal(() => namedAccount(names)))).toMatchObject([
      { field: "usernameOrEmail" },
    ]);
  });
});
