"""From the JSON of `chadburn` to the contract's messages."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from foliot.v1 import job_pb2, spec_pb2
from foliot_gateway.apis.chadburn import shapes
from foliot_gateway.http.jobs import effective_retry
from foliot_gateway.http.times import duration

SURFACE = "chadburn"
"""The contract's `surface` of the jobs made here."""
TASK_KEY = "command"
"""The key of a job's only task."""


def job_spec(job: shapes.NewJob) -> job_pb2.JobSpec:
    """Return the spec of a new job."""
    task = job_pb2.JobTask(key=TASK_KEY)
    work = task.spec.command
    work.line = job.command
    work.environment.update(job.environment)
    work.working_directory = job.working_directory or ""
    task.spec.timeout.CopyFrom(duration(job.timeout))
    task.spec.retry.max_attempts = job.retries + 1
    write_retry_delay(task.spec.retry, job.retry_delay)
    return job_pb2.JobSpec(
        name=job.name,
        schedule=job_pb2.Schedule(cron=job.schedule),
        tasks=[task],
        tags=job.tags,
        surface=SURFACE,
    )


def write_retry_delay(policy: spec_pb2.RetryPolicy, delay_s: int) -> None:
    """Make a policy wait the same time before each attempt, in seconds."""
    policy.initial_backoff.CopyFrom(duration(delay_s))
    policy.max_backoff.CopyFrom(duration(delay_s))
    policy.multiplier = 1
    policy.jitter = 0


def write_change(request: job_pb2.UpdateJobRequest, change: shapes.JobChange, stored: job_pb2.JobSpec) -> None:
    """Write a change into a request, over what is stored where a field of the contract changes in part only."""
    spec, names = request.spec, request.update_fields
    if change.name is not UNSET:
        spec.name = change.name
        names.append("name")
    if change.tags is not UNSET:
        spec.tags.extend(change.tags)
        names.append("tags")
    if change.schedule is not UNSET:
        spec.schedule.CopyFrom(stored.schedule)
        spec.schedule.cron = change.schedule
        names.append("schedule")
    task = _changed_task(change, stored)
    if task is not None:
        spec.tasks.append(task)
        names.append("tasks")


def _changed_task(change: shapes.JobChange, stored: job_pb2.JobSpec) -> job_pb2.JobTask | None:
    """Return the only task with a change made to it, None where nothing of it changes.

    Environment values are masked in what is stored: the scheduler puts the values back for the masks it is sent.
    """
    task = job_pb2.JobTask()
    task.CopyFrom(stored.tasks[0])
    work = task.spec.command
    if change.command is not UNSET:
        work.line = change.command
    if change.environment is not UNSET:
        work.environment.clear()
        work.environment.update(change.environment)
    if change.working_directory is not UNSET:
        work.working_directory = change.working_directory or ""
    if change.timeout is not UNSET:
        task.spec.timeout.CopyFrom(duration(change.timeout))
    if not isinstance(change.retries, UnsetType) or not isinstance(change.retry_delay, UnsetType):
        policy = effective_retry(stored)
        if change.retries is not UNSET:
            policy.max_attempts = change.retries + 1
        if change.retry_delay is not UNSET:
            write_retry_delay(policy, change.retry_delay)
        task.spec.retry.CopyFrom(policy)
    given = (change.command, change.environment, change.working_directory, change.timeout, change.retries, change.retry_delay)
    return None if all(value is UNSET for value in given) else task
