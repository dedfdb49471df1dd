-- columns: a job with its current version
SELECT
    job.id, job.project, job.state, job.version, job.created_at, job.updated_at, job.next_due_at, job.fires_at,
    job.waiting_runs, job_version.spec
FROM job
JOIN job_version ON job_version.job_id = job.id AND job_version.version = job.version
WHERE {conditions}

-- head_columns: a job without its tasks; the whole spec only of a version that was written before heads were
SELECT
    job.id, job.project, job.state, job.version, job.created_at, job.updated_at, job.next_due_at, job.fires_at,
    job.waiting_runs, coalesce(job_version.head, job_version.spec) AS spec, CASE WHEN job_version.head IS NOT NULL THEN job.shape END AS shape,
    job_version.task_count
FROM job
JOIN job_version ON job_version.job_id = job.id AND job_version.version = job.version
WHERE {conditions}

-- spec_sizes: how many bytes the specs of versions have; without reading those that are stored beside their row
SELECT job_version.job_id, octet_length(job_version.spec) AS bytes
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (job_id, version)
JOIN job_version ON job_version.job_id = wanted.job_id AND job_version.version = wanted.version

-- specs: the specs of versions
SELECT job_version.job_id, job_version.spec
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (job_id, version)
JOIN job_version ON job_version.job_id = wanted.job_id AND job_version.version = wanted.version

-- page: a page of jobs, newest first
{columns}
ORDER BY job.id DESC
LIMIT {limit} OFFSET {offset}

-- count: how many jobs a filter holds
SELECT count(*) FROM job WHERE {conditions}

-- of_project: always there, as nobody may see another project's jobs
job.project = {value}

-- one: a job by its id
job.id = {value}

-- not_deleted: what lists hold unless told otherwise
job.state <> 'deleted'

-- in_state: jobs in one state
job.state = {value}

-- with_name: jobs of exactly this name
job.name = {value}

-- with_tag: jobs that carry a tag
job.tags @> ARRAY[{value}]::text[]

-- of_surface: jobs made for one API
job.surface = {value}

-- of_shape: jobs of one form
job.shape = {value}

-- exhausted: jobs whose schedule has no due time left
(job.cron IS NOT NULL AND job.next_due_at IS NULL AND job.state = 'active')

-- pending: all others
NOT (job.cron IS NOT NULL AND job.next_due_at IS NULL AND job.state = 'active')

-- before: jobs older than where the last page ended
job.id < {value}

-- version: what a job was at a version
SELECT spec FROM job_version WHERE job_id = $1 AND version = $2
