-- partitions_of: the partitions of a table, with their bounds as PostgreSQL writes them
SELECT partition.relname::text AS name, pg_get_expr(partition.relpartbound, partition.oid) AS bounds
FROM pg_inherits
JOIN pg_class AS partition ON partition.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = $1::text::regclass

-- limit_waiting: for the rest of the transaction, how long to wait for a lock, and how long one statement may take
SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)

-- lock_changes: lets one replica at a time add and drop partitions; ends with the transaction
-- A deposed leader may still be at it when the next one begins. The two keys are the lock's name: "foli" in ASCII, then "part".
SELECT pg_advisory_xact_lock(1718578281, 1885434484)

-- lock_for_attaching: keeps writers out of a table, and everybody out of its default partition, for the rest of the transaction
-- A statement that had begun before and sent a row of the new range to the default partition afterwards would fail, so writers
-- have to wait: attaching alone does not keep them out. First the parent, as all who use both lock them in this order.
LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE; LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE

-- count_strays: how many rows of a range have ended up in the default partition, counted up to a limit
SELECT count(*) FROM (SELECT FROM {table}_default WHERE {key} >= $1 AND {key} < $2 LIMIT $3) AS stray

-- create_partition: a table like its parent, indexes and checks included
CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)

-- move_strays: takes the rows of a range from the default partition, which may not hold any when the range gets its own
WITH stray AS (DELETE FROM {table}_default WHERE {key} >= $1 AND {key} < $2 RETURNING *)
INSERT INTO {partition} SELECT * FROM stray

-- attach_partition: gives a range of ids to a table
-- CREATE TABLE … PARTITION OF would do it in one step, but locks the parent against readers too.
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{lower}') TO ('{upper}')

-- earlier_clock: the earlier of a time and PostgreSQL's own, so that no clock that runs ahead makes us drop what is young
SELECT least($1::timestamptz, now())

-- is_waited_for: whether a live task on its own waits for one of a day
-- It reads every waiting task. Those in a run wait by their job's graph and have no depends_on.
SELECT EXISTS (
    SELECT
    FROM task
    CROSS JOIN LATERAL generate_series(1, octet_length(task.depends_on), 16) AS place
    WHERE task.state = 'blocked'
      AND task.depends_on IS NOT NULL
      AND substring(task.depends_on FROM place FOR 16) >= uuid_send($1::uuid)
      AND substring(task.depends_on FROM place FOR 16) < uuid_send($2::uuid)
)

-- lock_for_dropping: keeps everybody out of a table for the rest of the transaction, which dropping a partition does anyway
LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE

-- is_alive: whether something live was created on a day, or a live run from before it has tasks of that day
-- LATERAL and LIMIT hold the planner to one look into an index for each of those runs, of which there are few: it is asked while
-- everybody else is kept out.
SELECT
    EXISTS (SELECT FROM task WHERE task.id >= $1 AND task.id < $2)
    OR EXISTS (SELECT FROM run WHERE run.id >= $1 AND run.id < $2)
    OR EXISTS (
        SELECT
        FROM run
        CROSS JOIN LATERAL (
            SELECT 1
            FROM task_history
            WHERE task_history.run_id = run.id AND task_history.id >= $1 AND task_history.id < $2
            LIMIT 1
        ) AS ended
        WHERE run.id < $1
    )

-- drop_partition: forgets a day
DROP TABLE {partition}

-- forget_counts: and how many tasks it had; the default partition has none of a day that has its own
-- No commit holds these rows: it would have a lock on the table that was locked for dropping.
DELETE FROM task_count WHERE day = $1 AND state = ANY ('{succeeded,failed,cancelled,skipped}'::text[])

