"""From the JSON of `dag_jobs` to the contract's messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from foliot.v1 import job_pb2, spec_pb2
from foliot_gateway.apis.dag_jobs import shapes
from foliot_gateway.apis.dag_jobs.fields import RULE_STATUS
from foliot_gateway.http import json_text
from foliot_gateway.http.fault import FieldFault, refuse
from foliot_gateway.http.http_work import write_body
from foliot_gateway.http.times import duration

SURFACE = "dag_jobs"
"""The contract's `surface` of the jobs made here."""
RETRIES_DEFAULT = 3
"""How many attempts follow the first where a policy asks for retries and gives no number."""
WORK_FIELDS = ("command", "http", "binary", "function")

_RETRY_ON = {
    "ON_FAILURE": (spec_pb2.OUTCOME_FAILED,),
    "ALWAYS": (spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_TIMED_OUT, spec_pb2.OUTCOME_NON_RETRYABLE),
}


def job_spec(job: shapes.NewJob) -> job_pb2.JobSpec:
    """Return the spec of a new job; raises FaultError 422."""
    if job.timezone is not None and job.schedule is None:
        broken("timezone", "needs a schedule")
    spec = job_pb2.JobSpec(
        name=job.name,
        description=job.description or "",
        tasks=job_tasks(job.tasks, stored={}),
        metadata_json=json_object(job.metadata, "metadata"),
        surface=SURFACE,
    )
    if job.schedule is not None:
        spec.schedule.cron = job.schedule
        spec.schedule.timezone = job.timezone or ""
    if job.retry_policy is not None:
        spec.retry.CopyFrom(retry_policy(job.retry_policy, "retryPolicy"))
    return spec


def job_tasks(tasks: list[shapes.NewTask], *, stored: Mapping[str, job_pb2.JobTask]) -> list[job_pb2.JobTask]:
    """Return the tasks of a DAG; `stored` are those of the job so far, by key.

    Masks are sent on: the scheduler puts the stored values back, and refuses a mask where there is none.
    What this API has no field for (queue, labels, limits, ...) stays as it is stored. Raises FaultError 422.
    """
    found = []
    for index, task in enumerate(tasks):
        before = stored.get(task.id)
        built = hidden_parts(task.id, before)
        apply_task(built, task, at=f"tasks[{index}].")
        found.append(built)
    return found


def hidden_parts(key: str, before: job_pb2.JobTask | None) -> job_pb2.JobTask:
    """Return a bare task with what this API has no field for taken from the stored one, if any."""
    built = job_pb2.JobTask(key=key)
    if before is not None:
        built.spec.CopyFrom(before.spec)
        for name in ("name", "priority", "timeout", "retry", *WORK_FIELDS):
            built.spec.ClearField(name)  # type: ignore[arg-type]  # the stubs list the names as literals
    return built


def changed_task(change: shapes.TaskChange, before: job_pb2.JobTask) -> job_pb2.JobTask:
    """Return the stored task with a change made to it; raises FaultError 422."""
    built = job_pb2.JobTask()
    built.CopyFrom(before)
    apply_task(built, change, at="")
    return built


def apply_task(built: job_pb2.JobTask, task: shapes.TaskWork, *, at: str) -> None:
    """Write what a task gives into a message; `at` is where the task stands in the body, for errors."""
    spec = built.spec
    # A task's name falls back to its key, so what an answer shows for a task without one is its key: not a name then.
    if task.name is not UNSET:
        spec.name = "" if task.name is None or task.name == built.key else task.name
    if task.dependencies is not UNSET:
        built.ClearField("dependencies")
        built.dependencies.extend(task.dependencies)
    if task.retry_policy is not UNSET:
        spec.ClearField("retry")
        if task.retry_policy is not None:
            spec.retry.CopyFrom(retry_policy(task.retry_policy, f"{at}retryPolicy"))
    if task.timeout_seconds is not UNSET:
        spec.ClearField("timeout")
        if task.timeout_seconds is not None:
            spec.timeout.CopyFrom(duration(task.timeout_seconds))
    if task.priority is not UNSET:
        spec.priority = task.priority or 0
    if task.trigger_rule is not UNSET:
        name = task.trigger_rule or "UNSPECIFIED"
        built.trigger_rule = spec_pb2.TriggerRule.Value(f"TRIGGER_RULE_{name}")
    _apply_work(spec, task, at=at)


