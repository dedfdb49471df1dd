"""From the JSON of `schedules` to the contract's messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from msgspec import UNSET

from foliot.v1 import job_pb2, spec_pb2
from foliot_gateway.apis.schedules import shapes
from foliot_gateway.apis.schedules.fields import RULE_STATUS
from foliot_gateway.http.http_work import CONTENT_TYPE, JSON_TYPE, write_body
from foliot_gateway.http.jobs import effective_retry
from foliot_gateway.http.times import duration

SURFACE = "schedules"
"""The contract's `surface` of the schedules made here."""
TASK_KEY = "target"
"""The key of a schedule's only task."""
ADDED_HEADER = CONTENT_TYPE.lower()
"""How the content type of a JSON body is spelt that this API adds: it is not shown among the headers that were given."""

_TIMING = ("cron", "timezone", "misfire_policy", "concurrency_policy", "max_jitter_ms")


def job_spec(schedule: shapes.NewSchedule) -> job_pb2.JobSpec:
    """Return the spec of a new schedule; raises FaultError 422."""
    task = job_pb2.JobTask(key=TASK_KEY)
    task.spec.http.CopyFrom(_work(schedule.target))
    if schedule.retry is not None:
        task.spec.retry.max_attempts = schedule.retry.max_attempts
        task.spec.retry.initial_backoff.CopyFrom(_milliseconds(schedule.retry.backoff_ms))
        task.spec.retry.max_backoff.CopyFrom(_milliseconds(schedule.retry.max_backoff_ms))
    timing = job_pb2.Schedule(
        cron=schedule.cron,
        timezone=schedule.timezone,
        misfire_policy=_misfire(schedule.misfire_policy),
        concurrency_policy=_concurrency(schedule.concurrency_policy),
    )
    timing.max_jitter.CopyFrom(_milliseconds(schedule.max_jitter_ms))
    return job_pb2.JobSpec(name=schedule.name, schedule=timing, tasks=[task], surface=SURFACE)


def _work(target: shapes.NewTarget) -> spec_pb2.HttpWork:
    work = spec_pb2.HttpWork(url=target.url, method=target.method, headers=target.headers)
    work.request_timeout.CopyFrom(_milliseconds(target.timeout_ms))
    work.bearer_secret = "" if target.auth is None else target.auth.ref
    write_body(work, target.body, "target.body", rule_status=RULE_STATUS, header=ADDED_HEADER)
    return work


def write_change(request: job_pb2.UpdateJobRequest, change: shapes.ScheduleChange, stored: job_pb2.JobSpec) -> None:
    """Write a change into a request, over what is stored where a field of the contract changes in part; raises FaultError 422."""
    names = request.update_fields
    if change.name is not UNSET:
        request.spec.name = change.name
        names.append("name")
    if any(getattr(change, name) is not UNSET for name in _TIMING):
        request.spec.schedule.CopyFrom(stored.schedule)
        _write_timing(request.spec.schedule, change)
        names.append("schedule")
    if change.target is not UNSET or change.retry is not UNSET:
        task = request.spec.tasks.add()
        task.CopyFrom(stored.tasks[0])
        if change.target is not UNSET:
            _change_target(task.spec.http, change.target)
        if change.retry is not UNSET:
            policy = effective_retry(stored)
            _change_retry(policy, change.retry)
            task.spec.retry.CopyFrom(policy)
        names.append("tasks")
    if change.enabled is not UNSET:
        request.state = job_pb2.JOB_STATE_ACTIVE if change.enabled else job_pb2.JOB_STATE_PAUSED


def _write_timing(timing: job_pb2.Schedule, change: shapes.ScheduleChange) -> None:
    if change.cron is not UNSET:
        timing.cron = change.cron
    if change.timezone is not UNSET:
        timing.timezone = change.timezone
    if change.misfire_policy is not UNSET:
        timing.misfire_policy = _misfire(change.misfire_policy)
    if change.concurrency_policy is not UNSET:
        timing.concurrency_policy = _concurrency(change.concurrency_policy)
    if change.max_jitter_ms is not UNSET:
        timing.max_jitter.CopyFrom(_milliseconds(change.max_jitter_ms))


def _change_target(work: spec_pb2.HttpWork, change: shapes.TargetChange) -> None:
    """Change a request. Credentials are masked in what is stored: the scheduler puts them back for the masks it is sent."""
    added = has_added_header(work)
    if change.url is not UNSET:
        work.url = change.url
    if change.method is not UNSET:
        work.method = change.method
    if change.headers is not UNSET:
        work.headers.clear()
        work.headers.update(change.headers)
        if added and not any(name.lower() == ADDED_HEADER for name in change.headers):
            work.headers[ADDED_HEADER] = JSON_TYPE
    if change.body is not UNSET:
        if added:
            work.headers.pop(ADDED_HEADER, None)
        work.ClearField("body")
        write_body(work, change.body, "target.body", rule_status=RULE_STATUS, header=ADDED_HEADER)
    if change.timeout_ms is not UNSET:
        work.request_timeout.CopyFrom(_milliseconds(change.timeout_ms))
    if change.auth is not UNSET:
        work.bearer_secret = "" if change.auth is None else change.auth.ref


def has_added_header(work: spec_pb2.HttpWork) -> bool:
    """Whether a request has the content type that this API adds."""
    return ADDED_HEADER in work.headers and work.headers[ADDED_HEADER] == JSON_TYPE


def _change_retry(policy: spec_pb2.RetryPolicy, change: shapes.RetryChange) -> None:
    if change.max_attempts is not UNSET:
        policy.max_attempts = change.max_attempts
    if change.backoff_ms is not UNSET:
        policy.initial_backoff.CopyFrom(_milliseconds(change.backoff_ms))
    if change.max_backoff_ms is not UNSET:
        policy.max_backoff.CopyFrom(_milliseconds(change.max_backoff_ms))


def _milliseconds(count: int) -> Duration:
    return duration(count / 1_000)


def _misfire(name: str) -> job_pb2.MisfirePolicy.ValueType:
    return job_pb2.MisfirePolicy.Value(f"MISFIRE_POLICY_{name.upper()}")


def _concurrency(name: str) -> job_pb2.ConcurrencyPolicy.ValueType:
    return job_pb2.ConcurrencyPolicy.Value(f"CONCURRENCY_POLICY_{name.upper()}")
