-- now: the server's clock
SELECT clock_timestamp()

-- count_workers: how many workers are gone, busy, and idle
SELECT
    count(*) FILTER (WHERE NOT offline AND current_tasks > 0)::integer AS active,
    count(*) FILTER (WHERE NOT offline AND current_tasks = 0)::integer AS idle,
    count(*) FILTER (WHERE offline)::integer AS offline
FROM worker

-- count_connections: how many connections all replicas hold to this database
SELECT count(*)::integer FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'foliot%'

-- count_live: tasks that have not ended, by state
SELECT state, count(*) AS tasks FROM task WHERE project = $1 GROUP BY state ORDER BY state

-- count_ended_since: tasks that ended since a time ($2), by state; $3 is the lowest id that could have been made then
-- What was made since has ended since, and is counted in the index alone. What is older is few, and found by its time.
SELECT state, sum(tasks)::bigint AS tasks FROM (
    SELECT state, count(*) AS tasks FROM task_history
    WHERE project = $1 AND id >= $3 AND state = ANY ('{succeeded,failed,cancelled,skipped}')
    GROUP BY state
    UNION ALL
    SELECT state, count(*) AS tasks FROM task_history WHERE project = $1 AND id < $3 AND ended_at >= $2 GROUP BY state
) AS counted
GROUP BY state
ORDER BY state

-- count_waiting: ready tasks by priority, highest first
SELECT priority, count(*) AS tasks FROM task WHERE project = $1 AND state = 'ready' GROUP BY priority ORDER BY priority DESC

-- count_jobs: jobs that are not deleted
SELECT count(*) FROM job WHERE project = $1 AND state <> 'deleted'

-- count_live_runs: runs that have not ended
SELECT count(*) FROM run WHERE project = $1

-- answer: what the first request with a key was answered, if it was made since a time
SELECT digest, ids, created_at FROM idempotency WHERE project = $1 AND key = $2 AND created_at > $3
