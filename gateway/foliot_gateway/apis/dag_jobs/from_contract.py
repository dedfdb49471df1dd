"""From the contract's messages to the JSON of `dag_jobs`."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from foliot.v1 import job_pb2, run_pb2, spec_pb2
from foliot_gateway.apis.dag_jobs import shapes
from foliot_gateway.apis.dag_jobs.identifiers import EXECUTION, JOB
from foliot_gateway.http.http_work import shown_body
from foliot_gateway.http.times import moment, required_moment, seconds

TIMEOUT_DEFAULT_S = 3600.0
"""The contract's default of a task's timeout."""
PRIORITY_DEFAULT = 5
"""The contract's default of a task's priority."""

_TASK_STATUS: dict[spec_pb2.TaskState.ValueType, shapes.TaskStatus] = {
    spec_pb2.TASK_STATE_UNSPECIFIED: "PENDING",
    spec_pb2.TASK_STATE_BLOCKED: "PENDING",
    spec_pb2.TASK_STATE_SCHEDULED: "PENDING",
    spec_pb2.TASK_STATE_READY: "PENDING",
    spec_pb2.TASK_STATE_RUNNING: "RUNNING",
    spec_pb2.TASK_STATE_SUCCEEDED: "SUCCEEDED",
    spec_pb2.TASK_STATE_FAILED: "FAILED",
    spec_pb2.TASK_STATE_CANCELLED: "CANCELLED",
    spec_pb2.TASK_STATE_SKIPPED: "SKIPPED",
}
_RUN_STATUS: dict[run_pb2.RunState.ValueType, shapes.RunStatus] = {
    run_pb2.RUN_STATE_UNSPECIFIED: "PENDING",
    run_pb2.RUN_STATE_PENDING: "PENDING",
    run_pb2.RUN_STATE_RUNNING: "RUNNING",
    run_pb2.RUN_STATE_SUCCEEDED: "SUCCEEDED",
    run_pb2.RUN_STATE_FAILED: "FAILED",
    run_pb2.RUN_STATE_CANCELLED: "CANCELLED",
}

# What a policy of type NONE carries: nothing, or what nothing stands for.
_RETRY_ON_UNSET: tuple[set[int], ...] = (set(), {spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_TIMED_OUT})


def job(found: job_pb2.Job) -> shapes.Job:
    """Return a job as it stands."""
    spec = found.spec
    return shapes.Job(
        id=JOB.shown(found.id),
        name=spec.name,
        description=spec.description,
        status=job_status(found),
        schedule=_cron(spec),
        timezone=_zone(spec),
        next_run_at=moment(found, "next_due_at"),
        retry_policy=retry_policy(spec.retry) if spec.HasField("retry") else None,
        tasks=[task(one) for one in spec.tasks],
        dag=shapes.Dag(
            nodes=[one.key for one in spec.tasks],
            edges=[(before, one.key) for one in spec.tasks for before in one.dependencies],
            levels=[list(level.keys) for level in found.levels],
        ),
        metadata=msgspec.Raw((spec.metadata_json or "{}").encode("utf-8")),
        version=found.version,
        created_at=required_moment(found.created_at),
        updated_at=required_moment(found.updated_at),
    )


def job_summary(found: job_pb2.Job) -> shapes.JobSummary:
    """Return a job for a list."""
    return shapes.JobSummary(
        id=JOB.shown(found.id),
        name=found.spec.name,
        description=found.spec.description,
        status=job_status(found),
        schedule=_cron(found.spec),
        timezone=_zone(found.spec),
        next_run_at=moment(found, "next_due_at"),
        task_count=found.task_count,
        version=found.version,
        created_at=required_moment(found.created_at),
        updated_at=required_moment(found.updated_at),
    )


def job_status(found: job_pb2.Job) -> shapes.JobStatus:
    """Return where a job stands; a deleted one is not shown at all."""
    return "PAUSED" if found.state == job_pb2.JOB_STATE_PAUSED else "ACTIVE"


def linked_tasks(tasks: Iterable[job_pb2.JobTask]) -> list[shapes.LinkedTask]:
    """Return a job's tasks with their neighbours both ways."""
    held = list(tasks)
    dependents: dict[str, list[str]] = {one.key: [] for one in held}
    for one in held:
        for before in one.dependencies:
            dependents.setdefault(before, []).append(one.key)
    return [shapes.LinkedTask(**msgspec.structs.asdict(task(one)), dependents=dependents[one.key]) for one in held]


