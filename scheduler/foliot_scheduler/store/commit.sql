-- head: begins every commit with the fence
-- Every writing part below reads from `fence`, so when the epoch is not the leader's any more the row is not found and nothing
-- is written. FOR SHARE makes a new leader, who updates the row, wait for this commit; and makes this commit wait for a new
-- leader's update under way, after which READ COMMITTED looks at the row's new version and finds another epoch. Several
-- commits may hold it at once. A part with FOR SHARE is never merged into others by the planner: it is evaluated once.
WITH fence AS (
    SELECT leadership.epoch FROM leadership WHERE leadership.shard = $shard AND leadership.epoch = $epoch FOR SHARE
)

-- tail: ends every commit: whether the fence held, and that every row that was to be there was
-- A row that is missing means that the leader's memory and the database differ, which nothing may be built upon: the division
-- by zero makes the whole statement fail.
SELECT fence.epoch, 1 / ($counted = $expected)::integer AS whole FROM fence

-- insert_task: tasks that are new, or that were retried after their end
INSERT INTO task (
    id, run_id, job_id, created_at, updated_at, due_at, started_at, token, position, attempt, failed_attempts, lost_attempts,
    exit_code, priority, shard, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address,
    error, traceparent,
    tags, depends_on, spec
)
SELECT
    new.id, new.run_id, new.job_id, instant(new.created), instant(new.updated), instant(new.due), instant(new.started),
    new.token, new.position, new.attempt, new.failed_attempts, new.lost_attempts, new.exit_code, new.priority, $shard,
    new.project, new.state, new.kind, new.trigger_rule, new.outcome, new.queue, new.name, new.key, new.worker_id,
    new.worker_address, new.error,
    new.traceparent, new.tags::text[], new.depends_on, new.spec
FROM fence, unnest(
    $id::uuid[], $run_id::uuid[], $job_id::uuid[], $created::bigint[], $updated::bigint[], $due::bigint[], $started::bigint[],
    $token::bigint[], $position::integer[], $attempt::integer[], $failed_attempts::integer[], $lost_attempts::integer[],
    $exit_code::integer[], $priority::integer[], $project::text[], $state::text[], $kind::text[], $trigger_rule::text[],
    $outcome::text[], $queue::text[], $name::text[], $key::text[], $worker_id::text[], $worker_address::text[],
    $error::text[], $traceparent::text[],
    $tags::text[], $depends_on::bytea[], $spec::bytea[]
) AS new (
    id, run_id, job_id, created, updated, due, started, token, position, attempt, failed_attempts, lost_attempts, exit_code,
    priority, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address, error, traceparent,
    tags, depends_on,
    spec
)

-- insert_ended_task: tasks that were born and ended between two commits, or whose plan changed as they ended
INSERT INTO task_history (
    id, run_id, job_id, created_at, updated_at, started_at, ended_at, position, attempt, failed_attempts, lost_attempts,
    exit_code, priority, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address, error,
    traceparent, tags,
    depends_on, spec, output, error_output
)
SELECT
    new.id, new.run_id, new.job_id, instant(new.created), instant(new.updated), instant(new.started), instant(new.ended),
    new.position, new.attempt, new.failed_attempts, new.lost_attempts, new.exit_code, new.priority, new.project, new.state,
    new.kind, new.trigger_rule, new.outcome, new.queue, new.name, new.key, new.worker_id, new.worker_address, new.error,
    new.traceparent,
    new.tags::text[], new.depends_on, new.spec, new.output, new.error_output
FROM fence, unnest(
    $id::uuid[], $run_id::uuid[], $job_id::uuid[], $created::bigint[], $updated::bigint[], $started::bigint[],
    $ended::bigint[], $position::integer[], $attempt::integer[], $failed_attempts::integer[], $lost_attempts::integer[],
    $exit_code::integer[], $priority::integer[], $project::text[], $state::text[], $kind::text[], $trigger_rule::text[],
    $outcome::text[], $queue::text[], $name::text[], $key::text[], $worker_id::text[], $worker_address::text[],
    $error::text[], $traceparent::text[],
    $tags::text[], $depends_on::bytea[], $spec::bytea[], $output::bytea[], $error_output::bytea[]
) AS new (
    id, run_id, job_id, created, updated, started, ended, position, attempt, failed_attempts, lost_attempts, exit_code,
    priority, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address, error, traceparent,
    tags, depends_on,
    spec, output, error_output
)

