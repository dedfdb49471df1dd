-- try_lock: lets one replica at a time change the schema, for as long as its session lives or it says; never waits
SELECT pg_try_advisory_lock($1, 0)

-- unlock: lets the next one
SELECT pg_advisory_unlock($1, 0)

-- create_versions: holds one row for each migration that was applied
CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    -- The oldest code, by its own schema version, that may use the database from here on.
    compatible_from integer NOT NULL,
    name text NOT NULL,
    applied_at timestamptz NOT NULL
)

-- has_versions: whether Foliot was ever installed here
SELECT to_regclass('schema_version') IS NOT NULL

-- current_version: the last migration that was applied, and the newest of what any of them asks for
SELECT max(version) AS version, max(compatible_from) AS compatible_from FROM schema_version HAVING count(*) > 0

-- add_version: records a migration
INSERT INTO schema_version (version, compatible_from, name, applied_at) VALUES ($1, $2, $3, clock_timestamp())

-- is_half_built: whether an index is there that no query uses, because building it was cut off
SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)

-- end_terms: ends the term of whoever leads, of every shard
UPDATE leadership SET epoch = epoch + 1, leader = '', address = ''
