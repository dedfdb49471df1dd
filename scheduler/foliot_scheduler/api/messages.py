"""What callers are shown: rows as the contract's messages. The one place that makes them, and that masks secrets.

What the leader answers with (the core's objects, as they stand) is shown by way of the same rows, so a task looks
the same whether the leader just changed it or a replica read it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from foliot.kit.ids import format_uuid
from foliot.v1 import access_pb2, job_pb2, run_pb2, spec_pb2, task_pb2, worker_pb2
from foliot_scheduler.core.model import JobState
from foliot_scheduler.core.shapes import shape_of_plan
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import Micros
from foliot_scheduler.specs.enums import (
    JOB_SHAPE_NUMBERS,
    JOB_STATE_NUMBERS,
    OUTCOME_NUMBERS,
    ROLE_NUMBERS,
    RUN_STATE_NUMBERS,
    RUN_TRIGGER_NUMBERS,
    TASK_STATE_NUMBERS,
    TRIGGER_RULE_NUMBERS,
)
from foliot_scheduler.specs.jobs import shape_of_spec
from foliot_scheduler.specs.masking import mask_job_spec, mask_task_spec
from foliot_scheduler.specs.retry import ONE_ATTEMPT, plan_retry, retry_message
from foliot_scheduler.store.rows import AttemptRow, JobRow, TaskRow

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from foliot_scheduler.core.effects import AuditRecord
    from foliot_scheduler.core.graph import Graph
    from foliot_scheduler.core.model import Job, Task
    from foliot_scheduler.core.types import TaskId
    from foliot_scheduler.store.api_keys import ApiKeyRow
    from foliot_scheduler.store.fires import FireRow
    from foliot_scheduler.store.rows import HeldTask, LogRow, RunRow, RunTaskRow, WorkerRow

_SECOND_US: Final = 1_000_000

BRIEF_ERROR_CHARS: Final = 1_000
"""Of the error of a task shown in brief."""

BRIEF_ERROR_CHARS_MANY: Final = 80
"""The same where an answer has more than MANY_TASKS: with 100,000 of them the answer still fits a message."""

MANY_TASKS: Final = 1_000

_retry_message = functools.lru_cache(maxsize=256)(retry_message)


def set_instant(field: Timestamp, instant: Micros | None) -> None:
    """Set a timestamp in place; None leaves it unset."""
    if instant is not None:
        # By hand, for FromMicroseconds takes four times as long; setting any part of it makes the field present.
        field.seconds, rest = divmod(instant, _SECOND_US)
        field.nanos = rest * 1_000


def task_row(task: Task) -> TaskRow:
    """A task as the leader has it, as a row."""
    plan, run = task.plan, task.run
    return TaskRow(
        task.id,
        task.project,
        task.run_id,
        None if run is None else run.job_id,
        task.key,
        task.position,
        plan.name,
        plan.priority,
        task.state,
        task.trigger_rule,
        task.depends_on,
        plan.spec,
        task.attempt,
        task.failed_attempts,
        task.lost_attempts,
        task.outcome,
        task.exit_code,
        task.error,
        task.created,
        task.updated,
        task.due,
        task.started,
        task.ended,
        task.worker_id,
        task.worker_address,
        task.traceparent,
    )


def task_message(row: TaskRow, *, dependencies: Sequence[TaskId] | None = None, masked: bool = True) -> task_pb2.Task:
    """A task as it stands, without what only GetTask shows.

    `dependencies` are given for a task of a run, whose row does not name them. Only who is to run the task is shown
    it unmasked.
    """
    message = task_pb2.Task(
        id=format_uuid(row.id),
        project=row.project,
        state=TASK_STATE_NUMBERS[row.state],
        attempt=row.attempt,
        failed_attempts=row.failed_attempts,
        worker_id=row.worker_id or "",
        error=row.error,
        dependencies=id_texts(row.depends_on if dependencies is None else dependencies),
        trigger_rule=TRIGGER_RULE_NUMBERS[row.trigger_rule],
        run_id="" if row.run_id is None else format_uuid(row.run_id),
        key=row.key,
        job_id="" if row.job_id is None else format_uuid(row.job_id),
    )
    _fill_spec(message.spec, row.spec, masked=masked)
    set_instant(message.created_at, row.created_at)
    set_instant(message.updated_at, row.updated_at)
    if row.state is TaskState.SCHEDULED:
        set_instant(message.due_at, row.due_at)
    set_instant(message.started_at, row.started_at)
    set_instant(message.ended_at, row.ended_at)
    if row.exit_code is not None:
        message.exit_code = row.exit_code
    return message


def whole_task_message(
    row: TaskRow, attempts: Sequence[AttemptRow], dependencies: Sequence[TaskId] | None, *, masked: bool = True
) -> task_pb2.Task:
    """A task with its output, checkpoint and attempts."""
    message = task_message(row, dependencies=dependencies, masked=masked)
    message.output, message.error_output = row.output, row.error_output
    message.checkpoint_json = row.checkpoint
    for attempt in attempts:
        message.attempts.append(_attempt_message(attempt))
    # The rows of attempts tell of those that others followed; the task itself tells of the last.
    if row.attempt and row.attempt not in {attempt.number for attempt in attempts}:
        message.attempts.append(_latest_attempt_message(row))
    return message


def _fill_spec(spec: spec_pb2.TaskSpec, raw: bytes, *, masked: bool) -> None:
    spec.MergeFromString(raw)
    # Stored specs leave out what is the default of the retry policy; callers see every part.
    retry = plan_retry(spec.retry) if spec.HasField("retry") else ONE_ATTEMPT
    spec.retry.CopyFrom(_retry_message(retry))
    if masked:
        mask_task_spec(spec)


def _attempt_message(row: AttemptRow) -> task_pb2.Attempt:
    message = task_pb2.Attempt(
        number=row.number,
        worker_id=row.worker_id,
        worker_address=row.worker_address,
        outcome=OUTCOME_NUMBERS[row.outcome],
        error=row.error,
    )
    set_instant(message.started_at, row.started_at)
    set_instant(message.ended_at, row.ended_at)
    if row.exit_code is not None:
        message.exit_code = row.exit_code
    return message


def _latest_attempt_message(row: TaskRow) -> task_pb2.Attempt:
    message = task_pb2.Attempt(number=row.attempt, worker_id=row.worker_id or "", worker_address=row.worker_address)
    set_instant(message.started_at, row.started_at)
    if row.ended_at is not None:
        message.error = row.error
        set_instant(message.ended_at, row.ended_at)
        if row.outcome is not None:
            message.outcome = OUTCOME_NUMBERS[row.outcome]
        if row.exit_code is not None:
            message.exit_code = row.exit_code
    return message


def log_line(row: LogRow) -> task_pb2.LogLine:
    """A line that a task wrote."""
    message = task_pb2.LogLine(attempt=row.attempt, level=row.level, message=row.message, number=row.number)
    set_instant(message.at, row.at)
    return message


def run_message(row: RunRow, tasks: Sequence[RunTaskRow] = (), *, tasks_shown: int = 0) -> run_pb2.Run:
    """A run as it stands, with its tasks where they are given; `tasks_shown`: how many tasks the answer has in all."""
    message = run_pb2.Run(
        id=format_uuid(row.id),
        project=row.project,
        job_id=format_uuid(row.job_id),
        job_version=row.job_version,
        state=RUN_STATE_NUMBERS[row.state],
        trigger=RUN_TRIGGER_NUMBERS[row.trigger],
        redrive_of="" if row.redrive_of is None else format_uuid(row.redrive_of),
        redriven_by="" if row.redriven_by is None else format_uuid(row.redriven_by),
    )
    for state, number in TASK_STATE_NUMBERS.items():
        if count := row.counts.get(state, 0):
            message.counts.add(state=number, count=count)
    set_instant(message.due_at, row.due_at)
    set_instant(message.created_at, row.created_at)
    set_instant(message.started_at, row.started_at)
    set_instant(message.ended_at, row.ended_at)
    error_chars = BRIEF_ERROR_CHARS_MANY if max(len(tasks), tasks_shown) > MANY_TASKS else BRIEF_ERROR_CHARS
    for task in tasks:
        brief = message.tasks.add(
            id=format_uuid(task.id),
            key=task.key,
            state=TASK_STATE_NUMBERS[task.state],
            attempt=task.attempt,
            error=task.error[:error_chars],
            worker_id=task.worker_id or "",
            exit_code=task.exit_code,
            failed_attempts=task.failed_attempts,
            output=task.output,
            error_output=task.error_output,
        )
        set_instant(brief.started_at, task.started_at)
        set_instant(brief.ended_at, task.ended_at)
    return message


def job_row(job: Job) -> JobRow:
    """A job as the leader has it, as a row."""
    return JobRow(
        job.id,
        job.project,
        job.state,
        job.version,
        job.created,
        job.updated,
        job.next_due,
        job.fires_at,
        tuple(job.waiting_runs),
        job.plan.spec,
        shape_of_plan(job.plan),
    )


def job_message(row: JobRow, *, graph: Graph | None = None, with_tasks: bool = True) -> job_pb2.Job:
    """A job as it stands; with the levels of its DAG where that is given, without its tasks where that is asked for."""
    message = job_pb2.Job(id=format_uuid(row.id), project=row.project, state=JOB_STATE_NUMBERS[row.state], version=row.version)
    message.spec.MergeFromString(row.spec)
    message.shape = JOB_SHAPE_NUMBERS[shape_of_spec(message.spec) if row.shape is None else row.shape]
    message.task_count = len(message.spec.tasks) if row.task_count is None else row.task_count
    if with_tasks:
        mask_job_spec(message.spec)
    else:
        message.spec.ClearField("tasks")
    set_instant(message.created_at, row.created_at)
    set_instant(message.updated_at, row.updated_at)
    if row.state is JobState.ACTIVE:  # a paused job remembers which due time it has not dealt with; nothing fires at it
        set_instant(message.next_due_at, row.next_due_at)
    if graph is not None:
        for level in graph.levels():
            message.levels.add(keys=[graph.keys[position] for position in level])
    return message


def fire_message(row: FireRow) -> job_pb2.Fire:
    """What became of one due time."""
    message = job_pb2.Fire(run_id="" if row.run_id is None else format_uuid(row.run_id), skip_reason=row.skip_reason)
    set_instant(message.due_at, row.due_at)
    set_instant(message.decided_at, row.decided_at)
    return message


def worker_message(row: WorkerRow, held: Sequence[HeldTask] | None = None) -> worker_pb2.Worker:
    """A worker as it stands, with the caller's tasks that it holds where they are given.

    Its row is written now and then only, so what it holds is the better witness of how much that is.
    """
    if row.offline:
        state = worker_pb2.WORKER_STATE_OFFLINE
    else:
        state = worker_pb2.WORKER_STATE_ACTIVE if row.current_tasks or held else worker_pb2.WORKER_STATE_IDLE
    message = worker_pb2.Worker(
        id=row.id,
        hostname=row.hostname,
        state=state,
        version=row.version,
        queues=sorted(row.queues),
        labels=row.labels,
        tags=row.tags,
        capacity=row.capacity,
        current_task_ids=id_texts(task.id for task in held or ()),
        current_task_names=[task.name for task in held or ()],
        current_tasks=row.current_tasks if held is None else len(held),
        tasks_completed=row.tasks_completed,
        tasks_failed=row.tasks_failed,
        is_executor=row.is_executor,
    )
    set_instant(message.registered_at, row.registered_at)
    set_instant(message.last_heartbeat_at, row.last_heartbeat_at)
    if row.cpu is not None or row.memory is not None or row.disk is not None:
        message.resources.cpu_usage = row.cpu or 0.0
        message.resources.memory_usage = row.memory or 0.0
        message.resources.disk_usage = row.disk or 0.0
    return message


def id_texts(ids: Iterable[TaskId]) -> list[str]:
    """Ids as callers know them."""
    return [format_uuid(task_id) for task_id in ids]


def audit_record_message(record: AuditRecord) -> access_pb2.AuditRecord:
    """Show who changed what."""
    ids = record.ids
    message = access_pb2.AuditRecord(
        id=format_uuid(record.id),
        project=record.project,
        actor=record.actor,
        role=ROLE_NUMBERS[record.role],
        method=record.method,
        request_id=record.request_id,
        object_ids=[format_uuid(ids[place : place + 16]) for place in range(0, len(ids), 16)],
        object_count=record.touched,
    )
    set_instant(message.at, record.at)
    return message


def api_key_message(row: ApiKeyRow) -> access_pb2.ApiKey:
    """Show an API key, which nobody knows the secret of."""
    message = access_pb2.ApiKey(
        id=format_uuid(row.id),
        name=row.name,
        project=row.project,
        role=ROLE_NUMBERS[row.role],
        hint=row.hint,
        requests_per_minute=row.requests_per_minute,
    )
    set_instant(message.created_at, row.created_at)
    set_instant(message.expires_at, row.expires_at)
    set_instant(message.revoked_at, row.revoked_at)
    return message
