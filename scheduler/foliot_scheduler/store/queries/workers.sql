-- list: a page of workers, in the order of their names: those that serve all projects, and a project's own workers and executors
SELECT
    project, id, hostname, version, queues, labels, tags, capacity, is_executor, registered_at, last_heartbeat_at, cpu, memory,
    disk, tasks_completed, tasks_failed, current_tasks, offline
FROM worker
WHERE project IN ('', $1)
    AND ($2::boolean IS NULL OR offline = $2)
    AND ($3::boolean IS NULL OR (current_tasks > 0) = $3)
    AND (is_executor OR NOT $4)
ORDER BY id, project
LIMIT $5 OFFSET $6

-- count: how many that are
SELECT count(*) FROM worker
WHERE project IN ('', $1)
    AND ($2::boolean IS NULL OR offline = $2)
    AND ($3::boolean IS NULL OR (current_tasks > 0) = $3)
    AND (is_executor OR NOT $4)

-- get: one worker; a project's own comes before one of the same name that serves all
SELECT
    project, id, hostname, version, queues, labels, tags, capacity, is_executor, registered_at, last_heartbeat_at, cpu, memory,
    disk, tasks_completed, tasks_failed, current_tasks, offline
FROM worker
WHERE id = $2 AND project IN ('', $1)
ORDER BY project DESC
LIMIT 1

-- open_batches: lease batches of workers of which something may still be held, oldest first
SELECT lease_batch.project, lease_batch.worker_id, lease_batch.task_ids, lease_batch.attempts
FROM lease_batch
JOIN unnest($1::text[], $2::text[]) AS holder (project, worker_id) USING (project, worker_id)
ORDER BY lease_batch.first_token

-- live_attempts: what the rows of tasks say of their attempts
SELECT id, name, attempt, state FROM task WHERE id = ANY ($1::uuid[]) AND project = $2
