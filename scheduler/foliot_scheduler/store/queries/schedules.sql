-- due_jobs: the jobs whose schedule fires within a span of time, earliest first
-- Read through a cursor, a page at a time: many jobs fire at the same instant, and pages that each begin after the last row of
-- the one before would read them over and over. Only ids: most of these jobs are in the leader's memory already.
SELECT job.id
FROM job
WHERE job.shard = $1 AND job.fires_at >= $2 AND job.fires_at < $3
ORDER BY job.fires_at

-- jobs_by_id: jobs as they are now
SELECT job.id, job.project, job.state, job.version, job.created_at, job.updated_at, job.next_due_at, job.fires_at, job.waiting_runs,
       job_version.spec
FROM unnest($1::uuid[]) AS wanted (id)
JOIN job ON job.id = wanted.id
JOIN job_version ON job_version.job_id = job.id AND job_version.version = job.version
