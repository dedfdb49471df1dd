-- expand, compatible_from: 1
--
-- Who is up. Written by any replica, unfenced: it decides nothing. All times are PostgreSQL's, so that no clock's skew matters.
CREATE TABLE component (
    seen_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('scheduler', 'gateway')),
    -- Of one process: another one has another name.
    name text NOT NULL,
    PRIMARY KEY (kind, name)
) WITH (fillfactor = 50);
