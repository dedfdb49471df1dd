-- live_tasks: every task that has not ended, oldest first
-- `$1 >= 0`, here and below: there is no index by shard, and who asks for no shard, to have the statements known, must not read
-- the tables to find nothing. PostgreSQL looks at such a condition once, before it looks at any row.
SELECT id, run_id, position, project, name, state, trigger_rule, depends_on, spec, attempt, failed_attempts, lost_attempts, outcome,
       exit_code, error, traceparent, created_at, updated_at, due_at, started_at, worker_id, worker_address
FROM task
WHERE shard = $1 AND $1 >= 0
ORDER BY id

-- live_runs: every run that has not ended, with the version of its job that it is pinned to
SELECT run.id, run.job_id, run.job_version, run.due_at, run.created_at, run.started_at, run.cancelled, run.project, run.state, run.trigger,
       run.redrive_of
FROM run
WHERE shard = $1 AND $1 >= 0
ORDER BY run.id

-- job_versions: the specs of the versions that live runs are pinned to
SELECT DISTINCT job_version.job_id, job_version.version, job_version.spec
FROM run
JOIN job_version ON job_version.job_id = run.job_id AND job_version.version = run.job_version
WHERE run.shard = $1 AND $1 >= 0

-- ended_tasks_of_live_runs: how the tasks of live runs ended that have, as counters over dependencies follow from it
SELECT task_history.id, task_history.run_id, task_history.position, task_history.state, task_history.attempt
FROM run
JOIN task_history ON task_history.run_id = run.id
WHERE run.shard = $1 AND $1 >= 0

-- jobs_of_live_work: jobs that must be in memory from the start: those with live runs, and those in which runs wait
SELECT job.id, job.project, job.state, job.version, job.created_at, job.updated_at, job.next_due_at, job.fires_at, job.waiting_runs,
       job_version.spec
FROM job
JOIN job_version ON job_version.job_id = job.id AND job_version.version = job.version
WHERE job.shard = $1 AND $1 >= 0
  AND (job.waiting_runs IS NOT NULL OR job.id IN (SELECT run.job_id FROM run WHERE run.shard = $1))

-- open_lease_batches: leases that may still be held, in the order they were given
SELECT first_token, leased_at, project, worker_id, task_ids, attempts
FROM lease_batch
WHERE shard = $1 AND $1 >= 0
ORDER BY first_token

-- dependency_states: how the dependencies of live tasks on their own ended that are not live
SELECT id, state
FROM task_history
WHERE id = ANY ($1::uuid[])

-- checkpoints_of_live_tasks: the last saved progress of tasks that will run again
SELECT checkpoint.task_id, checkpoint.checkpoint
FROM task
JOIN checkpoint ON checkpoint.task_id = task.id
WHERE task.shard = $1 AND $1 >= 0 AND task.attempt > 0

-- workers: those that were not known to be gone, and executors among them
SELECT project, id, is_executor, hostname, version, capacity, queues, labels, kinds, functions, tags, registered_at,
       last_heartbeat_at, cpu, memory, disk
FROM worker
WHERE shard = $1 AND $1 >= 0 AND NOT offline

-- retried_tasks: live tasks because of which others have failed: somebody retried them, or they live again by another way
SELECT DISTINCT task.id
FROM failed_dependent
JOIN task ON task.id = failed_dependent.parent_id
WHERE task.shard = $1 AND $1 >= 0

-- webhooks: every subscription
SELECT id, project, url, description, events, secret, enabled, disabled_reason, generation, created_at, updated_at
FROM webhook
WHERE shard = $1 AND $1 >= 0
ORDER BY id
