"""From the contract's messages to the JSON of `chadburn`."""

from __future__ import annotations

from datetime import datetime

from foliot.v1 import job_pb2, run_pb2, spec_pb2
from foliot_gateway.apis.chadburn import shapes
from foliot_gateway.apis.chadburn.identifiers import EXECUTION, JOB
from foliot_gateway.http.jobs import effective_retry
from foliot_gateway.http.times import moment, required_moment, seconds

_BACKOFF_DEFAULT_S = 1
"""The contract's default of a policy's first backoff."""

_KILLED_FROM = 128
"""Exit codes above are those of commands that a signal ended, as one does that takes too long."""

EXECUTION_STATUS: dict[run_pb2.RunState.ValueType, shapes.ExecutionStatus] = {
    run_pb2.RUN_STATE_PENDING: "in_progress",
    run_pb2.RUN_STATE_RUNNING: "in_progress",
    run_pb2.RUN_STATE_SUCCEEDED: "success",
    run_pb2.RUN_STATE_FAILED: "failure",
    run_pb2.RUN_STATE_CANCELLED: "failure",
}
"""What each state of a run is called here."""


def is_shown(job: job_pb2.Job) -> bool:
    """Whether this API shows a job: one with a schedule and exactly one task, a command."""
    spec = job.spec
    return spec.HasField("schedule") and len(spec.tasks) == 1 and spec.tasks[0].spec.WhichOneof("work") == "command"


def job_status(job: job_pb2.Job) -> shapes.JobStatus:
    """Return where a job stands."""
    if job.state == job_pb2.JOB_STATE_PAUSED:
        return "paused"
    return "active" if job.HasField("next_due_at") else "completed"


def next_run(job: job_pb2.Job) -> datetime | None:
    """Return when the schedule fires next."""
    return moment(job, "next_due_at")


def job_summary(job: job_pb2.Job) -> shapes.JobSummary:
    """Return a job for a list."""
    return shapes.JobSummary(
        id=JOB.shown(job.id),
        name=job.spec.name,
        schedule=job.spec.schedule.cron,
        command=job.spec.tasks[0].spec.command.line,
        status=job_status(job),
        tags=list(job.spec.tags),
        created_at=required_moment(job.created_at),
        updated_at=required_moment(job.updated_at),
    )


def job(found: job_pb2.Job, latest: run_pb2.Run | None) -> shapes.Job:
    """Return a job with its latest run."""
    brief = job_summary(found)
    return shapes.Job(
        id=brief.id,
        name=brief.name,
        schedule=brief.schedule,
        command=brief.command,
        status=brief.status,
        tags=brief.tags,
        created_at=brief.created_at,
        updated_at=brief.updated_at,
        last_run=None if latest is None else _last_run(latest),
        next_run=next_run(found),
    )


def job_settings(found: job_pb2.Job) -> shapes.JobSettings:
    """Return a job with all that can be set on it."""
    brief = job_summary(found)
    task = found.spec.tasks[0].spec
    retry = effective_retry(found.spec)
    return shapes.JobSettings(
        id=brief.id,
        name=brief.name,
        schedule=brief.schedule,
        command=brief.command,
        status=brief.status,
        tags=brief.tags,
        created_at=brief.created_at,
        updated_at=brief.updated_at,
        timeout=round(seconds(task.timeout)) if task.HasField("timeout") else shapes.TIMEOUT_DEFAULT_S,
        retries=max(0, retry.max_attempts - 1),
        retry_delay=round(seconds(retry.initial_backoff)) if retry.HasField("initial_backoff") else _BACKOFF_DEFAULT_S,
        environment=dict.fromkeys(task.command.environment, shapes.MASK),
        working_directory=task.command.working_directory or None,
        next_run=next_run(found),
    )


def execution(run: run_pb2.Run) -> shapes.Execution:
    """Return a run of a job."""
    started, ended = moment(run, "started_at"), moment(run, "ended_at")
    status = EXECUTION_STATUS[run.state]
    task = _only_task(run)
    return shapes.Execution(
        id=EXECUTION.shown(run.id),
        job_id=JOB.shown(run.job_id),
        status=status,
        started_at=started,
        finished_at=ended,
        duration=None if started is None or ended is None else max(0, round((ended - started).total_seconds())),
        exit_code=task.exit_code if task.HasField("exit_code") else None,
        output=_text(task.output),
        error=_error(task) if status == "failure" else None,
        retry_count=max(0, task.attempt - 1),
    )


def _last_run(run: run_pb2.Run) -> shapes.LastRun:
    found = execution(run)
    return shapes.LastRun(
        status=found.status,
        started_at=found.started_at,
        finished_at=found.finished_at,
        exit_code=found.exit_code,
        output=found.output,
    )


def _only_task(run: run_pb2.Run) -> run_pb2.RunTask:
    """Return the task of a run, an empty one where there is none: the job may have had another form when it ran."""
    return run.tasks[0] if len(run.tasks) == 1 else run_pb2.RunTask()


def _error(task: run_pb2.RunTask) -> str:
    """Return what the command itself said of its failure, and what was found wrong with it where it said nothing."""
    ended_by_itself = task.state == spec_pb2.TASK_STATE_FAILED and 0 < task.exit_code < _KILLED_FROM
    said = _text(task.error_output) if ended_by_itself else ""
    return said or task.error or "it was cancelled"


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="replace").removesuffix("\n")
