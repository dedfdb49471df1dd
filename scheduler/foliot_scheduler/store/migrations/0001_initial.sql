-- expand, compatible_from: 1
--
-- The first schema. What holds everywhere:
--
-- * Ids are UUIDv7, so that they sort by creation; `id` orders lists and bounds partitions.
-- * States, kinds and outcomes are text, and each CHECK repeats an enum of foliot_scheduler.core (a test compares them).
-- * No foreign keys: one writer, fenced by `leadership`, keeps the references whole, and a check for each row would cost as
--   much as the row.
-- * Live tables hold unfinished work only and are all that a new leader reads. What has ended moves to a `…_history` table,
--   partitioned by day of creation (partitions.py), so that retention drops tables instead of deleting rows.
-- * Each index costs 0.5 to 1 µs a row on the hot path: every one below names the reads it is for.
-- * Columns of fixed width come first, widest first, so that no byte is lost to alignment.

-- Turns microseconds since the Unix epoch, in which commits write instants, into a timestamp. One expression, so that it is
-- merged into the statement that calls it; STABLE, as its addition is declared, or it would not be.
CREATE FUNCTION instant(micros bigint) RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN timestamptz '1970-01-01 00:00:00+00' + micros * interval '1 microsecond';

-- Who leads. The row is what fences: every commit of a leader locks it FOR SHARE and finds its own epoch there, or writes nothing.
CREATE TABLE leadership (
    epoch bigint NOT NULL,
    elected_at timestamptz NOT NULL,
    -- When the leader last proved its term: one that stays silent is replaced.
    renewed_at timestamptz NOT NULL,
    shard smallint PRIMARY KEY,
    leader text NOT NULL,
    address text NOT NULL
) WITH (fillfactor = 50);

-- Tasks that have not ended.
CREATE TABLE task (
    id uuid PRIMARY KEY,
    run_id uuid,
    job_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    due_at timestamptz,
    started_at timestamptz,
    -- Of the lease, once the row says `running`; until then the lease batch alone knows it.
    token bigint,
    position integer NOT NULL,
    attempt integer NOT NULL,
    failed_attempts integer NOT NULL,
    lost_attempts integer NOT NULL,
    exit_code integer,
    priority smallint NOT NULL CHECK (priority BETWEEN 1 AND 10),
    shard smallint NOT NULL DEFAULT 0,
    project text NOT NULL,
    state text NOT NULL CHECK (state IN ('blocked', 'scheduled', 'ready', 'running')),
    kind text NOT NULL CHECK (kind IN ('marker', 'command', 'http', 'binary', 'function')),
    trigger_rule text NOT NULL CHECK (
        trigger_rule IN ('all_success', 'all_done', 'one_success', 'one_failed', 'none_failed', 'always')
    ),
    queue text NOT NULL,
    name text NOT NULL,
    -- Its key in the run's job; empty for a task on its own.
    key text NOT NULL,
    worker_id text,
    -- How the latest ended attempt ended; null before the first, or when none ran.
    outcome text CHECK (outcome IN ('succeeded', 'failed', 'timed_out', 'non_retryable', 'cancelled', 'lost')),
    error text NOT NULL,
    traceparent text NOT NULL,
    tags text[],
    -- Of a task on its own: the 16 bytes of each id, one after the other. In a run the job's version says it.
    depends_on bytea,
    -- A serialized foliot.v1.TaskSpec.
    spec bytea NOT NULL
) WITH (
    -- Room on each page for the new version of a row whose unindexed columns change.
    fillfactor = 70,
    -- Rows live for milliseconds: clear away by count, not by share of the table, and do not pause.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0.5,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 0
);
-- Lists of a project by state, newest first; the four states merged are the list of all.
CREATE INDEX task_by_state ON task (project, state, id);
-- The tasks of a run, in the order of its job.
CREATE INDEX task_by_run ON task (run_id, position) WHERE run_id IS NOT NULL;