-- update_task: live tasks whose state moved on
UPDATE task
SET
    updated_at = instant(new.updated), due_at = instant(new.due), started_at = instant(new.started), token = new.token,
    attempt = new.attempt, failed_attempts = new.failed_attempts, lost_attempts = new.lost_attempts, exit_code = new.exit_code,
    state = new.state, outcome = new.outcome, worker_id = new.worker_id, worker_address = new.worker_address, error = new.error
FROM fence, unnest(
    $id::uuid[], $updated::bigint[], $due::bigint[], $started::bigint[], $token::bigint[], $attempt::integer[],
    $failed_attempts::integer[], $lost_attempts::integer[], $exit_code::integer[], $state::text[], $outcome::text[],
    $worker_id::text[], $worker_address::text[], $error::text[]
) AS new (
    id, updated, due, started, token, attempt, failed_attempts, lost_attempts, exit_code, state, outcome, worker_id,
    worker_address, error
)
WHERE task.id = new.id

-- replan_task: live tasks whose plan or dependencies changed, with or without their state
UPDATE task
SET
    updated_at = instant(new.updated), due_at = instant(new.due), started_at = instant(new.started), token = new.token,
    attempt = new.attempt, failed_attempts = new.failed_attempts, lost_attempts = new.lost_attempts, exit_code = new.exit_code,
    state = new.state, outcome = new.outcome, worker_id = new.worker_id, worker_address = new.worker_address,
    error = new.error,
    priority = new.priority, kind = new.kind, trigger_rule = new.trigger_rule, queue = new.queue, name = new.name,
    tags = new.tags::text[], depends_on = new.depends_on, spec = new.spec
FROM fence, unnest(
    $id::uuid[], $updated::bigint[], $due::bigint[], $started::bigint[], $token::bigint[], $attempt::integer[],
    $failed_attempts::integer[], $lost_attempts::integer[], $exit_code::integer[], $state::text[], $outcome::text[],
    $worker_id::text[], $worker_address::text[], $error::text[], $priority::integer[], $kind::text[], $trigger_rule::text[],
    $queue::text[],
    $name::text[], $tags::text[], $depends_on::bytea[], $spec::bytea[]
) AS new (
    id, updated, due, started, token, attempt, failed_attempts, lost_attempts, exit_code, state, outcome, worker_id,
    worker_address, error,
    priority, kind, trigger_rule, queue, name, tags, depends_on, spec
)
WHERE task.id = new.id

-- end_task_gone: live tasks that ended leave the live table; what did not change is not sent again
DELETE FROM task
USING fence, unnest(
    $id::uuid[], $updated::bigint[], $started::bigint[], $ended::bigint[], $attempt::integer[], $failed_attempts::integer[],
    $lost_attempts::integer[], $exit_code::integer[], $state::text[], $outcome::text[], $worker_id::text[],
    $worker_address::text[], $error::text[],
    $output::bytea[], $error_output::bytea[]
) AS new (
    id, updated, started, ended, attempt, failed_attempts, lost_attempts, exit_code, state, outcome, worker_id,
    worker_address, error, output,
    error_output
)
WHERE task.id = new.id
RETURNING
    task.id, task.run_id, task.job_id, task.created_at, instant(new.updated) AS updated_at, instant(new.started) AS started_at,
    instant(new.ended) AS ended_at, task.position, new.attempt, new.failed_attempts, new.lost_attempts, new.exit_code,
    task.priority, task.project, new.state, task.kind, task.trigger_rule, new.outcome, task.queue, task.name, task.key,
    new.worker_id, new.worker_address, new.error, task.traceparent, task.tags, task.depends_on, task.spec, new.output,
    new.error_output