def task(found: job_pb2.JobTask) -> shapes.Task:
    """Return a task of a job."""
    spec = found.spec
    kind = spec.WhichOneof("work")
    rule = found.trigger_rule or spec_pb2.TRIGGER_RULE_ALL_SUCCESS
    return shapes.Task(
        id=found.key,
        name=spec.name or found.key,
        dependencies=list(found.dependencies),
        command=_command(spec.command) if kind == "command" else UNSET,
        http=_http(spec.http) if kind == "http" else UNSET,
        binary=_binary(spec.binary) if kind == "binary" else UNSET,
        function=_function(spec.function) if kind == "function" else UNSET,
        retry_policy=retry_policy(spec.retry) if spec.HasField("retry") else None,
        timeout_seconds=seconds(spec.timeout) if spec.HasField("timeout") else TIMEOUT_DEFAULT_S,
        priority=spec.priority or PRIORITY_DEFAULT,
        trigger_rule=cast("shapes.TriggerRuleName", spec_pb2.TriggerRule.Name(rule).removeprefix("TRIGGER_RULE_")),
    )


def _command(work: spec_pb2.CommandWork) -> str | shapes.Command:
    if not work.environment and not work.working_directory:
        return work.line
    return shapes.Command(line=work.line, environment=_masked(work.environment), working_directory=work.working_directory)


def _binary(work: spec_pb2.BinaryWork) -> shapes.Binary:
    return shapes.Binary(url=work.url, sha256=work.sha256, arguments=list(work.arguments), environment=_masked(work.environment))


def _function(work: spec_pb2.FunctionWork) -> str | shapes.Function:
    if not work.input_json or work.input_json == "null":
        return work.function
    return shapes.Function(name=work.function, input=msgspec.Raw(work.input_json.encode("utf-8")))


def _http(work: spec_pb2.HttpWork) -> shapes.Http:
    body: msgspec.Raw | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    if work.body:
        try:
            body = shown_body(work.body.decode("utf-8"), work.headers.items())
        except UnicodeDecodeError:
            body_base64 = base64.b64encode(work.body).decode("ascii")
    return shapes.Http(
        url=work.url,
        method=cast("Literal['GET']", work.method or "GET"),  # the scheduler keeps to the contract's methods
        headers=dict(work.headers),
        body=body,
        body_base64=body_base64,
        timeout_seconds=seconds(work.request_timeout) if work.HasField("request_timeout") else None,
        bearer_secret=work.bearer_secret,
    )


def _masked(environment: Iterable[str]) -> dict[str, str]:
    """Return an environment without its values, whatever the scheduler sent."""
    return dict.fromkeys(environment, shapes.MASK)


def retry_policy(policy: spec_pb2.RetryPolicy) -> shapes.RetryPolicy:
    """Return a policy, its defaults filled in.

    Policies made elsewhere may retry another set of outcomes than these types do; they are shown as the nearest one.
    """
    kind: Literal["NONE", "ON_FAILURE", "ALWAYS"] = "ON_FAILURE"
    if policy.max_attempts <= 1 and set(policy.retry_on) in _RETRY_ON_UNSET:
        kind = "NONE"
    elif spec_pb2.OUTCOME_NON_RETRYABLE in policy.retry_on:
        kind = "ALWAYS"
    return shapes.RetryPolicy(
        type=kind,
        max_retries=max(0, policy.max_attempts - 1),
        backoff_seconds=seconds(policy.initial_backoff) if policy.HasField("initial_backoff") else 1.0,
        backoff_multiplier=policy.multiplier or 2.0,
        max_backoff_seconds=seconds(policy.max_backoff) if policy.HasField("max_backoff") else 60.0,
    )


def execution(run: run_pb2.Run) -> shapes.Execution:
    """Return a run with its tasks."""
    return shapes.Execution(
        execution_id=EXECUTION.shown(run.id),
        status=_RUN_STATUS[run.state],
        started_at=moment(run, "started_at"),
        finished_at=moment(run, "ended_at"),
        tasks=[
            shapes.ExecutionTask(id=one.key, status=_TASK_STATUS[one.state], attempts=one.attempt, error=one.error or None)
            for one in run.tasks
        ],
    )


def execution_record(run: run_pb2.Run) -> shapes.ExecutionRecord:
    """Return a run for a history."""
    started, ended = moment(run, "started_at"), moment(run, "ended_at")
    lasted_ms = None if started is None or ended is None else round((ended - started).total_seconds() * 1000)
    return shapes.ExecutionRecord(
        execution_id=EXECUTION.shown(run.id),
        status=_RUN_STATUS[run.state],
        trigger="SCHEDULE" if run.trigger == run_pb2.RUN_TRIGGER_SCHEDULE else "MANUAL",
        started_at=started,
        finished_at=ended,
        duration_ms=None if lasted_ms is None else max(0, lasted_ms),
    )


def _cron(spec: job_pb2.JobSpec) -> str | None:
    return spec.schedule.cron if spec.HasField("schedule") else None


def _zone(spec: job_pb2.JobSpec) -> str | None:
    return (spec.schedule.timezone or "UTC") if spec.HasField("schedule") else None
