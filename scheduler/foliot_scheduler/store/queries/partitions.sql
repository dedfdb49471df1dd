-- try_lock: lets one replica at a time keep house; false if another does
SELECT pg_try_advisory_lock($1, 0)

-- lock: as try_lock, but waits, and ends with the transaction
SELECT pg_advisory_xact_lock($1, 1)

-- unlock: lets others
SELECT pg_advisory_unlock($1, 0)

-- partitions: what partitions a table has, without its default one
SELECT child.relname AS name
FROM pg_inherits
JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = $1::text::regclass AND NOT child.relname LIKE '%\_default'
ORDER BY child.relname

-- create: makes a day's partition, apart from its table, so that nobody who reads or writes the table waits
CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)

-- fetch: takes rows of the day out of the default partition, where they must not be once the day has one of its own
WITH moved AS (DELETE FROM {table}_default WHERE {key} >= $1 AND {key} < $2 RETURNING *)
INSERT INTO {name} SELECT * FROM moved

-- attach: makes it part of the table, indexes included
ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({lowest}) TO ({highest})

-- referred: whether live work needs a day's history: tasks and runs of that day, and tasks that depend on tasks of that day
SELECT
    EXISTS (SELECT FROM task WHERE id >= $1 AND id < $2)
    OR EXISTS (SELECT FROM run WHERE id >= $1 AND id < $2)
    OR EXISTS (
        SELECT
        FROM task, generate_series(1, octet_length(task.depends_on), 16) AS start
        WHERE task.depends_on IS NOT NULL
            AND substring(task.depends_on FROM start FOR 16) >= uuid_send($1)
            AND substring(task.depends_on FROM start FOR 16) < uuid_send($2)
    )

-- drop: removes a day
DROP TABLE {name}

-- clear_default: removes a piece of what has no partition of its own and is too old
DELETE FROM {table}_default
WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}_default WHERE {time} < $1 LIMIT $2))

-- clear_fires: removes a piece of the decisions about due times of long ago
DELETE FROM fire WHERE ctid = ANY (ARRAY(SELECT ctid FROM fire WHERE decided_at < $1 LIMIT $2))

-- clear_answers: removes a piece of the answers that are kept no longer
DELETE FROM idempotency WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency WHERE created_at < $1 LIMIT $2))

-- clear_workers: removes a piece of the workers that have been gone for long
DELETE FROM worker
WHERE ctid = ANY (ARRAY(SELECT ctid FROM worker WHERE offline AND last_heartbeat_at < $1 LIMIT $2))

-- clear_deleted_jobs: removes a piece of the jobs that were deleted long ago and whose runs are gone
DELETE FROM job
WHERE id = ANY (ARRAY(
    SELECT job.id FROM job
    WHERE job.state = 'deleted' AND job.updated_at < $1
        AND NOT EXISTS (SELECT FROM run WHERE run.job_id = job.id)
        AND NOT EXISTS (SELECT FROM run_history WHERE run_history.job_id = job.id)
    LIMIT $2
))

-- clear_job_versions: removes a piece of what jobs were long ago, unless a run is pinned to it
DELETE FROM job_version
WHERE ctid = ANY (ARRAY(
    SELECT job_version.ctid FROM job_version
    LEFT JOIN job ON job.id = job_version.job_id
    WHERE job_version.created_at < $1 AND (job.id IS NULL OR job_version.version < job.version)
        AND NOT EXISTS (
            SELECT FROM run WHERE run.job_id = job_version.job_id AND run.job_version = job_version.version
        )
        AND NOT EXISTS (
            SELECT FROM run_history
            WHERE run_history.job_id = job_version.job_id AND run_history.job_version = job_version.version
        )
    LIMIT $2
))