-- end_task: and enter the history
INSERT INTO task_history (
    id, run_id, job_id, created_at, updated_at, started_at, ended_at, position, attempt, failed_attempts, lost_attempts,
    exit_code, priority, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address, error,
    traceparent, tags,
    depends_on, spec, output, error_output
)
SELECT
    id, run_id, job_id, created_at, updated_at, started_at, ended_at, position, attempt, failed_attempts, lost_attempts,
    exit_code, priority, project, state, kind, trigger_rule, outcome, queue, name, key, worker_id, worker_address, error,
    traceparent, tags,
    depends_on, spec, output, error_output
FROM end_task_gone

-- relabel_task: ended tasks whose labels changed
UPDATE task_history
SET updated_at = instant(new.updated), name = new.name, tags = new.tags::text[], spec = new.spec
FROM fence, unnest($id::uuid[], $updated::bigint[], $name::text[], $tags::text[], $spec::bytea[])
    AS new (id, updated, name, tags, spec)
WHERE task_history.id = new.id

-- end_task_again: ended tasks that were retried and ended again between two commits
-- One statement cannot delete a row and insert its like (the key would be there twice), so the row is rewritten where it is.
UPDATE task_history
SET
    updated_at = instant(new.updated), started_at = instant(new.started), ended_at = instant(new.ended), attempt = new.attempt,
    failed_attempts = new.failed_attempts, lost_attempts = new.lost_attempts, exit_code = new.exit_code, state = new.state,
    outcome = new.outcome, worker_id = new.worker_id, worker_address = new.worker_address, error = new.error,
    output = new.output, error_output = new.error_output,
    priority = new.priority, kind = new.kind, trigger_rule = new.trigger_rule, queue = new.queue, name = new.name,
    tags = new.tags::text[], depends_on = new.depends_on, spec = new.spec
FROM fence, unnest(
    $id::uuid[], $updated::bigint[], $started::bigint[], $ended::bigint[], $attempt::integer[], $failed_attempts::integer[],
    $lost_attempts::integer[], $exit_code::integer[], $state::text[], $outcome::text[], $worker_id::text[],
    $worker_address::text[], $error::text[],
    $output::bytea[], $error_output::bytea[], $priority::integer[], $kind::text[], $trigger_rule::text[], $queue::text[],
    $name::text[], $tags::text[], $depends_on::bytea[], $spec::bytea[]
) AS new (
    id, updated, started, ended, attempt, failed_attempts, lost_attempts, exit_code, state, outcome, worker_id,
    worker_address, error, output,
    error_output, priority, kind, trigger_rule, queue, name, tags, depends_on, spec
)
WHERE task_history.id = new.id

-- delete_task: live tasks that were removed, or that are written to the history anew
DELETE FROM task USING fence WHERE task.id = ANY ($id::uuid[])

-- delete_ended_task: ended tasks that were removed, or that live again
DELETE FROM task_history USING fence WHERE task_history.id = ANY ($id::uuid[])

-- insert_run: runs that are new
INSERT INTO run (id, job_id, job_version, redrive_of, due_at, created_at, started_at, shard, cancelled, project, state, trigger)
SELECT
    new.id, new.job_id, new.job_version, new.redrive_of, instant(new.due), instant(new.created), instant(new.started), $shard,
    new.cancelled, new.project, new.state, new.trigger
FROM fence, unnest(
    $id::uuid[], $job_id::uuid[], $job_version::bigint[], $redrive_of::uuid[], $due::bigint[], $created::bigint[],
    $started::bigint[], $cancelled::boolean[], $project::text[], $state::text[], $trigger::text[]
) AS new (id, job_id, job_version, redrive_of, due, created, started, cancelled, project, state, trigger)

-- insert_ended_run: runs that were born and ended between two commits
INSERT INTO run_history (
    id, job_id, job_version, redrive_of, due_at, created_at, started_at, ended_at, cancelled, project, state, trigger, shape, counts
)
SELECT
    new.id, new.job_id, new.job_version, new.redrive_of, instant(new.due), instant(new.created), instant(new.started),
    instant(new.ended), new.cancelled, new.project, new.state, new.trigger, new.shape, new.counts::jsonb
