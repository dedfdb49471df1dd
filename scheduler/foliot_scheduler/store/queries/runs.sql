-- list: a page of runs out of its branches, newest first
SELECT * FROM (
{branches}
) AS found
ORDER BY id DESC
LIMIT {limit} OFFSET {offset}

-- branch: one of them, an index in the list's order
({columns} ORDER BY id DESC LIMIT {limit} + {offset})

-- count: how many runs a filter holds
SELECT coalesce(sum(branch.runs), 0)::bigint AS total FROM (
{branches}
) AS branch

-- live_columns: what is shown of a run that has not ended
SELECT
    id, project, job_id, job_version, state, trigger, cancelled, due_at, created_at, started_at, NULL::timestamptz AS ended_at,
    NULL::jsonb AS counts, redrive_of, NULL::uuid AS redriven_by
FROM run
WHERE {conditions}

-- ended_columns: what is shown of a run that has
SELECT
    id, project, job_id, job_version, state, trigger, cancelled, due_at, created_at, started_at, ended_at, counts, redrive_of,
    redriven_by
FROM run_history
WHERE {conditions}

-- live_count: how many of them have not ended
SELECT count(*) AS runs FROM run WHERE {conditions}

-- ended_count: how many have
SELECT count(*) AS runs FROM run_history WHERE {conditions}

-- of_project: always there, as nobody may see another project's runs
project = {value}

-- of_job: runs of one job
job_id = {value}

-- in_state: one state, which the indexes begin with
state = {value}

-- dead: runs that failed for good and were not redriven
state = 'failed' AND redriven_by IS NULL

-- of_shape: runs of jobs of one form, with which the index of the dead letters goes on
shape = {value}

-- from_id: runs made at a time or later
id >= {value}

-- below_id: runs made before a time, or before another
id < {value}

-- get: one run
SELECT
    id, project, job_id, job_version, state, trigger, cancelled, due_at, created_at, started_at, NULL::timestamptz AS ended_at,
    NULL::jsonb AS counts, redrive_of, NULL::uuid AS redriven_by
FROM run
WHERE id = $1 AND project = $2
UNION ALL
SELECT
    id, project, job_id, job_version, state, trigger, cancelled, due_at, created_at, started_at, ended_at, counts, redrive_of,
    redriven_by
FROM run_history
WHERE id = $1 AND project = $2

-- count_tasks: how many tasks of live runs ($1, the first of which is $2) are in each state
SELECT run_id, state, sum(tasks)::integer AS tasks FROM (
    SELECT run_id, state, count(*) AS tasks FROM task WHERE run_id = ANY ($1::uuid[]) GROUP BY run_id, state
    UNION ALL
    SELECT run_id, state, count(*) AS tasks FROM task_history
    WHERE run_id = ANY ($1::uuid[]) AND id > $2
    GROUP BY run_id, state
) AS counted
GROUP BY run_id, state
