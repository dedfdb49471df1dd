"""Concurrency limits: how many tasks that name a key run at once.

Theory of operation. A task passes all of its gates when it is leased, and leaves them when its attempt ends. One that cannot
pass waits at the first gate that is full, outside of the ready queue, so that it costs nothing until a place becomes free. Then
the gate lets its first waiter try again: that task holds the *chance*, not the place. Whoever does not use a chance (it is held
up at another gate, or cancelled, or changed) passes it on to the next, so that no free place is forgotten.

A key whose tasks name different bounds serves its waiters in order all the same: the first one's bound decides when it goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foliot_scheduler.core.model import Task
    from foliot_scheduler.core.types import Project, TaskId


class Gate:
    """One key's count and its waiters."""

    __slots__ = ("inside", "waiters")

    def __init__(self) -> None:
        self.inside = 0
        self.waiters: OrderedDict[TaskId, Task] = OrderedDict()
        """In the order they came. Ordered, because a plain dict finds its first entry ever slower as entries go."""


class Gates:
    """All keys of all projects."""

    __slots__ = ("_called", "_gates", "_waiting")

    def __init__(self) -> None:
        self._gates: dict[tuple[Project, str], Gate] = {}
        self._waiting: dict[TaskId, Gate] = {}
        """The gate that each held-up task waits at."""
        self._called: dict[TaskId, Gate] = {}
        """The gate that gave a task its chance, until it tries."""

    def enter(self, task: Task, woken: list[Task]) -> bool:
        """Let a task through all of its gates, or leave it waiting at the first that is full; return whether it passed.

        Tasks that get another chance because this one waits elsewhere are appended to `woken`: they are to be pushed to the
        front of the ready queue.
        """
        limits = task.plan.limits
        called = self._called.pop(task.id, None)
        for limit in limits:
            gate = self._gates.get((task.project, limit.key))
            if gate is not None and gate.inside >= limit.max_running:
                gate.waiters[task.id] = task
                self._waiting[task.id] = gate
                if gate is called:
                    gate.waiters.move_to_end(task.id, last=False)  # somebody was quicker: it keeps its turn
                for other in limits:
                    if other is not limit:
                        self._wake((task.project, other.key), woken)
                return False
        self.enter_again(task)
        return True

    def enter_again(self, task: Task) -> None:
        """Count a task that runs already, when a new leader takes over; limits do not hold it back."""
        for limit in task.plan.limits:
            self._gates.setdefault((task.project, limit.key), Gate()).inside += 1

    def leave(self, task: Task, woken: list[Task]) -> None:
        """Count a task out of its gates; tasks that may try now are appended to `woken`."""
        for limit in task.plan.limits:
            key = (task.project, limit.key)
            gate = self._gates[key]
            gate.inside -= 1
            assert gate.inside >= 0
            self._wake(key, woken)

    def pass_on(self, task: Task, woken: list[Task]) -> None:
        """Have a ready task wait no more, and give the chance it may hold to those behind it, appended to `woken`."""
        self._called.pop(task.id, None)
        gate = self._waiting.pop(task.id, None)
        if gate is not None:
            del gate.waiters[task.id]
        for limit in task.plan.limits:
            self._wake((task.project, limit.key), woken)

    def waiting(self) -> int:
        """How many tasks wait at a gate."""
        return len(self._waiting)

    def _wake(self, key: tuple[Project, str], woken: list[Task]) -> None:
        """Give the first waiter of a gate a chance, if there is a place for it; forget a gate that nobody uses."""
        gate = self._gates.get(key)
        if gate is None:
            return
        if gate.waiters:
            task = next(iter(gate.waiters.values()))
            if gate.inside < next(limit.max_running for limit in task.plan.limits if limit.key == key[1]):
                del gate.waiters[task.id]
                del self._waiting[task.id]
                self._called[task.id] = gate
                woken.append(task)
        if not gate.inside and not gate.waiters:
            del self._gates[key]
