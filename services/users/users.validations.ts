import { ROLES } from "../../lib/contract/define";
import { oneOf, text } from "../../lib/contract/rules";
import { EMAIL, MAX_EMAIL_CHARACTERS } from "../../lib/email";
import { isId } from "../../lib/ids";

/** bcrypt looks at the first 72 bytes alone. */
const MAX_PASSWORD_BYTES = 72;

export const name = text({ minLength: 1, maxLength: 100 });

export const username = text({
  minLength: 3,
  maxLength: 50,
  pattern: /^[A-Za-z0-9_]*$/,
  hint: "may have letters, digits and underscores only",
});

/** Kept as written, compared without case. */
export const email = text({
  minLength: 3,
  maxLength: MAX_EMAIL_CHARACTERS,
  pattern: EMAIL,
  hint: "must be an email address",
  format: "email",
});

export const phone = text({
  maxLength: 16,
  pattern: /^\+[1-9]\d{6,14}$/,
  hint: "must be a phone number in E.164 form: +, country code, number",
});

export const role = oneOf(ROLES);

export const password = text({
  minLength: 8,
  maxLength: MAX_PASSWORD_BYTES,
  maxBytes: MAX_PASSWORD_BYTES,
  verbatim: true,
  format: "password",
  also: (value) =>
    /\p{L}/u.test(value) && /\d/.test(value)
      ? undefined
      : "must have at least one letter and one digit",
});

/** A password to compare with: whatever somebody typed, so that old rules never lock anybody out. */
export const givenPassword = text({
  minLength: 1,
  maxLength: 1000,
  verbatim: true,
  format: "password",
});

export const passwordHash = text({ minLength: 60, maxLength: 100, verbatim: true });

/** A user in a path: an id, or `me`. */
export const pathUserId = text({
  maxLength: 36,
  also: (value) => (value === "me" || isId(value) ? undefined : "must be a UUID or «me»"),
  normalize: (value) => value.toLowerCase(),
});
