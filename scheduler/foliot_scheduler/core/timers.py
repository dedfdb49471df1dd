"""Everything the leader waits for: one heap of due times.

Theory of operation. A timer is never looked for and removed: whoever takes one checks whether it still holds. So timers that no
longer hold (of attempts that ended in time, of tasks cancelled long before their start) would gather until they are due; each
time the heap has doubled since the last clearing, they are cleared away, which costs less than it cost to set them.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple, assert_never

from foliot_scheduler.core.transitions import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foliot_scheduler.core.model import Job, Lease, LeaseBatch, Task, Worker
    from foliot_scheduler.core.types import Micros


class TaskDue(NamedTuple):
    """A scheduled task's time has come, unless it was moved meanwhile."""

    task: Task


class AttemptOverdue(NamedTuple):
    """A worker should have stopped this attempt by itself by now."""

    lease: Lease


class WorkerSilent(NamedTuple):
    """A worker's leases end now, unless it was heard meanwhile."""

    worker: Worker


class ClaimSilent(NamedTuple):
    """An executor's claim ends now, unless it was renewed meanwhile."""

    lease: Lease


class BatchUnacknowledged(NamedTuple):
    """A worker should have confirmed these leases by now."""

    batch: LeaseBatch


class JobDue(NamedTuple):
    """A job's schedule fires, unless it was changed meanwhile."""

    job: Job


Timer = TaskDue | AttemptOverdue | WorkerSilent | ClaimSilent | BatchUnacknowledged | JobDue


CLEARED_FROM = 10_000
"""A heap up to this size is left alone: 2 MB, with what its timers hold on to."""


class Timers:
    """A heap of (due, timer)."""

    __slots__ = ("_clear_at", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._clear_at = CLEARED_FROM

    def __len__(self) -> int:
        """How many timers there are, those that no longer hold included."""
        return len(self._heap)

    def add(self, due: Micros, timer: Timer) -> None:
        """Set a timer; one due in the past is taken by the next call of `take_due`."""
        self._sequence += 1  # makes timers of one instant come in the order they were set, and spares comparing them
        heapq.heappush(self._heap, (due, self._sequence, timer))

    def next_due(self) -> int | None:
        """When the earliest timer is due; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def drop_outdated(self) -> None:
        """Remove the earliest timers as long as they no longer hold, so that nobody is woken for them.

        For the end of a step: whether one holds may change, so the steps alone decide which are there.
        """
        heap = self._heap
        while heap and not _holds(heap[0][2], heap[0][0]):
            heapq.heappop(heap)

    def take_due(self, now: Micros) -> Iterator[Timer]:
        """Remove and give the timers due by `now`, in order; timers set meanwhile and due by `now` are given too."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            yield heapq.heappop(heap)[2]
        if len(heap) > self._clear_at:
            heap[:] = [entry for entry in heap if _holds(entry[2], entry[0])]
            heapq.heapify(heap)
            self._clear_at = max(CLEARED_FROM, 2 * len(heap))


def _holds(timer: Timer, due: int) -> bool:
    """Whether a timer may still do something when it is due."""
    match timer:
        case TaskDue(task):
            return task.state is TaskState.SCHEDULED and task.due == due
        case AttemptOverdue(lease) | ClaimSilent(lease):
            return lease.task.lease is lease
        case BatchUnacknowledged(batch):
            return batch.open > 0 and not batch.acknowledged
        case JobDue(job):
            return job.fires_at is not None and job.fires_at <= due
        case WorkerSilent(worker):
            return worker.watched_at >= due or not worker.watched_at  # 0: set by a new leader for one it has not met
        case _:
            assert_never(timer)
