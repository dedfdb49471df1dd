-- contract, compatible_from: 7
--
-- How many tasks there are: so that figures and the totals of lists need no count of rows. Code that does not keep the counts
-- must not write any more, which is why older code may not use this schema.

-- Nobody adds or takes away a task while they are counted for the first time.
LOCK TABLE task, task_history IN SHARE MODE;

-- The day of a UUIDv7, in days since the Unix epoch: which partition of the history it belongs to.
CREATE FUNCTION day_of(id uuid) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 86400000)::integer;

-- One row for each project and kind of task, changed in the very commit that changes the tasks. Those that have not ended are
-- counted by priority, those that have by their day, so that a day's counts go when its partition is dropped.
CREATE TABLE task_count (
    tasks bigint NOT NULL,
    -- 0 for tasks that have not ended.
    day integer NOT NULL,
    -- 0 for tasks that have ended.
    priority smallint NOT NULL,
    project text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('blocked', 'scheduled', 'ready', 'running', 'succeeded', 'failed', 'cancelled', 'skipped')
    ),
    PRIMARY KEY (project, state, priority, day)
) WITH (
    -- A row is rewritten by nearly every commit: there must be room for its versions on its page.
    fillfactor = 25,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

INSERT INTO task_count (tasks, day, priority, project, state)
SELECT count(*), 0, priority, project, state FROM task GROUP BY priority, project, state;
INSERT INTO task_count (tasks, day, priority, project, state)
SELECT count(*), day_of(id), 0, project, state FROM task_history GROUP BY day_of(id), project, state;