def _apply_work(spec: spec_pb2.TaskSpec, task: shapes.TaskWork, *, at: str) -> None:
    given = [name for name in WORK_FIELDS if not isinstance(getattr(task, name), UnsetType | None)]
    if len(given) > 1:
        faults = [FieldFault(at + name, "must be the only work of its task") for name in given]
        raise refuse(422, "invalid_field", f"A task has one kind of work at most, not {' and '.join(given)}.", *faults)
    if isinstance(task.command, str | shapes.Command):
        spec.command.CopyFrom(_command(task.command))
    elif isinstance(task.http, shapes.Http):
        spec.http.CopyFrom(_http(task.http, f"{at}http"))
    elif isinstance(task.binary, shapes.Binary):
        spec.binary.CopyFrom(_binary(task.binary))
    elif isinstance(task.function, str | shapes.Function):
        spec.function.CopyFrom(_function(task.function, f"{at}function"))
    else:
        kind = spec.WhichOneof("work")
        if kind is not None and getattr(task, kind) is None:
            spec.ClearField(kind)


def _command(given: str | shapes.Command) -> spec_pb2.CommandWork:
    command = shapes.Command(line=given) if isinstance(given, str) else given
    return spec_pb2.CommandWork(line=command.line, environment=command.environment, working_directory=command.working_directory)


def _binary(given: shapes.Binary) -> spec_pb2.BinaryWork:
    return spec_pb2.BinaryWork(url=given.url, sha256=given.sha256, arguments=given.arguments, environment=given.environment)


def _function(given: str | shapes.Function, at: str) -> spec_pb2.FunctionWork:
    function = shapes.Function(name=given) if isinstance(given, str) else given
    return spec_pb2.FunctionWork(
        function=function.name, input_json=json_text.json_text(function.input, f"{at}.input", rule_status=RULE_STATUS)
    )


def _http(given: shapes.Http, at: str) -> spec_pb2.HttpWork:
    work = spec_pb2.HttpWork(url=given.url, method=given.method, headers=given.headers, bearer_secret=given.bearer_secret)
    if given.timeout_seconds is not None:
        work.request_timeout.CopyFrom(duration(given.timeout_seconds))
    if given.body is not UNSET and given.body_base64 is not UNSET:
        broken(f"{at}.bodyBase64", "must not stand beside body")
    if given.body_base64 is not UNSET:
        try:
            work.body = base64.b64decode(given.body_base64, validate=True)
        except (binascii.Error, ValueError):
            broken(f"{at}.bodyBase64", "must be base64")
    write_body(work, given.body, f"{at}.body", rule_status=RULE_STATUS)
    return work


def retry_policy(given: shapes.RetryPolicy, at: str) -> spec_pb2.RetryPolicy:
    """Return the contract's policy; raises FaultError 422."""
    if given.type == "NONE":
        if given.max_retries:
            broken(f"{at}.maxRetries", "must be 0 where the type is NONE")
        return spec_pb2.RetryPolicy(max_attempts=1)
    retries = RETRIES_DEFAULT if given.max_retries is None else given.max_retries
    return spec_pb2.RetryPolicy(
        max_attempts=retries + 1,
        initial_backoff=duration(given.backoff_seconds),
        multiplier=given.backoff_multiplier,
        max_backoff=duration(given.max_backoff_seconds),
        retry_on=_RETRY_ON[given.type],
    )


def json_object(raw: msgspec.Raw | UnsetType, at: str) -> str:
    """Return a JSON object as its text, empty if it is absent; raises FaultError 422."""
    return json_text.json_object(raw, at, rule_status=RULE_STATUS)


def broken(at: str, rule: str) -> NoReturn:
    """Raise FaultError 422 for one field."""
    json_text.broken(at, rule, rule_status=RULE_STATUS)
