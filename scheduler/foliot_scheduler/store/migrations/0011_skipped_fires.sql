-- expand, compatible_from: 10

-- Lists of what a job skipped, newest first; few of most jobs' due times are.
CREATE INDEX fire_skipped ON fire (job_id, due_at) WHERE run_id IS NULL;
