"""From the JSON of `tasks` to the contract's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import UNSET

from foliot.v1 import spec_pb2, task_pb2
from foliot_gateway.apis.tasks import shapes
from foliot_gateway.apis.tasks.fields import RULE_STATUS
from foliot_gateway.apis.tasks.identifiers import TASK
from foliot_gateway.http.fault import Fault, FaultError, FieldFault
from foliot_gateway.http.json_text import broken, json_object
from foliot_gateway.http.times import timestamp

BACKOFF_FIRST: Final = Duration(seconds=1)
BACKOFF_MAX: Final = Duration(seconds=60)
BACKOFF_MULTIPLIER: Final = 2.0
"""A failed attempt is retried after 1 s, doubling to at most 60 s, with full jitter, which is the contract's default."""


def new_task(given: shapes.NewTask) -> task_pb2.NewTask:
    """Return a task to submit; raises FaultError 422."""
    spec = spec_pb2.TaskSpec(
        name=given.name,
        description=given.description or "",
        tags=given.tags,
        priority=given.priority,
        timeout=Duration(seconds=given.timeout_seconds),
        retry=retry_policy(given.max_retries),
        checkpoint_enabled=given.checkpoint_enabled,
        command=spec_pb2.CommandWork(line=given.command),
    )
    if given.scheduled_at is not None:
        spec.start_at.CopyFrom(_scheduled_at(given.scheduled_at))
    return task_pb2.NewTask(spec=spec, dependencies=task_uuids(given.dependencies))


def retry_policy(retries: int) -> spec_pb2.RetryPolicy:
    """Return the policy of a task with as many retries."""
    return spec_pb2.RetryPolicy(
        max_attempts=retries + 1,
        initial_backoff=BACKOFF_FIRST,
        multiplier=BACKOFF_MULTIPLIER,
        max_backoff=BACKOFF_MAX,
    )


def _scheduled_at(moment: datetime) -> Timestamp:
    try:
        return timestamp(moment)
    except OverflowError:
        broken("scheduled_at", "must be within the years 1 to 9999", rule_status=RULE_STATUS)


def task_uuids(shown: Iterable[str]) -> list[str]:
    """Return the UUIDs of dependencies; raises FaultError 422 naming those that cannot be the id of any task."""
    found: list[str] = []
    wrong: list[tuple[int, str]] = []
    for index, one in enumerate(shown):
        uuid = TASK.find_uuid(one)
        if uuid is None:
            wrong.append((index, one))
        else:
            found.append(uuid)
    if wrong:
        raise FaultError(
            Fault(
                status=RULE_STATUS,
                code="unknown_dependency",
                detail=f"There is no task {wrong[0][1][:100]!r} to depend on.",
                fields=tuple(FieldFault(f"dependencies[{index}]", "must be the id of a task") for index, _ in wrong[:20]),
                facts={"tasks": [one[:100] for _, one in wrong[:20]]},
            )
        )
    return found


def needs_stored(change: shapes.TaskChange) -> bool:
    """Say whether a change replaces only a part of a field of the contract, whose other parts must be read first."""
    return change.max_retries is not UNSET or change.command is not UNSET


def task_update(uuid: str, change: shapes.TaskChange, stored: spec_pb2.TaskSpec) -> task_pb2.UpdateTaskRequest:
    """Return the request that makes a change; raises FaultError 422.

    `stored` is the task's spec where `needs_stored` asks for it: this API has no field for all parts of a retry policy and of a
    command, and those it has no field for stay as they are.
    """
    request = task_pb2.UpdateTaskRequest(task_id=uuid)
    spec, names = request.task.spec, request.update_fields
    for name in ("name", "tags", "priority", "checkpoint_enabled"):
        value = getattr(change, name)
        if value is not UNSET:
            names.append(name)
            if name == "tags":
                spec.tags.extend(value)
            else:
                setattr(spec, name, value)
    if change.description is not UNSET:
        names.append("description")
        spec.description = change.description or ""
    if change.timeout_seconds is not UNSET:
        names.append("timeout")
        spec.timeout.seconds = change.timeout_seconds
    if change.scheduled_at is not UNSET:
        names.append("start_at")
        if isinstance(change.scheduled_at, datetime):
            spec.start_at.CopyFrom(_scheduled_at(change.scheduled_at))
    if change.dependencies is not UNSET:
        names.append("dependencies")
        request.task.dependencies.extend(task_uuids(change.dependencies))
    if change.max_retries is not UNSET:
        names.append("retry")
        spec.retry.CopyFrom(stored.retry)
        spec.retry.max_attempts = change.max_retries + 1
    if change.command is not UNSET:
        names.append("work")
        spec.command.CopyFrom(stored.command)
        spec.command.line = change.command
    if not names:
        broken("", "must name a field to change", rule_status=RULE_STATUS)
    return request


def checkpoint_json(given: shapes.NewCheckpoint) -> str:
    """Return the checkpoint as the text it came as; raises FaultError 422 for what is no object."""
    return json_object(given.checkpoint_data, "checkpoint_data", rule_status=RULE_STATUS)
