-- list: a page of workers, in the order of their names: those that serve all projects, and a project's own executors
SELECT
    project, id, hostname, version, queues, labels, tags, capacity, is_executor, registered_at, last_heartbeat_at, cpu, memory,
    disk, tasks_completed, tasks_failed, current_tasks, offline
FROM worker
WHERE project IN ('', $1)
    AND ($2::boolean IS NULL OR offline = $2)
    AND ($3::boolean IS NULL OR (current_tasks > 0) = $3)
ORDER BY id, project
LIMIT $4 OFFSET $5

-- count: how many that are
SELECT count(*) FROM worker
WHERE project IN ('', $1)
    AND ($2::boolean IS NULL OR offline = $2)
    AND ($3::boolean IS NULL OR (current_tasks > 0) = $3)

-- get: one worker; a project's executor comes before a worker of the same name
SELECT
    project, id, hostname, version, queues, labels, tags, capacity, is_executor, registered_at, last_heartbeat_at, cpu, memory,
    disk, tasks_completed, tasks_failed, current_tasks, offline
FROM worker
WHERE id = $2 AND project IN ('', $1)
ORDER BY project DESC
LIMIT 1

-- open_batches: lease batches of a worker of which something may still be held
SELECT task_ids, attempts FROM lease_batch WHERE worker_id = $1

-- live_attempts: what the rows of tasks say of their attempts
SELECT id, attempt, state FROM task WHERE id = ANY ($1::uuid[]) AND project = $2
