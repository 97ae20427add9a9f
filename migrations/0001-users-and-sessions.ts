import type { Step } from "../lib/steps";

export const usersAndSessions: Step = {
  name: "0001-users-and-sessions",
  up: [
    // A trusted extension, as unaccent: parts of names are looked for by their trigrams.
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    // An erased person keeps a row without personal data: bookings, events and ended sessions hang on it.
    `CREATE TABLE users (
       id uuid PRIMARY KEY,
       name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
       username text CHECK (username ~ '^[A-Za-z0-9_]{3,50}$'),
       email text CHECK (char_length(email) <= 254),
       phone text CHECK (char_length(phone) <= 16),
       role text NOT NULL CHECK (role IN ('attendee', 'host', 'admin')),
       email_verified boolean NOT NULL DEFAULT false,
       password_hash text,
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL,
       deleted_at timestamptz(3),
       CONSTRAINT users_live_or_erased CHECK (
         CASE WHEN deleted_at IS NULL THEN email IS NOT NULL AND password_hash IS NOT NULL
              ELSE email IS NULL AND username IS NULL AND phone IS NULL AND password_hash IS NULL END)
     )`,
    "CREATE UNIQUE INDEX users_email_unique ON users (lower(email))",
    "CREATE UNIQUE INDEX users_username_unique ON users (lower(username))",
    "CREATE INDEX users_by_created_at ON users (created_at, id) WHERE deleted_at IS NULL",
    "CREATE INDEX users_by_name ON users (lower(name), id) WHERE deleted_at IS NULL",
    "CREATE INDEX users_by_part_of_name ON users USING gin (name gin_trgm_ops, username gin_trgm_ops)",
    "CREATE INDEX users_by_role ON users (role, created_at, id) WHERE deleted_at IS NULL",
    `CREATE TABLE sessions (
       id uuid PRIMARY KEY,
       user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
       created_at timestamptz(3) NOT NULL,
       expires_at timestamptz(3) NOT NULL,
       ended_at timestamptz(3),
       end_reason text CHECK (end_reason IN ('signed_out', 'token_reused', 'password_changed', 'role_changed', 'user_deleted')),
       CHECK ((ended_at IS NULL) = (end_reason IS NULL))
     )`,
    "CREATE INDEX sessions_live_by_user ON sessions (user_id) WHERE ended_at IS NULL",
    "CREATE INDEX sessions_by_ended_at ON sessions (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX sessions_by_expires_at ON sessions (expires_at)",
    // Spent tokens stay for 30 days after their use, at most as long as their session, so that a second use
    // is known for what it is; after that they are unknown, and refused without ending the session.
    `CREATE TABLE refresh_tokens (
       token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
       session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
       created_at timestamptz(3) NOT NULL,
       used_at timestamptz(3)
     )`,
    "CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id)",
    "CREATE INDEX refresh_tokens_by_used_at ON refresh_tokens (used_at) WHERE used_at IS NOT NULL",
  ],
  down: ["DROP TABLE refresh_tokens", "DROP TABLE sessions", "DROP TABLE users"],
};
