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

-- count_jobs: jobs that are not deleted
SELECT count(*) FROM job WHERE project = $1 AND state <> 'deleted'

-- count_live_runs: runs that have not ended
SELECT count(*) FROM run WHERE project = $1

-- clock: PostgreSQL's time
SELECT clock_timestamp()

-- answer: what the first request with a key was answered, if it was made in so many microseconds ($3)
-- By PostgreSQL's clock, as the commit that takes an older key over goes by it: a key that only one of the two takes for run out
-- would fail the commit.
SELECT digest, ids, created_at
FROM idempotency
WHERE project = $1 AND key = $2 AND created_at > clock_timestamp() - $3::bigint * interval '1 microsecond'