FROM fence, unnest(
    $id::uuid[], $job_id::uuid[], $job_version::bigint[], $redrive_of::uuid[], $due::bigint[], $created::bigint[],
    $started::bigint[], $ended::bigint[], $cancelled::boolean[], $project::text[], $state::text[], $trigger::text[],
    $shape::text[], $counts::text[]
) AS new (id, job_id, job_version, redrive_of, due, created, started, ended, cancelled, project, state, trigger, shape, counts)

-- update_run: live runs whose state moved on
UPDATE run
SET started_at = instant(new.started), cancelled = new.cancelled, state = new.state
FROM fence, unnest($id::uuid[], $started::bigint[], $cancelled::boolean[], $state::text[])
    AS new (id, started, cancelled, state)
WHERE run.id = new.id

-- end_run_gone: live runs that ended leave the live table
DELETE FROM run
USING fence, unnest(
    $id::uuid[], $started::bigint[], $ended::bigint[], $cancelled::boolean[], $state::text[], $shape::text[], $counts::text[]
) AS new (id, started, ended, cancelled, state, shape, counts)
WHERE run.id = new.id
RETURNING
    run.id, run.job_id, run.job_version, run.redrive_of, run.due_at, run.created_at, instant(new.started) AS started_at,
    instant(new.ended) AS ended_at, new.cancelled, run.project, new.state, run.trigger, new.shape, new.counts::jsonb AS counts

-- end_run: and enter the history
INSERT INTO run_history (
    id, job_id, job_version, redrive_of, due_at, created_at, started_at, ended_at, cancelled, project, state, trigger, shape, counts
)
SELECT
    id, job_id, job_version, redrive_of, due_at, created_at, started_at, ended_at, cancelled, project, state, trigger, shape, counts
FROM end_run_gone

-- mark_redriven: dead letters in whose place another run was started; one that retention dropped meanwhile needs no mark
UPDATE run_history
SET redriven_by = new.redriven_by
FROM fence, unnest($run_id::uuid[], $redriven_by::uuid[]) AS new (run_id, redriven_by)
WHERE run_history.id = new.run_id

-- upsert_job: jobs, new and changed
INSERT INTO job (
    id, version, next_due_at, fires_at, created_at, updated_at, shard, project, state, name, surface, shape, cron, timezone, tags,
    waiting_runs
)
SELECT
    new.id, new.version, instant(new.next_due), instant(new.fires), instant(new.created), instant(new.updated), $shard,
    new.project, new.state, new.name, new.surface, new.shape, new.cron, new.timezone, new.tags::text[],
    new.waiting_runs::bigint[]
FROM fence, unnest(
    $id::uuid[], $version::bigint[], $next_due::bigint[], $fires::bigint[], $created::bigint[], $updated::bigint[],
    $project::text[], $state::text[], $name::text[], $surface::text[], $shape::text[], $cron::text[], $timezone::text[],
    $tags::text[], $waiting_runs::text[]
) AS new (
    id, version, next_due, fires, created, updated, project, state, name, surface, shape, cron, timezone, tags, waiting_runs
)
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, next_due_at = excluded.next_due_at, fires_at = excluded.fires_at,
    updated_at = excluded.updated_at, state = excluded.state, name = excluded.name, surface = excluded.surface,
    shape = excluded.shape, cron = excluded.cron, timezone = excluded.timezone, tags = excluded.tags,
    waiting_runs = excluded.waiting_runs

-- insert_job_version: versions that this leader has not written yet
-- One of an earlier leader may be there already; it is the same, because a version never changes.
INSERT INTO job_version (job_id, version, created_at, task_count, head, spec)
SELECT new.id, new.version, instant(new.updated), new.task_count, new.head, new.spec
FROM fence, unnest($id::uuid[], $version::bigint[], $updated::bigint[], $task_count::integer[], $head::bytea[], $spec::bytea[])
    AS new (id, version, updated, task_count, head, spec)
ON CONFLICT (job_id, version) DO NOTHING

