-- expand, compatible_from: 10
--
-- Due times that were skipped together: one row for however many, told apart again by the schedule they came by.

CREATE TABLE fire_span (
    job_id uuid NOT NULL,
    -- The first of them, and when the last one has come: every due time of the schedule from the one to the other, both included.
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    -- What `@every` counts from.
    anchor timestamptz NOT NULL,
    decided_at timestamptz NOT NULL,
    -- The schedule as it was.
    cron text NOT NULL,
    timezone text NOT NULL,
    skip_reason text NOT NULL CHECK (skip_reason <> ''),
    PRIMARY KEY (job_id, since),
    CHECK (since <= until)
);
-- Retention. Rows arrive in this order, so a summary of each page range is enough.
CREATE INDEX fire_span_by_decision ON fire_span USING brin (decided_at);
