-- expand, compatible_from: 1
--
-- API keys: written by any replica, not through the leader, for no decision of the engine depends on them.

CREATE TABLE api_key (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    requests_per_minute integer NOT NULL CHECK (requests_per_minute >= 0),
    -- SHA-256 of the secret. A plain hash is enough: the secret is 256 bits of randomness, which nobody can try through.
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    -- '*' stands for every project.
    project text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'worker')),
    name text NOT NULL,
    -- The beginning of the secret, by which people tell keys apart.
    hint text NOT NULL
);

-- Lists of a project's keys, newest first; the primary key serves those of every project.
CREATE INDEX api_key_by_project ON api_key (project, id);