-- insert_attempt: ended attempts that are followed by another
INSERT INTO attempt (task_id, started_at, ended_at, number, exit_code, outcome, worker_id, worker_address, error)
SELECT
    new.task_id, instant(new.started), instant(new.ended), new.number, new.exit_code, new.outcome, new.worker_id,
    new.worker_address, new.error
FROM fence, unnest(
    $task_id::uuid[], $started::bigint[], $ended::bigint[], $number::integer[], $exit_code::integer[], $outcome::text[],
    $worker_id::text[], $worker_address::text[], $error::text[]
) AS new (task_id, started, ended, number, exit_code, outcome, worker_id, worker_address, error)

-- open_batch: leases that are handed out, one row for all that go out together
INSERT INTO lease_batch (first_token, leased_at, shard, project, worker_id, task_ids, attempts)
SELECT new.first_token, instant(new.leased), $shard, new.project, new.worker_id, new.task_ids, new.attempts
FROM fence, unnest($first_token::bigint[], $leased::bigint[], $project::text[], $worker_id::text[], $task_ids::bytea[],
    $attempts::bytea[])
    AS new (first_token, leased, project, worker_id, task_ids, attempts)

-- close_batch: lease batches whose last lease has ended
DELETE FROM lease_batch USING fence WHERE lease_batch.first_token = ANY ($first_token::bigint[])

-- save_checkpoint: the last saved progress of tasks
INSERT INTO checkpoint (task_id, saved_at, attempt, checkpoint)
SELECT new.task_id, instant(new.saved), new.attempt, new.checkpoint
FROM fence, unnest($task_id::uuid[], $saved::bigint[], $attempt::integer[], $checkpoint::text[])
    AS new (task_id, saved, attempt, checkpoint)
ON CONFLICT (task_id) DO UPDATE SET
    saved_at = excluded.saved_at, attempt = excluded.attempt, checkpoint = excluded.checkpoint

-- insert_fire: what became of due times; a second decision about one must fail the commit, so no ON CONFLICT here
INSERT INTO fire (job_id, due_at, run_id, decided_at, skip_reason)
SELECT new.job_id, instant(new.due), new.run_id, instant(new.decided), new.skip_reason
FROM fence, unnest($job_id::uuid[], $due::bigint[], $run_id::uuid[], $decided::bigint[], $skip_reason::text[])
    AS new (job_id, due, run_id, decided, skip_reason)

-- insert_fire_span: due times that were skipped together
INSERT INTO fire_span (job_id, since, until, anchor, decided_at, cron, timezone, skip_reason)
SELECT
    new.job_id, instant(new.since), instant(new.until), instant(new.anchor), instant(new.decided), new.cron, new.timezone,
    new.skip_reason
FROM fence, unnest(
    $job_id::uuid[], $since::bigint[], $until::bigint[], $anchor::bigint[], $decided::bigint[], $cron::text[], $timezone::text[],
    $skip_reason::text[]
) AS new (job_id, since, until, anchor, decided, cron, timezone, skip_reason)

-- insert_answer: answers kept for repeated requests
-- A key that has run out and was not cleared away yet is taken over. One that has not must fail the commit: what the request
-- created is part of it and must not be created twice. The null breaks the column's NOT NULL and so does that.
INSERT INTO idempotency (created_at, project, key, digest, ids)
SELECT instant(new.created), new.project, new.key, new.digest, new.ids
FROM fence, unnest($created::bigint[], $project::text[], $key::text[], $digest::bytea[], $ids::bytea[])
    AS new (created, project, key, digest, ids)
ON CONFLICT (project, key) DO UPDATE SET
    created_at = CASE WHEN idempotency.created_at <= excluded.created_at - interval '24 hours' THEN excluded.created_at END,
    digest = excluded.digest, ids = excluded.ids

-- put_answer: answers to requests whose key was made for them: there is none under it, unless the caller said what is not so
INSERT INTO idempotency (created_at, project, key, digest, ids)
SELECT instant(new.created), new.project, new.key, new.digest, new.ids
FROM fence, unnest($created::bigint[], $project::text[], $key::text[], $digest::bytea[], $ids::bytea[])
    AS new (created, project, key, digest, ids)
