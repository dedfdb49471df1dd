-- list: a page of tasks out of its branches
-- Each branch is one index in the list's order and has the page's limit itself: so no more than a page of each is read.
SELECT * FROM (
{branches}
) AS found
ORDER BY {order}
LIMIT {limit} OFFSET {offset}

-- branch: one of them
({columns} ORDER BY {order} LIMIT {limit} + {offset})

-- count: how many tasks a filter holds
SELECT coalesce(sum(branch.tasks), 0)::bigint AS total FROM (
{branches}
) AS branch

-- live_columns: what a list shows of a task that has not ended
SELECT
    id, project, run_id, job_id, key, position, name, priority, state, trigger_rule, depends_on, spec, attempt, failed_attempts,
    lost_attempts, outcome, exit_code, error, created_at, updated_at, due_at, started_at, NULL::timestamptz AS ended_at,
    worker_id, worker_address, traceparent
FROM task
WHERE {conditions}

-- ended_columns: what a list shows of a task that has
SELECT
    id, project, run_id, job_id, key, position, name, priority, state, trigger_rule, depends_on, spec, attempt, failed_attempts,
    lost_attempts, outcome, exit_code, error, created_at, updated_at, NULL::timestamptz AS due_at, started_at, ended_at,
    worker_id, worker_address, traceparent
FROM task_history
WHERE {conditions}

-- count_by_state: how many tasks a filter holds, by state and priority
SELECT branch.state, branch.priority, sum(branch.tasks)::bigint AS tasks FROM (
{branches}
) AS branch
GROUP BY branch.state, branch.priority
ORDER BY branch.state, branch.priority

-- live_count_by_state: those that have not ended
SELECT state, priority, count(*) AS tasks FROM task WHERE {conditions} GROUP BY state, priority

-- ended_count_by_state: those that have
SELECT state, priority, count(*) AS tasks FROM task_history WHERE {conditions} GROUP BY state, priority

-- live_count: how many of them have not ended
SELECT count(*) AS tasks FROM task WHERE {conditions}

-- ended_count: how many have
SELECT count(*) AS tasks FROM task_history WHERE {conditions}

-- of_project: always there, as nobody may see another project's tasks
project = {value}

-- in_state: one state, which the indexes begin with
state = {value}

-- in_states: any of some states
state = ANY ({value}::text[])

-- with_ids: those of some tasks that there are
id = ANY ({value}::uuid[])

-- from_id: what was made at a time or later
id >= {value}

-- below_id: what was made before a time, or before another
id < {value}

-- above_id: what was made after another
id > {value}

-- with_tag: tasks that carry a tag
tags @> ARRAY[{value}]::text[]

-- of_run: tasks of one run
run_id = {value}

-- of_worker: tasks whose latest attempt is, or was, on a worker
worker_id = {value}

-- of_queue: tasks of one queue
queue = {value}

-- standalone: tasks that belong to no run
run_id IS NULL

-- binary_on_its_own: what executors claim; word for word what the indexes of such tasks say, or they would not be used
kind = 'binary' AND run_id IS NULL

-- of_kind: tasks of one kind of work
kind = {value}

-- of_priority: tasks of one priority
priority = {value}

-- of_priorities: tasks of one of some priorities
priority = ANY ({value}::smallint[])

-- with_name: tasks of exactly this name
name = {value}

-- get: one task with what lists leave out
SELECT
    found.*, coalesce(checkpoint.checkpoint, '') AS checkpoint
FROM (
    SELECT
        id, project, run_id, job_id, key, position, name, priority, state, trigger_rule, depends_on, spec, attempt,
        failed_attempts, lost_attempts, outcome, exit_code, error, created_at, updated_at, due_at, started_at,
        NULL::timestamptz AS ended_at, worker_id, worker_address, traceparent, ''::bytea AS output, ''::bytea AS error_output
    FROM task
    WHERE id = $1 AND project = $2
    UNION ALL
    SELECT
        id, project, run_id, job_id, key, position, name, priority, state, trigger_rule, depends_on, spec, attempt,
        failed_attempts, lost_attempts, outcome, exit_code, error, created_at, updated_at, NULL::timestamptz, started_at,
        ended_at, worker_id, worker_address, traceparent, output, error_output
    FROM task_history
    WHERE id = $1 AND project = $2
) AS found
LEFT JOIN checkpoint ON checkpoint.task_id = $1

