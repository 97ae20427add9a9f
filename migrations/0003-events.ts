import { forgetSeeder, type Step } from "../lib/steps";

export const events: Step = {
  name: "0003-events",
  up: [
    // A trusted extension: whoever may create objects in the database may create it. It stays on the way
    // down, because it may have been there before.
    "CREATE EXTENSION IF NOT EXISTS unaccent",
    // SET search_path: a dump is restored, and an index rebuilt, with an empty one.
    // unaccent() is only STABLE, because its dictionary could be edited; a generated column needs IMMUTABLE.
    // The marks of ASCII become spaces first: to the parser Rock/Pop would be a file, Top-10 a negative number
    // and node.js a host, and nobody would find their parts.
    `CREATE FUNCTION search_text(words text) RETURNS text
       LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
       AS $$ SELECT translate(unaccent('unaccent'::regdictionary, words),
                              '!"#$%&''()*+,-./:;<=>?@[\\]^_\`{|}~', repeat(' ', 32)) $$`,
    `CREATE FUNCTION search_words(words text) RETURNS tsvector
       LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
       AS $$ SELECT to_tsvector('simple'::regconfig, search_text(words)) $$`,
    // array_to_string() is only STABLE, because some element types print by settings; text does not.
    `CREATE FUNCTION search_tags(tags text[]) RETURNS text
       LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
       AS $$ SELECT array_to_string(tags, ' ') $$`,
    // A tag is looked for without case, in the database's own idea of case on both sides.
    `CREATE FUNCTION lower_tags(tags text[]) RETURNS text[]
       LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
       AS $$ SELECT ARRAY(SELECT lower(tag) FROM unnest(tags) AS tag) $$`,
    // What somebody typed as a query: every word must occur, the last one may be the beginning of a word. The
    // parser's own output is extended, so nothing that was typed can be an operator or a syntax error.
    `CREATE FUNCTION search_query(words text) RETURNS tsquery
       LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path FROM CURRENT
       AS $$ SELECT CASE WHEN plain = '' THEN ''::tsquery ELSE (plain || ':*')::tsquery END
               FROM (SELECT plainto_tsquery('simple'::regconfig, search_text(words))::text AS plain) parsed $$`,
    `CREATE TABLE events (
       id uuid PRIMARY KEY,
       host_id uuid NOT NULL REFERENCES users,
       available_event_id uuid REFERENCES available_events ON DELETE SET NULL,
       title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
       description text CHECK (char_length(description) <= 10000),
       location text CHECK (char_length(location) <= 300),
       latitude double precision CHECK (latitude BETWEEN -90 AND 90),
       longitude double precision CHECK (longitude BETWEEN -180 AND 180),
       start_date_time timestamptz(3) NOT NULL,
       end_date_time timestamptz(3) NOT NULL,
       time_zone text NOT NULL,
       capacity integer NOT NULL CHECK (capacity BETWEEN 1 AND 1000000),
       number_of_attendees integer NOT NULL DEFAULT 0,
       price integer NOT NULL CHECK (price BETWEEN 0 AND 100000000),
       currency text CHECK (currency ~ '^[A-Z]{3}$'),
       tags text[] NOT NULL CHECK (cardinality(tags) <= 20),
       status text NOT NULL CHECK (status IN ('draft', 'published', 'postponed', 'cancelled', 'completed')),
       sale_starts_at timestamptz(3),
       sale_ends_at timestamptz(3),
       attachment_url text,
       version integer NOT NULL DEFAULT 1,
       created_at timestamptz(3) NOT NULL,
       updated_at timestamptz(3) NOT NULL,
       deleted_at timestamptz(3),
       search tsvector GENERATED ALWAYS AS (
         setweight(search_words(title), 'A') || setweight(search_words(search_tags(tags)), 'B') ||
         setweight(search_words(coalesce(location, '')), 'C') ||
         setweight(search_words(coalesce(description, '')), 'D')) STORED,
       CONSTRAINT events_seats_within_capacity CHECK (number_of_attendees BETWEEN 0 AND capacity),
       CONSTRAINT events_end_after_start CHECK (end_date_time > start_date_time),
       CONSTRAINT events_sale_window CHECK (sale_ends_at > sale_starts_at),
       CONSTRAINT events_price_has_currency CHECK (price = 0 OR currency IS NOT NULL),
       CONSTRAINT events_whole_coordinates CHECK ((latitude IS NULL) = (longitude IS NULL))
     ) WITH (fillfactor = 70)`,
    // No index below may hold anything that a booking changes (the seat counter, or a condition on it):
    // with one, PostgreSQL could no longer update the event's row in place (HOT).
    "CREATE INDEX events_by_start ON events (start_date_time, id) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_created_at ON events (created_at, id) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_title ON events (lower(title), id) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_price ON events (price, id) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_end ON events (end_date_time) WHERE deleted_at IS NULL",
    // For what is running now; what is to come is found by its start.
    "CREATE INDEX events_by_time ON events USING gist (tstzrange(start_date_time, end_date_time)) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_host ON events (host_id, start_date_time, id)",
    "CREATE INDEX events_by_available_event ON events (available_event_id, start_date_time, id)",
    "CREATE INDEX events_by_status ON events (status, start_date_time, id) WHERE deleted_at IS NULL",
    "CREATE INDEX events_by_tag ON events USING gin (lower_tags(tags))",
    "CREATE INDEX events_by_word ON events USING gin (search)",
    "CREATE INDEX events_by_place ON events USING gist (point(longitude, latitude))",
  ],
  down: [
    "DROP TABLE events",
    forgetSeeder("0002-demo"),
    "DROP FUNCTION search_query(text)",
    "DROP FUNCTION lower_tags(text[])",
    "DROP FUNCTION search_tags(text[])",
    "DROP FUNCTION search_words(text)",
    "DROP FUNCTION search_text(text)",
  ],
};
