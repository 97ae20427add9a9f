/** Why a session ended; also a check constraint of the table. */
export const SESSION_END_REASONS = [
  "signed_out",
  "token_reused",
  "password_changed",
  "role_changed",
  "user_deleted",
] as const;
export type SessionEndReason = (typeof SESSION_END_REASONS)[number];
