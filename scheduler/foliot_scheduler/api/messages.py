"""What callers are shown: the core's objects as the contract's messages. The one place that makes them, and that masks secrets.

Rows of PostgreSQL come here as the core's objects too (see specs.records), so a task looks the same whether the
leader just changed it or a replica read it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from foliot.kit.ids import format_uuid
from foliot.v1 import job_pb2, run_pb2, spec_pb2, task_pb2, worker_pb2
from foliot_scheduler.core.model import Kind, Outcome
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.specs.enums import (
    JOB_STATE_NUMBERS,
    OUTCOME_NUMBERS,
    RUN_STATE_NUMBERS,
    RUN_TRIGGER_NUMBERS,
    TASK_STATE_NUMBERS,
    TRIGGER_RULE_NUMBERS,
)
from foliot_scheduler.specs.masking import mask_job_spec, mask_task_spec
from foliot_scheduler.specs.retry import retry_message

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from foliot_scheduler.core.model import Job, RetryPolicy, Run, Task
    from foliot_scheduler.core.types import JobId, Micros, TaskId

_SECOND_US: Final = 1_000_000

_retry_message = functools.lru_cache(maxsize=256)(retry_message)


def set_instant(field: Timestamp, instant: Micros | None) -> None:
    """Set a timestamp in place; None leaves it unset."""
    if instant is not None:
        # By hand, for FromMicroseconds takes four times as long; setting any part of it makes the field present.
        field.seconds, rest = divmod(instant, _SECOND_US)
        field.nanos = rest * 1_000


def task_message(task: Task, *, job_id: JobId | None = None, key: str | None = None) -> task_pb2.Task:
    """A task as it stands, without what only GetTask shows.

    `job_id` and `key` are given for a task of a run that is not in memory.
    """
    if task.run is not None:
        job_id, key = task.run.job_id, task.key
    message = task_pb2.Task(
        id=format_uuid(task.id),
        project=task.project,
        state=TASK_STATE_NUMBERS[task.state],
        attempt=task.attempt,
        failed_attempts=task.failed_attempts,
        worker_id=task.worker_id or "",
        error=task.error,
        dependencies=[format_uuid(dependency) for dependency in task.depends_on],
        trigger_rule=TRIGGER_RULE_NUMBERS[task.trigger_rule],
        run_id="" if task.run_id is None else format_uuid(task.run_id),
        key=key or "",
        job_id="" if job_id is None else format_uuid(job_id),
    )
    _fill_spec(message.spec, task)
    set_instant(message.created_at, task.created)
    set_instant(message.updated_at, task.updated)
    if task.state is TaskState.SCHEDULED:
        set_instant(message.due_at, task.due)
    set_instant(message.started_at, task.started)
    set_instant(message.ended_at, task.ended)
    if task.exit_code is not None:
        message.exit_code = task.exit_code
    return message


def _fill_spec(spec: spec_pb2.TaskSpec, task: Task) -> None:
    spec.MergeFromString(task.plan.spec)
    mask_task_spec(spec)
    _show_retry(spec, task.plan.retry)


def _show_retry(spec: spec_pb2.TaskSpec, retry: RetryPolicy) -> None:
    # Stored specs leave out what is the default of it; callers see every part.
    spec.retry.CopyFrom(_retry_message(retry))


def attempt_message(
    number: int,
    *,
    worker_id: str,
    started: Micros | None,
    ended: Micros | None,
    outcome: Outcome | None,
    exit_code: int | None,
    error: str,
) -> task_pb2.Attempt:
    """One attempt."""
    message = task_pb2.Attempt(number=number, worker_id=worker_id, error=error)
    if outcome is not None:
        message.outcome = OUTCOME_NUMBERS[outcome]
    set_instant(message.started_at, started)
    set_instant(message.ended_at, ended)
    if exit_code is not None:
        message.exit_code = exit_code
    return message


def latest_attempt_message(task: Task) -> task_pb2.Attempt:
    """The attempt that the task itself tells of: the one that runs, or its last."""
    running = task.state is TaskState.RUNNING
    return attempt_message(
        task.attempt,
        worker_id=task.worker_id or "",
        started=task.started,
        ended=None if running else task.ended,
        outcome=None if running else task.outcome,
        exit_code=None if running else task.exit_code,
        error="" if running else task.error,
    )


def run_message(run: Run, counts: Mapping[TaskState, int]) -> run_pb2.Run:
    """A run as it stands, without its tasks."""
    message = run_pb2.Run(
        id=format_uuid(run.id),
        project=run.project,
        job_id=format_uuid(run.job_id),
        job_version=run.job_version,
        state=RUN_STATE_NUMBERS[run.state],
        trigger=RUN_TRIGGER_NUMBERS[run.trigger],
        counts=[
            run_pb2.TaskCount(state=TASK_STATE_NUMBERS[state], count=count)
            for state, count in sorted(counts.items(), key=_by_state_number)
            if count
        ],
    )
    set_instant(message.due_at, run.due_at)
    set_instant(message.created_at, run.created)
    set_instant(message.started_at, run.started)
    set_instant(message.ended_at, run.ended)
    return message


def _by_state_number(entry: tuple[TaskState, int]) -> int:
    return TASK_STATE_NUMBERS[entry[0]]


def job_message(job: Job, *, levels: bool = False, work: bool = True) -> job_pb2.Job:
    """A job as it stands; with the levels of its DAG, and without its tasks' work, where asked for."""
    message = job_pb2.Job(
        id=format_uuid(job.id),
        project=job.project,
        state=JOB_STATE_NUMBERS[job.state],
        version=job.version,
    )
    message.spec.MergeFromString(job.plan.spec)
    if work:
        mask_job_spec(message.spec)
    else:
        for task in message.spec.tasks:
            task.spec.ClearField("work")
    set_instant(message.created_at, job.created)
    set_instant(message.updated_at, job.updated)
    set_instant(message.next_due_at, job.next_due)
    if levels:
        nodes = job.plan.nodes
        for level in job.plan.graph.levels():
            message.levels.add(keys=[nodes[position].key for position in level])
    return message


def id_texts(ids: Iterable[TaskId]) -> list[str]:
    """Ids as callers know them."""
    return [format_uuid(task_id) for task_id in ids]


def kinds_shown(kinds: Sequence[str]) -> list[str]:
    """Kinds of work as callers name them; a marker is none."""
    return [kind for kind in kinds if kind != Kind.MARKER]


def resources_message(cpu: float, memory: float, disk: float) -> worker_pb2.Resources:
    """How busy a worker's machine is."""
    return worker_pb2.Resources(cpu_usage=cpu, memory_usage=memory, disk_usage=disk)
