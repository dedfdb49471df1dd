-- expand, compatible_from: 1
--
-- What ended, by minute: so that figures over time need no scan of the history, and outlive it.

-- One row for each project and minute in which a task of it ended, added to in the very commit that records the ends.
CREATE TABLE rollup (
    minute_at timestamptz NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    skipped bigint NOT NULL,
    -- Those whose last attempt ran, and how long those attempts took together.
    timed bigint NOT NULL,
    run_time_us bigint NOT NULL,
    project text NOT NULL,
    PRIMARY KEY (project, minute_at)
) WITH (
    -- A row is rewritten by every commit of its minute: there must be room for its versions on its page.
    fillfactor = 50
);
-- Retention. Rows arrive in this order, so a summary of each page range is enough.
CREATE INDEX rollup_by_minute ON rollup USING brin (minute_at);
