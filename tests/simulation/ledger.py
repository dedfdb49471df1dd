"""What the clients of a story asked for and were told: promises that the checker holds the scheduler to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foliot.v1 import job_pb2, task_pb2
    from foliot_scheduler.core.types import JobId, RunId, TaskId


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A request with an idempotency key, and the ids that it was answered with."""

    method: str
    request: Any
    ids: tuple[bytes, ...]


@dataclass(slots=True)
class JobOrder:
    """A job as its creator knows it."""

    spec: job_pb2.JobSpec
    """As it was created."""
    restated: bool = False
    """Somebody asked for it to be paused or resumed."""
    respecified: bool = False
    """Somebody asked for other tasks or another schedule."""
    rescheduled: bool = False
    """Somebody asked for another schedule."""
    triggered: bool = False
    """Somebody asked for a run of it by hand."""
    deletions: int = 0
    """How often somebody asked for its deletion."""


@dataclass(slots=True)
class Ledger:
    """Of all clients together. What is only asked for may have happened or not; what was told has happened."""

    orders: dict[str, task_pb2.NewTask] = field(default_factory=dict)
    """Every task that was asked for, by its name, which no other has."""
    refused: set[str] = field(default_factory=set)
    """Names of tasks that were refused."""
    tasks: dict[TaskId, str] = field(default_factory=dict)
    """Tasks that clients know, with their names."""
    ended: dict[TaskId, str] = field(default_factory=dict)
    """States that clients read of tasks that had ended."""
    cancels_told: dict[TaskId, float] = field(default_factory=dict)
    """Cancelled tasks, and when that was told."""
    retries_asked: Counter[TaskId] = field(default_factory=Counter)
    deletes_asked: set[TaskId] = field(default_factory=set)
    deletes_told: set[TaskId] = field(default_factory=set)
    updates_asked: set[TaskId] = field(default_factory=set)
    jobs: dict[JobId, JobOrder] = field(default_factory=dict)
    deletions_told: set[JobId] = field(default_factory=set)
    runs: dict[RunId, JobId] = field(default_factory=dict)
    """Runs that clients started."""
    run_cancels_asked: set[RunId] = field(default_factory=set)
    run_cancels_told: dict[RunId, float] = field(default_factory=dict)
    redrives: dict[RunId, set[RunId]] = field(default_factory=dict)
    """By dead letter: the runs that were told to take its place."""
    keys: dict[str, KeyUse] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    """By method and what came of it, for whoever wonders what a story tells."""
