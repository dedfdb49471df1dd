-- due: dependents that are to be asked again, oldest first
SELECT DISTINCT child_id FROM failed_dependent WHERE due ORDER BY child_id LIMIT $1

-- ended: the rows of those that have ended, without their output
SELECT
    ended.id, ended.project, ended.run_id, ended.job_id, ended.key, ended.position, ended.name, ended.priority, ended.state,
    ended.trigger_rule, ended.depends_on, ended.spec, ended.attempt, ended.failed_attempts, ended.lost_attempts, ended.outcome,
    ended.exit_code, ended.error, ended.created_at, ended.updated_at, NULL::timestamptz AS due_at, ended.started_at,
    ended.ended_at, ended.worker_id, ended.worker_address, ended.traceparent,
    coalesce(checkpoint.checkpoint, '') AS checkpoint
FROM task_history AS ended
LEFT JOIN checkpoint ON checkpoint.task_id = ended.id
WHERE ended.id = ANY ($1::uuid[])
ORDER BY ended.id

-- states: where tasks stand, all at one moment
SELECT id, state FROM task WHERE id = ANY ($1::uuid[])
UNION ALL
SELECT id, state FROM task_history WHERE id = ANY ($1::uuid[])
