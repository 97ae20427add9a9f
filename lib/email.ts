/** The longest address that SMTP can carry (RFC 5321), in characters. */
export const MAX_EMAIL_CHARACTERS = 254;

/** Deliberately loose: whether an address works only a mail to it can tell. */
export const EMAIL =
  /^[^\s@<>()[\]\\,;:"]{1,64}@[^\s@<>()[\]\\,;:"_.-][^\s@<>()[\]\\,;:"_]*\.[^\s@<>()[\]\\,;:"_.]{2,}$/;