ON CONFLICT (project, key) DO UPDATE SET created_at = excluded.created_at, digest = excluded.digest, ids = excluded.ids

-- upsert_webhook: subscriptions, new and changed
INSERT INTO webhook (
    id, created_at, updated_at, generation, shard, enabled, project, url, description, disabled_reason, secret, events
)
SELECT
    new.id, instant(new.created), instant(new.updated), new.generation, $shard, new.enabled, new.project, new.url,
    new.description, new.disabled_reason, new.secret, new.events::text[]
FROM fence, unnest(
    $id::uuid[], $created::bigint[], $updated::bigint[], $generation::integer[], $enabled::boolean[], $project::text[],
    $url::text[], $description::text[], $disabled_reason::text[], $secret::bytea[], $events::text[]
) AS new (id, created, updated, generation, enabled, project, url, description, disabled_reason, secret, events)
ON CONFLICT (id) DO UPDATE SET
    updated_at = excluded.updated_at, generation = excluded.generation, enabled = excluded.enabled, url = excluded.url,
    description = excluded.description, disabled_reason = excluded.disabled_reason, secret = excluded.secret,
    events = excluded.events

-- delete_webhook_gone: subscriptions that ended
DELETE FROM webhook USING fence WHERE webhook.id = ANY ($id::uuid[]) RETURNING webhook.id

-- delete_webhook: and leave their deliveries, which are cleared away later, a few at a time
INSERT INTO webhook_remains (webhook_id) SELECT id FROM delete_webhook_gone

-- insert_delivery: the outbox: events on their way to webhooks, due at once
INSERT INTO webhook_delivery (
    id, webhook_id, created_at, next_attempt_at, generation, by_hand, event, facts, result
)
SELECT
    new.id, new.webhook_id, instant(new.happened), instant(new.happened), new.generation, new.by_hand, new.event, new.facts,
    new.result
FROM fence, unnest(
    $id::uuid[], $webhook_id::uuid[], $happened::bigint[], $generation::integer[], $by_hand::boolean[], $event::text[],
    $facts::text[], $result::bytea[]
) AS new (id, webhook_id, happened, generation, by_hand, event, facts, result)

-- upsert_worker: workers, new and changed
INSERT INTO worker (
    registered_at, last_heartbeat_at, tasks_completed, tasks_failed, cpu, memory, disk, capacity, current_tasks, shard,
    is_executor, offline, project, id, hostname, version, queues, tags, kinds, functions, labels
)
SELECT
    instant(new.registered), instant(new.last_heard), new.succeeded, new.failed, new.cpu, new.memory, new.disk, new.capacity,
    new.current_tasks, $shard, new.is_executor, new.offline, new.project, new.id, new.hostname, new.version,
    new.queues::text[], new.tags::text[], new.kinds::text[], new.functions::text[], new.labels::jsonb
FROM fence, unnest(
    $registered::bigint[], $last_heard::bigint[], $succeeded::bigint[], $failed::bigint[], $cpu::float8[], $memory::float8[],
    $disk::float8[], $capacity::integer[], $current_tasks::integer[], $is_executor::boolean[], $offline::boolean[],
    $project::text[], $id::text[], $hostname::text[], $version::text[], $queues::text[], $tags::text[], $kinds::text[],
    $functions::text[], $labels::text[]
) AS new (
    registered, last_heard, succeeded, failed, cpu, memory, disk, capacity, current_tasks, is_executor, offline, project, id,
    hostname, version, queues, tags, kinds, functions, labels
)
ON CONFLICT (project, id) DO UPDATE SET
    -- When it was first seen stays.
    -- Counts come as what was added since the row was written last, so that they outlive the leader that keeps them.
    last_heartbeat_at = excluded.last_heartbeat_at, tasks_completed = worker.tasks_completed + excluded.tasks_completed,
    tasks_failed = worker.tasks_failed + excluded.tasks_failed, cpu = excluded.cpu, memory = excluded.memory,
    disk = excluded.disk,
    capacity = excluded.capacity, current_tasks = excluded.current_tasks, is_executor = excluded.is_executor,
    offline = excluded.offline, hostname = excluded.hostname, version = excluded.version, queues = excluded.queues,
    tags = excluded.tags, kinds = excluded.kinds, functions = excluded.functions, labels = excluded.labels

