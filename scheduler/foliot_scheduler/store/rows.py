"""What reads return: rows of PostgreSQL as frozen dataclasses, fields in the order of the queries' columns.

Ids are bytes and instants Micros, as in the core; states are the core's enums.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from foliot_scheduler.core.model import JobState, Outcome, Trigger, TriggerRule
from foliot_scheduler.core.shapes import JobShape
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import JobId, Micros, Project, RunId, TaskId, WorkerId
from foliot_scheduler.store.pool import Row
from foliot_scheduler.store.recovery import split_ids

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Part of a list."""

    rows: list[RowT]
    end: bytes
    """Where it ended, to be given back for the next page; empty on the last page."""
    total: int | None
    """How many rows the whole list has, if it was asked for."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as lists show it."""

    id: TaskId
    project: Project
    run_id: RunId | None
    job_id: JobId | None
    key: str
    position: int
    name: str
    priority: int
    state: TaskState
    trigger_rule: TriggerRule
    depends_on: tuple[TaskId, ...]
    spec: bytes
    attempt: int
    failed_attempts: int
    lost_attempts: int
    outcome: Outcome | None
    exit_code: int | None
    error: str
    created_at: Micros
    updated_at: Micros
    due_at: Micros | None
    started_at: Micros | None
    ended_at: Micros | None
    worker_id: WorkerId | None
    worker_address: str
    traceparent: str
    output: bytes = b""
    """Set where one task is read."""
    error_output: bytes = b""
    checkpoint: str = ""


def task_row(row: Row) -> TaskRow:
    """Read a task."""
    values = dict(row)
    values["state"] = TaskState(values["state"])
    values["trigger_rule"] = TriggerRule(values["trigger_rule"])
    values["depends_on"] = split_ids(values["depends_on"])
    if values["outcome"] is not None:
        values["outcome"] = Outcome(values["outcome"])
    return TaskRow(**values)


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An ended attempt that was followed by another."""

    number: int
    worker_id: WorkerId
    worker_address: str
    started_at: Micros | None
    ended_at: Micros
    outcome: Outcome
    exit_code: int | None
    error: str


def attempt_row(row: Row) -> AttemptRow:
    """Read an attempt."""
    return AttemptRow(**{**dict(row), "outcome": Outcome(row["outcome"])})


@dataclass(frozen=True, slots=True)
class LogRow:
    """A line that a task wrote."""

    at: Micros
    attempt: int
    level: str
    message: str
    number: int


@dataclass(frozen=True, slots=True)
class RunTaskRow:
    """A task of a run, in brief."""

    id: TaskId
    key: str
    position: int
    state: TaskState
    attempt: int
    error: str
    started_at: Micros | None
    ended_at: Micros | None
    worker_id: WorkerId | None
    exit_code: int | None = None
    failed_attempts: int = 0
    output: bytes = b""
    """Its last part; set by lists that ask for it, as is the next."""
    error_output: bytes = b""


def run_task_row(row: Row, output: bytes = b"", error_output: bytes = b"") -> RunTaskRow:
    """Read a task of a run."""
    values = {name: value for name, value in row.items() if name not in {"run_id", "output_bytes", "error_output_bytes"}}
    return RunTaskRow(**{**values, "state": TaskState(row["state"]), "output": output, "error_output": error_output})


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run."""

    id: RunId
    project: Project
    job_id: JobId
    job_version: int
    state: RunState
    trigger: Trigger
    cancelled: bool
    due_at: Micros | None
    created_at: Micros
    started_at: Micros | None
    ended_at: Micros | None
    counts: Mapping[TaskState, int] = field(default_factory=dict)
    """How many of its tasks are in each state; states without any are left out."""
    redrive_of: RunId | None = None
    redriven_by: RunId | None = None


def run_row(row: Row, live_counts: Mapping[RunId, Mapping[TaskState, int]]) -> RunRow:
    """Read a run; of a live one the tasks were counted apart."""
    values = dict(row)
    values["state"] = RunState(values["state"])
    values["trigger"] = Trigger(values["trigger"])
    if values["counts"] is None:
        values["counts"] = live_counts.get(values["id"], {})
    else:
        values["counts"] = {TaskState(state): count for state, count in json.loads(values["counts"]).items()}
    return RunRow(**values)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its current version."""

    id: JobId
    project: Project
    state: JobState
    version: int
    created_at: Micros
    updated_at: Micros
    next_due_at: Micros | None
    fires_at: Micros | None
    waiting_runs: tuple[Micros, ...]
    spec: bytes
    """A serialized JobSpec; in lists without its tasks, unless they were asked for."""
    shape: JobShape | None = None
    """None: the spec says it, which is whole then."""
    task_count: int | None = None
    """None: the spec says it."""


def job_row(row: Row) -> JobRow:
    """Read a job."""
    values = dict(row)
    values["state"] = JobState(values["state"])
    values["waiting_runs"] = tuple(values["waiting_runs"] or ())
    if values.get("shape") is not None:
        values["shape"] = JobShape(values["shape"])
    return JobRow(**values)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker, or an executor of a project."""

    project: str
    """Empty for a worker that serves all projects."""
    id: WorkerId
    hostname: str
    version: str
    queues: Sequence[str]
    labels: Mapping[str, str]
    tags: Sequence[str]
    capacity: int
    is_executor: bool
    registered_at: Micros
    last_heartbeat_at: Micros
    cpu: float | None
    memory: float | None
    disk: float | None
    tasks_completed: int
    tasks_failed: int
    current_tasks: int
    offline: bool


def worker_row(row: Row) -> WorkerRow:
    """Read a worker."""
    return WorkerRow(**{**dict(row), "labels": json.loads(row["labels"]), "tags": row["tags"] or ()})


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task whose lease a worker holds."""

    id: TaskId
    name: str


@dataclass(frozen=True, slots=True)
class StatsRow:
    """Counts of a project's work."""

    live: Mapping[TaskState, int]
    ended: Mapping[TaskState, int]
    """Since the time that was asked for."""
    waiting: Mapping[int, int]
    """Ready tasks by priority, highest first."""
    jobs: int
    live_runs: int


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """How many workers are busy, idle, and gone."""

    active: int
    idle: int
    offline: int


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """What the first request with an idempotency key was answered."""

    digest: bytes
    ids: tuple[bytes, ...]
    created_at: Micros