-- Tasks that have ended.
CREATE TABLE task_history (
    id uuid PRIMARY KEY,
    run_id uuid,
    job_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL,
    position integer NOT NULL,
    attempt integer NOT NULL,
    failed_attempts integer NOT NULL,
    lost_attempts integer NOT NULL,
    exit_code integer,
    priority smallint NOT NULL CHECK (priority BETWEEN 1 AND 10),
    project text NOT NULL,
    state text NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled', 'skipped')),
    kind text NOT NULL CHECK (kind IN ('marker', 'command', 'http', 'binary', 'function')),
    trigger_rule text NOT NULL CHECK (
        trigger_rule IN ('all_success', 'all_done', 'one_success', 'one_failed', 'none_failed', 'always')
    ),
    queue text NOT NULL,
    name text NOT NULL,
    key text NOT NULL,
    worker_id text,
    -- How the latest ended attempt ended; null before the first, or when none ran.
    outcome text CHECK (outcome IN ('succeeded', 'failed', 'timed_out', 'non_retryable', 'cancelled', 'lost')),
    error text NOT NULL,
    traceparent text NOT NULL,
    tags text[],
    depends_on bytea,
    spec bytea NOT NULL,
    output bytea NOT NULL,
    error_output bytea NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX task_history_by_state ON task_history (project, state, id);
-- Lists sorted by anything else: without these a page would cost a sort of the whole history.
CREATE INDEX task_history_by_update ON task_history (project, updated_at, id);
CREATE INDEX task_history_by_priority ON task_history (project, priority, id);
CREATE INDEX task_history_by_name ON task_history (project, name, id);
-- What ended since a time. Rows arrive in this order, so a summary of each page range is enough, and costs next to nothing.
CREATE INDEX task_history_by_end ON task_history USING brin (ended_at) WITH (pages_per_range = 32);
CREATE INDEX task_history_by_run ON task_history (run_id, position) WHERE run_id IS NOT NULL;
-- Lists by a tag, few of which hold many rows.
CREATE INDEX task_history_by_tag ON task_history USING gin (tags) WHERE tags IS NOT NULL;
-- For rows whose day has no partition (a task that ends after its day was dropped): nothing may ever fail for want of one.
CREATE TABLE task_history_default PARTITION OF task_history DEFAULT;

-- Ended attempts that were followed by another; the last one is told by the task's own row.
CREATE TABLE attempt (
    task_id uuid NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL,
    number integer NOT NULL,
    exit_code integer,
    outcome text NOT NULL CHECK (
        outcome IN ('succeeded', 'failed', 'timed_out', 'non_retryable', 'cancelled', 'lost')
    ),
    worker_id text NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (task_id, number)
) PARTITION BY RANGE (task_id);
CREATE TABLE attempt_default PARTITION OF attempt DEFAULT;

-- What tasks wrote, line by line. Written by any replica, unfenced: a line changes nothing.
CREATE TABLE task_log (
    task_id uuid NOT NULL,
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    attempt integer NOT NULL,
    level text NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    message text NOT NULL,
    PRIMARY KEY (task_id, attempt, number)
) PARTITION BY RANGE (task_id);
CREATE TABLE task_log_default PARTITION OF task_log DEFAULT;

-- The last saved progress of tasks, JSON text.
CREATE TABLE checkpoint (
    task_id uuid PRIMARY KEY,
    saved_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    checkpoint text NOT NULL
) PARTITION BY RANGE (task_id);
CREATE TABLE checkpoint_default PARTITION OF checkpoint DEFAULT;

-- Runs that have not ended.
CREATE TABLE run (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    job_version bigint NOT NULL,
    due_at timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    shard smallint NOT NULL DEFAULT 0,
    cancelled boolean NOT NULL,
    project text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running')),
    trigger text NOT NULL CHECK (trigger IN ('manual', 'schedule'))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
-- Lists of a project, of a job, and a job's latest run.
CREATE INDEX run_by_state ON run (project, state, id);
CREATE INDEX run_by_job ON run (job_id, state, id);

-- Runs that have ended.
CREATE TABLE run_history (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    job_version bigint NOT NULL,
    due_at timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL,
    cancelled boolean NOT NULL,
    project text NOT NULL,
    state text NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled')),
    trigger text NOT NULL CHECK (trigger IN ('manual', 'schedule')),
    -- How many of its tasks ended in each state: {"succeeded": 3}.
    counts jsonb NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX run_history_by_state ON run_history (project, state, id);
CREATE INDEX run_history_by_job ON run_history (job_id, state, id);
CREATE TABLE run_history_default PARTITION OF run_history DEFAULT;

-- Jobs, deleted ones included. What a job is stands in job_version, so that a fire, which changes next_due_at alone, does not
-- write the spec of a large DAG again.
CREATE TABLE job (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    -- The schedule's next due time, before jitter, and when the engine acts on it, after.
    next_due_at timestamptz,
    fires_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    shard smallint NOT NULL DEFAULT 0,
    project text NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'paused', 'deleted')),
    name text NOT NULL,
    surface text NOT NULL,
    cron text,
    timezone text,
    tags text[],
    -- Due times held back, µs since the epoch, oldest first.
    waiting_runs bigint[]
) WITH (fillfactor = 80);
-- Lists of a project.
CREATE INDEX job_by_project ON job (project, id) WHERE state <> 'deleted';
-- What is due next, read ahead by the leader.
CREATE INDEX job_by_fire ON job (shard, fires_at) WHERE fires_at IS NOT NULL;
-- Jobs that must be in memory whatever their schedule says, because runs wait in them.
CREATE INDEX job_with_waiting_runs ON job (shard) WHERE waiting_runs IS NOT NULL;

-- What a job was at each version: what runs are pinned to.
CREATE TABLE job_version (
    job_id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    -- A serialized foliot.v1.JobSpec.
    spec bytea NOT NULL,
    PRIMARY KEY (job_id, version)
);

-- What became of each due time, so that one yields exactly one run or one recorded skip.
CREATE TABLE fire (
    job_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    run_id uuid,
    decided_at timestamptz NOT NULL,
    skip_reason text NOT NULL,
    PRIMARY KEY (job_id, due_at),
    CHECK ((run_id IS NULL) = (skip_reason <> ''))
);
-- Retention. Rows arrive in this order, so a summary of each page range is enough.
CREATE INDEX fire_by_decision ON fire USING brin (decided_at);

-- Answers kept for repeated requests.
CREATE TABLE idempotency (
    created_at timestamptz NOT NULL,
    project text NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    -- Of what was created, 16 bytes each.
    ids bytea NOT NULL,
    PRIMARY KEY (project, key)
);
CREATE INDEX idempotency_by_creation ON idempotency USING brin (created_at);

-- Leases handed out together, one row for all of them; gone when the last has ended.
CREATE TABLE lease_batch (
    -- Lease i of the batch has token first_token + i.
    first_token bigint PRIMARY KEY,
    leased_at timestamptz NOT NULL,
    shard smallint NOT NULL DEFAULT 0,
    worker_id text NOT NULL,
    -- 16 bytes for each lease, and 4 (big-endian) for the number of its attempt.
    task_ids bytea NOT NULL,
    attempts bytea NOT NULL,
    CHECK (octet_length(task_ids) = 4 * octet_length(attempts))
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Workers, gone ones included.
CREATE TABLE worker (
    registered_at timestamptz NOT NULL,
    last_heartbeat_at timestamptz NOT NULL,
    tasks_completed bigint NOT NULL,
    tasks_failed bigint NOT NULL,
    cpu double precision,
    memory double precision,
    disk double precision,
    capacity integer NOT NULL,
    current_tasks integer NOT NULL,
    shard smallint NOT NULL DEFAULT 0,
    is_executor boolean NOT NULL,
    offline boolean NOT NULL,
    -- Of an executor; empty for a worker, which serves all.
    project text NOT NULL,
    id text NOT NULL,
    hostname text NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    tags text[],
    kinds text[] NOT NULL,
    functions text[] NOT NULL,
    labels jsonb NOT NULL,
    PRIMARY KEY (project, id)
) WITH (fillfactor = 70);