-- count_worker: workers whose leases came or went: what they hold, and what ended on them since their rows were written last
UPDATE worker
SET
    tasks_completed = worker.tasks_completed + new.succeeded, tasks_failed = worker.tasks_failed + new.failed,
    current_tasks = new.current_tasks
FROM fence, unnest($project::text[], $id::text[], $succeeded::bigint[], $failed::bigint[], $current_tasks::integer[])
    AS new (project, id, succeeded, failed, current_tasks)
WHERE worker.project = new.project AND worker.id = new.id

-- add_rollup: what ended in this commit, added to the rows of its minutes
INSERT INTO rollup (minute_at, succeeded, failed, cancelled, skipped, timed, run_time_us, project)
SELECT
    instant(new.minute), new.succeeded, new.failed, new.cancelled, new.skipped, new.timed, new.run_time_us, new.project
FROM fence, unnest(
    $minute::bigint[], $succeeded::bigint[], $failed::bigint[], $cancelled::bigint[], $skipped::bigint[], $timed::bigint[],
    $run_time_us::bigint[], $project::text[]
) AS new (minute, succeeded, failed, cancelled, skipped, timed, run_time_us, project)
ON CONFLICT (project, minute_at) DO UPDATE SET
    succeeded = rollup.succeeded + excluded.succeeded, failed = rollup.failed + excluded.failed,
    cancelled = rollup.cancelled + excluded.cancelled, skipped = rollup.skipped + excluded.skipped,
    timed = rollup.timed + excluded.timed, run_time_us = rollup.run_time_us + excluded.run_time_us

-- add_count: by how much the counts of tasks change
-- In the order in which retention takes them too: of two that hold some and wait for others, one would have to give way.
INSERT INTO task_count (tasks, day, priority, project, state)
SELECT new.tasks, new.day, new.priority, new.project, new.state
FROM fence, unnest($tasks::bigint[], $day::integer[], $priority::integer[], $project::text[], $state::text[])
    AS new (tasks, day, priority, project, state)
ORDER BY new.project, new.state, new.priority, new.day
ON CONFLICT (project, state, priority, day) DO UPDATE SET tasks = task_count.tasks + excluded.tasks

-- insert_audit: who asked for what is written here
INSERT INTO audit_record (id, at, touched, project, actor, role, method, request_id, ids)
SELECT new.id, instant(new.at), new.touched, new.project, new.actor, new.role, new.method, new.request_id, new.ids
FROM fence, unnest(
    $id::uuid[], $at::bigint[], $touched::integer[], $project::text[], $actor::text[], $role::text[], $method::text[],
    $request_id::text[], $ids::bytea[]
) AS new (id, at, touched, project, actor, role, method, request_id, ids)

-- put_failed_dependent: notes of tasks that failed because of a dependency
INSERT INTO failed_dependent (parent_id, child_id, due)
SELECT new.parent_id, new.child_id, new.due
FROM fence, unnest($parent_id::uuid[], $child_id::uuid[], $due::boolean[]) AS new (parent_id, child_id, due)
ON CONFLICT (parent_id, child_id) DO UPDATE SET due = excluded.due

-- delete_failed_dependent: notes of tasks that live again, or are gone
DELETE FROM failed_dependent USING fence WHERE failed_dependent.child_id = ANY ($child_id::uuid[])

-- wake_failed_dependent: notes that name a task which has succeeded after all, or lives again
-- But for those that the two parts above touch: one statement cannot change a row twice.
UPDATE failed_dependent
SET due = true
FROM fence
WHERE failed_dependent.parent_id = ANY ($parent_id::uuid[])
  AND NOT failed_dependent.child_id = ANY ($child_id::uuid[])
  AND NOT failed_dependent.due
