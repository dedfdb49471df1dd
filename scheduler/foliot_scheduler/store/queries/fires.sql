-- page: what became of a job's due times, newest first
SELECT due_at, run_id, skip_reason, decided_at
FROM fire
WHERE {conditions}
ORDER BY due_at DESC
LIMIT {limit}

-- of_job: always there
job_id = {value}

-- skipped: due times that started no run
run_id IS NULL

-- before: due times earlier than where the last page ended
due_at < {value}

-- spans: what became of many due times at once ($1: of which job; $2: the first of them earlier than that), newest first
SELECT since, until, anchor, decided_at, cron, timezone, skip_reason
FROM fire_span
WHERE job_id = $1 AND since < $2
ORDER BY since DESC
LIMIT $3

-- schedule_of: what a job's schedule is, and what `@every` counts from
SELECT state, cron, timezone, created_at FROM job WHERE id = $1 AND project = $2
