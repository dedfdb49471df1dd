"""From the contract's messages to the JSON of `schedules`."""

from __future__ import annotations

from typing import cast

import msgspec
from msgspec import UNSET

from foliot.v1 import job_pb2, run_pb2, spec_pb2, task_pb2
from foliot_gateway.apis.schedules import shapes
from foliot_gateway.apis.schedules.identifiers import RUN, SCHEDULE, shown
from foliot_gateway.apis.schedules.to_contract import ADDED_HEADER, has_added_header
from foliot_gateway.http.http_work import shown_body
from foliot_gateway.http.jobs import effective_retry
from foliot_gateway.http.times import epoch_ms, required_epoch_ms, seconds

# The contract's defaults, for jobs made elsewhere.
_TASK_TIMEOUT_DEFAULT_MS = 3_600_000
_BACKOFF_DEFAULT_MS = 1_000
_MAX_BACKOFF_DEFAULT_MS = 60_000

RUN_STATUS: dict[run_pb2.RunState.ValueType, shapes.RunStatus] = {
    run_pb2.RUN_STATE_PENDING: "queued",
    run_pb2.RUN_STATE_RUNNING: "running",
    run_pb2.RUN_STATE_SUCCEEDED: "succeeded",
    run_pb2.RUN_STATE_FAILED: "failed",
    run_pb2.RUN_STATE_CANCELLED: "cancelled",
}
"""What each state of a run is called here."""
_TRIGGER: dict[run_pb2.RunTrigger.ValueType, shapes.Trigger] = {
    run_pb2.RUN_TRIGGER_MANUAL: "manual",
    run_pb2.RUN_TRIGGER_SCHEDULE: "schedule",
    run_pb2.RUN_TRIGGER_REDRIVE: "redrive",
}
_ATTEMPT_STATUS: dict[spec_pb2.Outcome.ValueType, shapes.AttemptStatus] = {
    spec_pb2.OUTCOME_UNSPECIFIED: "running",
    spec_pb2.OUTCOME_SUCCEEDED: "succeeded",
    spec_pb2.OUTCOME_FAILED: "failed",
    spec_pb2.OUTCOME_TIMED_OUT: "timed_out",
    spec_pb2.OUTCOME_NON_RETRYABLE: "failed",
    spec_pb2.OUTCOME_CANCELLED: "cancelled",
    spec_pb2.OUTCOME_LOST: "lost",
}


def is_shown(job: job_pb2.Job) -> bool:
    """Whether this API shows a job: one with a schedule and exactly one task, an HTTP request."""
    spec = job.spec
    return spec.HasField("schedule") and len(spec.tasks) == 1 and spec.tasks[0].spec.WhichOneof("work") == "http"


def schedule_id(job: job_pb2.Job) -> str:
    """Return a schedule's id."""
    return shown(SCHEDULE, job.id, job.project)


def run_id(run: run_pb2.Run) -> str:
    """Return a run's id."""
    return shown(RUN, run.id, run.project)


def schedule_state(job: job_pb2.Job) -> shapes.ScheduleState:
    """Return where a schedule stands."""
    return shapes.ScheduleState(
        schedule_id=schedule_id(job),
        status=_status(job),
        next_run_at_ms=epoch_ms(job, "next_due_at"),
        version=job.version,
    )


def _status(job: job_pb2.Job) -> shapes.ScheduleStatus:
    if job.state == job_pb2.JOB_STATE_DELETED:
        return "deleted"
    return "disabled" if job.state == job_pb2.JOB_STATE_PAUSED else "enabled"


def schedule(job: job_pb2.Job) -> shapes.Schedule:
    """Return a schedule as it stands."""
    timing = job.spec.schedule
    misfire = timing.misfire_policy or job_pb2.MISFIRE_POLICY_FIRE_ONCE
    concurrency = timing.concurrency_policy or job_pb2.CONCURRENCY_POLICY_ALLOW
    return shapes.Schedule(
        schedule_id=schedule_id(job),
        status=_status(job),
        next_run_at_ms=epoch_ms(job, "next_due_at"),
        version=job.version,
        project_id=job.project,
        name=job.spec.name,
        cron=timing.cron,
        timezone=timing.timezone or "UTC",
        enabled=job.state == job_pb2.JOB_STATE_ACTIVE,
        concurrency_policy=cast(
            "shapes.ConcurrencyPolicy",
            job_pb2.ConcurrencyPolicy.Name(concurrency).removeprefix("CONCURRENCY_POLICY_").lower(),
        ),
        misfire_policy=cast("shapes.MisfirePolicy", job_pb2.MisfirePolicy.Name(misfire).removeprefix("MISFIRE_POLICY_").lower()),
        max_jitter_ms=timing.max_jitter.ToMilliseconds(),
        target=_target(job.spec.tasks[0].spec),
        retry=_retry(effective_retry(job.spec)),
        created_at_ms=required_epoch_ms(job.created_at),
        updated_at_ms=required_epoch_ms(job.updated_at),
    )


