"""From the contract's tasks to the JSON of `tasks`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import UNSET

from foliot.v1 import spec_pb2, task_pb2
from foliot_gateway.apis.tasks import shapes
from foliot_gateway.apis.tasks.fields import shown_ids
from foliot_gateway.apis.tasks.identifiers import TASK
from foliot_gateway.apis.tasks.words import STATUS
from foliot_gateway.http.times import moment, required_moment, seconds

_WAITING: Final = frozenset({spec_pb2.TASK_STATE_BLOCKED, spec_pb2.TASK_STATE_SCHEDULED, spec_pb2.TASK_STATE_READY})


def task(found: task_pb2.Task) -> shapes.Task:
    """Return a task as it stands."""
    spec = found.spec
    kind = spec.WhichOneof("work")
    timeout_s = seconds(spec.timeout)
    return shapes.Task(
        id=TASK.shown(found.id),
        name=spec.name,
        description=spec.description or None,
        command=spec.command.line if kind == "command" else None,
        status=STATUS[found.state],
        priority=spec.priority,
        retry_count=retry_count(found),
        max_retries=max(0, spec.retry.max_attempts - 1),
        created_at=required_moment(found.created_at),
        updated_at=required_moment(found.updated_at),
        scheduled_at=moment(spec, "start_at"),
        started_at=moment(found, "started_at"),
        completed_at=moment(found, "ended_at"),
        timeout_seconds=int(timeout_s) if timeout_s.is_integer() else timeout_s,
        tags=list(spec.tags),
        dependencies=[TASK.shown(uuid) for uuid in found.dependencies],
        worker_id=found.worker_id or None,
        result=found.output.decode("utf-8", "replace") if found.state == spec_pb2.TASK_STATE_SUCCEEDED else None,
        # The scheduler names a dependency that did not succeed by its bare UUID.
        error=shown_ids(found.error) if found.error else None,
        checkpoint_data=msgspec.Raw(found.checkpoint_json.encode("utf-8")) if found.checkpoint_json else None,
        checkpoint_enabled=spec.checkpoint_enabled,
        kind=UNSET if kind == "command" else kind or "marker",
    )


def retry_count(found: task_pb2.Task) -> int:
    """Return how many attempts followed the first, one that is about to follow included."""
    return found.attempt if found.state in _WAITING else max(0, found.attempt - 1)


def cancelled(found: task_pb2.Task) -> shapes.Cancelled:
    """Return what the answer to a cancellation tells."""
    return shapes.Cancelled(id=TASK.shown(found.id), status=STATUS[found.state], updated_at=required_moment(found.updated_at))


def retried(found: task_pb2.Task) -> shapes.Retried:
    """Return what the answer to a retry tells."""
    return shapes.Retried(
        id=TASK.shown(found.id),
        status=STATUS[found.state],
        retry_count=retry_count(found),
        updated_at=required_moment(found.updated_at),
    )


def log_lines(lines: Iterable[task_pb2.LogLine]) -> list[shapes.LogLine]:
    """Return lines that a task wrote."""
    return [shapes.LogLine(timestamp=required_moment(line.at), level=line.level, message=line.message) for line in lines]  # type: ignore[arg-type]  # the scheduler keeps to the levels