-- attempts: the ended attempts of a task that were followed by another, oldest first
SELECT number, worker_id, worker_address, started_at, ended_at, outcome, exit_code, error
FROM attempt
WHERE task_id = $1
ORDER BY number

-- states: where tasks of a project stand
SELECT id, state FROM task WHERE id = ANY ($1::uuid[]) AND project = $2
UNION ALL
SELECT id, state FROM task_history WHERE id = ANY ($1::uuid[]) AND project = $2

-- of_run_in_brief: the tasks of a run, in the order of its job
-- Tasks are made after their run, so days before it need not be looked at.
SELECT id, key, position, state, attempt, error, started_at, NULL::timestamptz AS ended_at, worker_id, exit_code, failed_attempts
FROM task
WHERE run_id = $1
UNION ALL
SELECT id, key, position, state, attempt, error, started_at, ended_at, worker_id, exit_code, failed_attempts
FROM task_history
WHERE run_id = $1 AND id > $1
ORDER BY position

-- of_runs_in_brief: the tasks of runs ($1, the oldest of which is $2), with how much they wrote: newest run first, in its job's order
SELECT
    run_id, id, key, position, state, attempt, error, started_at, NULL::timestamptz AS ended_at, worker_id, exit_code,
    failed_attempts, 0 AS output_bytes, 0 AS error_output_bytes
FROM task
WHERE run_id = ANY ($1::uuid[])
UNION ALL
SELECT
    run_id, id, key, position, state, attempt, error, started_at, ended_at, worker_id, exit_code, failed_attempts,
    octet_length(output) AS output_bytes, octet_length(error_output) AS error_output_bytes
FROM task_history
WHERE run_id = ANY ($1::uuid[]) AND id > $2
ORDER BY run_id DESC, position

-- outputs: the last $3 bytes of what ended tasks ($1, all later than $2) wrote, and the last $4 of what they wrote to standard error
SELECT
    id,
    substring(output FROM greatest(octet_length(output) - $3::integer + 1, 1)) AS output,
    substring(error_output FROM greatest(octet_length(error_output) - $4::integer + 1, 1)) AS error_output
FROM task_history
WHERE id = ANY ($1::uuid[]) AND id > $2

-- logs: a page of the lines of a task, oldest first
SELECT at, attempt, level, message, number
FROM task_log
WHERE task_id = $1 AND ($2::text IS NULL OR level = $2)
ORDER BY attempt, number
LIMIT $3 OFFSET $4

-- count_logs: how many lines that are
SELECT count(*) FROM task_log WHERE task_id = $1 AND ($2::text IS NULL OR level = $2)

-- live_attempts: what the rows of live tasks say of their attempts; of one project's if it is named
SELECT id, attempt FROM task WHERE id = ANY ($1::uuid[]) AND ($2::text IS NULL OR project = $2)

-- ended_attempts: what the rows of ended tasks say of theirs
SELECT id, attempt FROM task_history WHERE id = ANY ($1::uuid[]) AND ($2::text IS NULL OR project = $2)

-- insert_logs: keeps lines; one that is there already stays as it is
-- Followers write here too, unfenced: a line changes nothing.
INSERT INTO task_log (task_id, number, at, attempt, level, message)
SELECT new.task_id, new.number, new.at, new.attempt, new.level, new.message
FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::integer[], $5::text[], $6::text[])
    AS new (task_id, number, at, attempt, level, message)
ON CONFLICT (task_id, attempt, number) DO NOTHING
