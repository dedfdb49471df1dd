"""Everything the leader waits for: one heap of due times."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

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


class Timers:
    """A heap of (due, timer). Timers are never removed: whoever takes one checks whether it still holds."""

    __slots__ = ("_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0

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

    def take_due(self, now: Micros) -> Iterator[Timer]:
        """Remove and give the timers due by `now`, in order; timers set meanwhile and due by `now` are given too."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            yield heapq.heappop(heap)[2]