-- delete_task_history_default: ended tasks outside of the partitions, unless something live needs to know how they ended
-- SKIP LOCKED, here and below: the journal may be about to change such a row, and nobody who already holds rows may wait for it.
WITH old AS (
    SELECT ended.id
    FROM task_history_default AS ended
    WHERE ended.id < $1
      AND ended.ended_at < $2
      AND NOT EXISTS (SELECT FROM run WHERE run.id = ended.run_id)
      AND NOT EXISTS (
          SELECT
          FROM task
          CROSS JOIN LATERAL generate_series(1, octet_length(task.depends_on), 16) AS place
          WHERE task.state = 'blocked'
            AND task.depends_on IS NOT NULL
            AND encode(substring(task.depends_on FROM place FOR 16), 'hex')::uuid = ended.id
      )
    ORDER BY ended.id
    LIMIT $3
    FOR UPDATE OF ended SKIP LOCKED
),
gone AS (
    DELETE FROM task_history_default AS ended USING old WHERE ended.id = old.id RETURNING ended.id, ended.project, ended.state
),
counted AS (SELECT project, state, day_of(id) AS day, count(*) AS tasks FROM gone GROUP BY 1, 2, 3),
-- In the order in which commits take them (commit.sql, add_count).
taken AS MATERIALIZED (
    SELECT task_count.project, task_count.state, task_count.priority, task_count.day, counted.tasks
    FROM task_count
    JOIN counted ON counted.project = task_count.project AND counted.state = task_count.state AND counted.day = task_count.day
    WHERE task_count.priority = 0
    ORDER BY task_count.project, task_count.state, task_count.priority, task_count.day
    FOR UPDATE OF task_count
),
less AS (
    UPDATE task_count
    SET tasks = task_count.tasks - taken.tasks
    FROM taken
    WHERE task_count.project = taken.project
      AND task_count.state = taken.state
      AND task_count.priority = taken.priority
      AND task_count.day = taken.day
)
SELECT count(*) FROM gone

-- delete_run_history_default: ended runs outside of the partitions
WITH old AS (
    SELECT ended.id
    FROM run_history_default AS ended
    WHERE ended.id < $1 AND ended.ended_at < $2
    ORDER BY ended.id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM run_history_default USING old WHERE run_history_default.id = old.id RETURNING 1)
SELECT count(*) FROM gone

-- delete_attempt_default: attempts of ended tasks outside of the partitions
WITH old AS (
    SELECT ended.task_id, ended.number
    FROM attempt_default AS ended
    WHERE ended.task_id < $1 AND ended.ended_at < $2 AND NOT EXISTS (SELECT FROM task WHERE task.id = ended.task_id)
    ORDER BY ended.task_id, ended.number
    LIMIT $3
    FOR UPDATE OF ended SKIP LOCKED
),
gone AS (
    DELETE FROM attempt_default
    USING old
    WHERE attempt_default.task_id = old.task_id AND attempt_default.number = old.number
    RETURNING 1
)
SELECT count(*) FROM gone

-- delete_task_log_default: log lines of ended tasks outside of the partitions
WITH old AS (
    SELECT line.task_id, line.attempt, line.number
    FROM task_log_default AS line
    WHERE line.task_id < $1 AND line.at < $2 AND NOT EXISTS (SELECT FROM task WHERE task.id = line.task_id)
    ORDER BY line.task_id, line.attempt, line.number
    LIMIT $3
    FOR UPDATE OF line SKIP LOCKED
),
gone AS (
    DELETE FROM task_log_default AS line
    USING old
    WHERE line.task_id = old.task_id AND line.attempt = old.attempt AND line.number = old.number
    RETURNING 1
)
SELECT count(*) FROM gone

-- delete_checkpoint_default: checkpoints of ended tasks outside of the partitions
WITH old AS (
    SELECT saved.task_id
    FROM checkpoint_default AS saved
    WHERE saved.task_id < $1 AND saved.saved_at < $2 AND NOT EXISTS (SELECT FROM task WHERE task.id = saved.task_id)
    ORDER BY saved.task_id
    LIMIT $3
    FOR UPDATE OF saved SKIP LOCKED
),
gone AS (DELETE FROM checkpoint_default USING old WHERE checkpoint_default.task_id = old.task_id RETURNING 1)
SELECT count(*) FROM gone

-- delete_fire: what became of due times long past; no schedule goes back to one that was decided
WITH old AS (
    SELECT fire.job_id, fire.due_at FROM fire WHERE fire.decided_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM fire USING old WHERE fire.job_id = old.job_id AND fire.due_at = old.due_at RETURNING 1)
SELECT count(*) FROM gone

-- delete_fire_span: the same of those that were skipped together
WITH old AS (
    SELECT span.job_id, span.since FROM fire_span AS span WHERE span.decided_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM fire_span AS span USING old WHERE span.job_id = old.job_id AND span.since = old.since RETURNING 1)
