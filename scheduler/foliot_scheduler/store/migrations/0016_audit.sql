-- expand, compatible_from: 10
--
-- Who changed what: one row for each change that somebody asked for, written by the commit that makes it.

CREATE TABLE audit_record (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- How many things were made or changed; the ids of the first of them are in `ids`.
    touched integer NOT NULL,
    project text NOT NULL,
    -- The API key's id, or the token's subject; empty where nobody had to say who they are.
    actor text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'worker')),
    -- The RPC that was called: Service/Method.
    method text NOT NULL,
    request_id text NOT NULL,
    -- 16 bytes each.
    ids bytea NOT NULL,
    -- Lists of a project, newest first; those of every project merge them. One index, as each call of a busy caller adds a row.
    PRIMARY KEY (project, id)
);
-- Retention. Rows arrive in this order, so a summary of each page range is enough.
CREATE INDEX audit_record_by_time ON audit_record USING brin (at);