def _target(spec: spec_pb2.TaskSpec) -> shapes.Target:
    work = spec.http
    timeout_ms = round(seconds(spec.timeout) * 1_000) if spec.HasField("timeout") else _TASK_TIMEOUT_DEFAULT_MS
    if work.HasField("request_timeout"):
        timeout_ms = round(seconds(work.request_timeout) * 1_000)
    headers = dict(work.headers)
    if has_added_header(work):
        del headers[ADDED_HEADER]
    return shapes.Target(
        type="http",
        url=work.url,
        method=cast("shapes.Method", work.method or "GET"),  # the scheduler keeps to the contract's methods
        headers=headers,
        body=_body(work),
        timeout_ms=timeout_ms,
        auth=shapes.Auth(type="service_token", ref=work.bearer_secret) if work.bearer_secret else None,
    )


def _body(work: spec_pb2.HttpWork) -> msgspec.Raw:
    if not work.body:
        return msgspec.Raw(b"null")
    if has_added_header(work):
        try:
            msgspec.json.decode(work.body)
        except (msgspec.MsgspecError, RecursionError):
            pass
        else:
            return msgspec.Raw(work.body)
    return shown_body(work.body.decode("utf-8", errors="replace"), work.headers.items())


def _retry(policy: spec_pb2.RetryPolicy) -> shapes.Retry:
    has_backoff, has_max = policy.HasField("initial_backoff"), policy.HasField("max_backoff")
    return shapes.Retry(
        max_attempts=max(1, policy.max_attempts),
        backoff_ms=policy.initial_backoff.ToMilliseconds() if has_backoff else _BACKOFF_DEFAULT_MS,
        max_backoff_ms=policy.max_backoff.ToMilliseconds() if has_max else _MAX_BACKOFF_DEFAULT_MS,
    )


def run(found: run_pb2.Run) -> shapes.Run:
    """Return a run for a list."""
    task = found.tasks[0] if len(found.tasks) == 1 else run_pb2.RunTask()
    return shapes.Run(
        run_id=run_id(found),
        schedule_id=shown(SCHEDULE, found.job_id, found.project),
        due_at_ms=required_epoch_ms(found.due_at if found.HasField("due_at") else found.created_at),
        started_at_ms=epoch_ms(found, "started_at"),
        finished_at_ms=epoch_ms(found, "ended_at"),
        status=RUN_STATUS[found.state],
        attempt=task.attempt,
        trigger=_TRIGGER[found.trigger],
        last_error=task.error or None,
        redrive_of=shown(RUN, found.redrive_of, found.project) if found.redrive_of else None,
        redriven_by=shown(RUN, found.redriven_by, found.project) if found.redriven_by else None,
    )


def run_details(found: run_pb2.Run, task: task_pb2.Task) -> shapes.RunDetails:
    """Return a run with the attempts of its task."""
    brief = {name: value for name, value in msgspec.structs.asdict(run(found)).items() if value is not UNSET}
    return shapes.RunDetails(**brief, attempts=[_attempt(one) for one in task.attempts])


def _attempt(found: task_pb2.Attempt) -> shapes.Attempt:
    return shapes.Attempt(
        attempt=found.number,
        status=_ATTEMPT_STATUS[found.outcome],
        started_at_ms=epoch_ms(found, "started_at"),
        finished_at_ms=epoch_ms(found, "ended_at"),
        error=found.error or None,
    )


def skipped(fire: job_pb2.Fire, job: job_pb2.Job) -> shapes.Run:
    """Return a due time that started no run."""
    return shapes.Run(
        run_id=None,
        schedule_id=schedule_id(job),
        due_at_ms=required_epoch_ms(fire.due_at),
        started_at_ms=None,
        finished_at_ms=None,
        status="skipped",
        attempt=0,
        trigger="schedule",
        last_error=None,
        redrive_of=None,
        redriven_by=None,
        skip_reason=fire.skip_reason,
    )
