"""Changes of a stored job's spec: named fields, or one task added, replaced or removed.

Each gives the whole new spec, for `plan_job` to check and plan; nothing stored is touched. Masks that callers send
back are replaced by the stored secrets here, before the rules are checked.
"""

from __future__ import annotations

from collections.abc import Collection

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import job_pb2
from foliot_scheduler.specs.fields import JOB_FIELDS, check_update_fields, copy_fields
from foliot_scheduler.specs.jobs import check_job_task
from foliot_scheduler.specs.masking import unmask_job_spec, unmask_task_spec
from foliot_scheduler.specs.rules import Violations


def merge_job(stored: job_pb2.JobSpec, update: job_pb2.JobSpec, names: Collection[str]) -> job_pb2.JobSpec:
    """The stored spec with the named fields of the update. Raises FoliotError INVALID_FIELD for no name, or one not known."""
    violations = Violations()
    check_update_fields(names, JOB_FIELDS, violations)
    violations.raise_if_any()
    merged = _copy(stored)
    copy_fields(merged, update, names)
    if "tasks" in names:
        unmask_job_spec(merged, stored)
    return merged


def add_task(stored: job_pb2.JobSpec, task: job_pb2.JobTask) -> job_pb2.JobSpec:
    """The stored spec with one task more, at the end. Raises FoliotError INVALID_FIELD or DUPLICATE_KEY."""
    _check(task)
    if _position(stored, task.key) is not None:
        message = f"two tasks have the key {task.key!r}"
        raise FoliotError(ErrorReason.DUPLICATE_KEY, message, metadata={"ids": task.key})
    merged = _copy(stored)
    merged.tasks.append(task)
    return merged


def replace_task(stored: job_pb2.JobSpec, task: job_pb2.JobTask) -> job_pb2.JobSpec:
    """The stored spec with the task of that key replaced, in its place. Raises FoliotError INVALID_FIELD or NOT_FOUND."""
    position = _position(stored, task.key) if task.key else None
    if position is not None:
        before = stored.tasks[position].spec
        fresh = job_pb2.JobTask()
        fresh.CopyFrom(task)
        unmask_task_spec(fresh.spec, before)
        task = fresh
    _check(task)
    if position is None:
        raise _no_task(task.key)
    merged = _copy(stored)
    merged.tasks[position].CopyFrom(task)
    return merged


def delete_task(stored: job_pb2.JobSpec, key: str) -> job_pb2.JobSpec:
    """The stored spec without the task. Raises FoliotError NOT_FOUND, or HAS_DEPENDENTS naming them."""
    position = _position(stored, key)
    if position is None:
        raise _no_task(key)
    dependents = [task.key for task in stored.tasks if key in task.dependencies]
    if dependents:
        message = f"other tasks depend on {key!r}: {', '.join(dependents[:10])}"
        raise FoliotError(ErrorReason.HAS_DEPENDENTS, message, metadata={"ids": ",".join(dependents)})
    merged = _copy(stored)
    del merged.tasks[position]
    return merged


def _check(task: job_pb2.JobTask) -> None:
    # Checked on its own first, so that the path in the error is the request's and not that of the whole spec.
    violations = Violations()
    check_job_task("task", task, violations)
    violations.raise_if_any()


def _no_task(key: str) -> FoliotError:
    return FoliotError(ErrorReason.NOT_FOUND, f"the job has no task {key!r}")


def _position(spec: job_pb2.JobSpec, key: str) -> int | None:
    return next((position for position, task in enumerate(spec.tasks) if task.key == key), None)


def _copy(spec: job_pb2.JobSpec) -> job_pb2.JobSpec:
    fresh = job_pb2.JobSpec()
    fresh.CopyFrom(spec)
    return fresh
