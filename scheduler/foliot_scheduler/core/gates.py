"""Concurrency limits: how many tasks that name a key run at once.

Theory of operation. A task passes all of its gates when it is leased, and leaves them when its attempt ends. One that cannot
pass waits at the first gate that is full, outside of the ready queue, so that it costs nothing until a place becomes free. When
one does, the gate lets its next waiter try again; if that one is held up elsewhere, the gate's next waiter gets the chance, so no
free place is forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from foliot_scheduler.core.transitions import TaskState

if TYPE_CHECKING:
    from foliot_scheduler.core.model import Task
    from foliot_scheduler.core.types import Project


class Gate:
    """One key's count and its waiters."""

    __slots__ = ("inside", "waiters")

    def __init__(self) -> None:
        self.inside = 0
        self.waiters: deque[Task] = deque()


class Gates:
    """All keys of all projects."""

    __slots__ = ("_gates",)

    def __init__(self) -> None:
        self._gates: dict[tuple[Project, str], Gate] = {}

    def enter(self, task: Task, woken: list[Task]) -> bool:
        """Let a task through all of its gates, or leave it waiting at the first that is full; return whether it passed.

        Tasks that get another chance because this one waits elsewhere are appended to `woken`: they are to be pushed to the
        front of the ready queue.
        """
        limits = task.plan.limits
        for limit in limits:
            gate = self._gates.get((task.project, limit.key))
            if gate is not None and gate.inside >= limit.max_running:
                gate.waiters.append(task)
                for other in limits:
                    if other is not limit:
                        self._wake((task.project, other.key), woken)
                return False
        for limit in limits:
            self._gates.setdefault((task.project, limit.key), Gate()).inside += 1
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
            if not gate.inside and not gate.waiters:
                del self._gates[key]

    def _wake(self, key: tuple[Project, str], woken: list[Task]) -> None:
        gate = self._gates.get(key)
        while gate is not None and gate.waiters:
            task = gate.waiters[0]
            # A waiter that was cancelled, changed or let go elsewhere left its entry behind.
            if task.state is not TaskState.READY or task.lane is not None:
                gate.waiters.popleft()
                continue
            bound = next((limit.max_running for limit in task.plan.limits if limit.key == key[1]), 0)
            if gate.inside < bound or not bound:
                woken.append(gate.waiters.popleft())
            return