SELECT count(*) FROM gone

-- delete_audit_record: who changed what long ago
WITH old AS (SELECT record.project, record.id FROM audit_record AS record WHERE record.at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM audit_record AS record USING old WHERE record.project = old.project AND record.id = old.id RETURNING 1)
SELECT count(*) FROM gone

-- delete_idempotency: answers that have run out
-- A key that a commit takes over at this moment is left alone: FOR UPDATE compares the row's newest version.
WITH old AS (
    SELECT answer.project, answer.key
    FROM idempotency AS answer
    WHERE answer.created_at < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM idempotency AS answer
    USING old
    WHERE answer.project = old.project AND answer.key = old.key
    RETURNING 1
)
SELECT count(*) FROM gone

-- delete_job_version: what jobs were so long ago that no run of it is in the history any more
-- Of a deleted job all versions go, unless it has live runs: those need the job, too, and it is read with its latest version.
-- Otherwise a version goes that was followed by another before the time given, unless live runs are pinned to it.
WITH old AS (
    SELECT version.job_id, version.version
    FROM job_version AS version
    JOIN job ON job.id = version.job_id
    WHERE version.created_at < $1
      AND CASE
          WHEN job.state = 'deleted' THEN
              job.updated_at < $1 AND NOT EXISTS (SELECT FROM run WHERE run.job_id = version.job_id)
          ELSE
              EXISTS (
                  SELECT
                  FROM job_version AS later
                  WHERE later.job_id = version.job_id AND later.version > version.version AND later.created_at < $1
              )
              AND NOT EXISTS (
                  SELECT FROM run WHERE run.job_id = version.job_id AND run.job_version = version.version
              )
      END
    LIMIT $2
    FOR UPDATE OF version SKIP LOCKED
),
gone AS (
    DELETE FROM job_version
    USING old
    WHERE job_version.job_id = old.job_id AND job_version.version = old.version
    RETURNING 1
)
SELECT count(*) FROM gone

-- delete_job: deleted jobs whose versions are gone
WITH old AS (
    SELECT job.id
    FROM job
    WHERE job.state = 'deleted'
      AND job.updated_at < $1
      AND NOT EXISTS (SELECT FROM job_version WHERE job_version.job_id = job.id)
      AND NOT EXISTS (SELECT FROM run WHERE run.job_id = job.id)
    LIMIT $2
    FOR UPDATE OF job SKIP LOCKED
),
gone AS (DELETE FROM job USING old WHERE job.id = old.id RETURNING 1)
SELECT count(*) FROM gone

-- delete_worker: workers that left long ago
WITH old AS (
    SELECT worker.project, worker.id
    FROM worker
    WHERE worker.offline AND worker.last_heartbeat_at < $1
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM worker
    USING old
    WHERE worker.project = old.project AND worker.id = old.id
    RETURNING 1
)
SELECT count(*) FROM gone

-- delete_api_key: keys that were revoked, or ran out, long ago; a secret that nobody knows any more is refused as they were
WITH old AS (
    SELECT key.id FROM api_key AS key WHERE least(key.revoked_at, key.expires_at) < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM api_key USING old WHERE api_key.id = old.id RETURNING 1)
SELECT count(*) FROM gone

-- delete_rollup: what ended by minute, of long ago
WITH old AS (
    SELECT rollup.project, rollup.minute_at FROM rollup WHERE rollup.minute_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM rollup USING old WHERE rollup.project = old.project AND rollup.minute_at = old.minute_at RETURNING 1
)
SELECT count(*) FROM gone

-- delete_webhook_delivery_history: deliveries to webhooks that ended long ago; one that is queued again at this moment is left alone
WITH old AS (
    SELECT delivery.id FROM webhook_delivery_history AS delivery WHERE delivery.ended_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM webhook_delivery_history USING old WHERE webhook_delivery_history.id = old.id RETURNING 1)
SELECT count(*) FROM gone

-- delete_failed_dependent: notes of tasks whose day is over
WITH old AS (
    SELECT note.parent_id, note.child_id FROM failed_dependent AS note WHERE note.child_id < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM failed_dependent AS note
    USING old
    WHERE note.parent_id = old.parent_id AND note.child_id = old.child_id
    RETURNING 1
)
SELECT count(*) FROM gone
