"""Concurrency limits: how many tasks that name a key run at once.

Theory of operation. A task passes all of its gates when it is leased, and leaves them when its attempt ends. One that cannot
pass waits at the first gate that is full, outside of the ready queue, so that it costs nothing until a place becomes free. Then
the gate calls its first waiter, who tries again from the ready queue: it holds a *chance*, not the place. While it has not
tried, its chance counts against the free places, so that they are promised once. Whoever does not use a chance (it is held up
at another gate, or cancelled, or changed) passes it on to the next, so that no free place is forgotten.

A chance that no worker takes must not keep a place from those who could use it. Those that the same workers take (of one
placement; runs apart, as in the ready queue) wait in one *group*. Once the leader has dealt out all it could, whoever was called
and still waits has no worker with room for it: it stays in the ready queue for the next that comes, its chance counts no longer,
and the gate calls the first waiter of another group instead. Another one of the same group would not be taken either: it is
called when the one before has tried. So between two steps of the engine this holds for each gate: it has no place for the first
in line, or each of its groups has somebody in the ready queue. A worker with room for any waiter would have taken that one;
hence no place is free for which any worker has both room and a waiter.

Each call costs the same however many wait, and follows from a place that became free or from a task that tried. Waiters are
called in the order they came, those apart that no worker has room for: they keep their turn, and no placement starves that has
room whenever a place is free.

A key whose tasks name different bounds serves its waiters in order all the same: the first one's bound decides when it goes on.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from foliot_scheduler.core.model import Placement, Task
    from foliot_scheduler.core.types import Project, TaskId

GroupKey = tuple["Placement", bool]
"""A placement, and whether its tasks are on their own."""


class Waiter(NamedTuple):
    """A task that waits at a gate, and its turn there: a number that grows with each that comes."""

    turn: int
    task: Task


class Group:
    """The waiters of one gate that the same workers take."""

    __slots__ = ("key", "listed", "untaken", "waiters")

    def __init__(self, key: GroupKey) -> None:
        self.key = key
        self.waiters: OrderedDict[TaskId, Waiter] = OrderedDict()
        """In the order they came. Ordered, because a plain dict finds its first entry ever slower as entries go."""
        self.untaken = 0
        """Those that were called, for whom no worker had room, and who have not tried since."""
        self.listed = 0
        """The turn under which it stands in its gate's line; 0: it does not."""


class Gate:
    """One key's count and its waiters."""

    __slots__ = ("groups", "inside", "key", "line", "promised")

    def __init__(self, key: tuple[Project, str]) -> None:
        self.key = key
        self.inside = 0
        self.promised = 0
        """Chances that were given since the leader last dealt out work, and not tried."""
        self.groups: dict[GroupKey, Group] = {}
        self.line: list[tuple[int, Group]] = []
        """The groups of which one may be called, by the turn of their first waiter."""

    def bound(self, task: Task) -> int:
        """How many a task allows to be inside."""
        return next(limit.max_running for limit in task.plan.limits if limit.key == self.key[1])

    def group(self, key: GroupKey) -> Group:
        """Return a group, made if there is none."""
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key)
        return group

    def list_again(self, group: Group) -> None:
        """Put a group where it belongs in the line, when its first waiter or `untaken` has changed; forget an empty one."""
        turn = next(iter(group.waiters.values())).turn if group.waiters and not group.untaken else 0
        if turn != group.listed:
            if group.listed:
                del self.line[bisect_left(self.line, (group.listed,))]
            if turn:
                insort(self.line, (turn, group))  # no two have one turn, so groups are never compared
            group.listed = turn
        if not group.waiters and not group.untaken:
            del self.groups[group.key]


class Chance(NamedTuple):
    """What a called task holds until it tries."""

    gate: Gate
    turn: int
    """To be kept if somebody is quicker."""


class Gates:
    """All keys of all projects."""

    __slots__ = ("_called", "_fresh", "_gates", "_turns", "_waiting")

    def __init__(self) -> None:
        self._gates: dict[tuple[Project, str], Gate] = {}
        self._waiting: dict[TaskId, Gate] = {}
        """The gate that each held-up task waits at."""
        self._called: dict[TaskId, Chance] = {}
        """Tasks in the ready queue that a gate called there."""
        self._fresh: dict[TaskId, Task] = {}
        """Those of `_called` that were called since the leader last dealt out work."""
        self._turns = 0

    def enter(self, task: Task, woken: list[Task]) -> bool:
        """Let a task through all of its gates, or leave it waiting at the first that is full; return whether it passed.

        Tasks that get a chance because this one has tried are appended to `woken`: they are to be pushed to the front of the
        ready queue.
        """
        limits = task.plan.limits
        chance = self._take_chance(task)
        for limit in limits:
            gate = self._gates.get((task.project, limit.key))
            if gate is not None and gate.inside >= limit.max_running:
                self._wait(gate, task, chance)
                break
        else:
            self.enter_again(task)
        if chance is not None:
            self._call(chance.gate, woken)
        return task.id not in self._waiting

    def enter_again(self, task: Task) -> None:
        """Count a task that runs already, when a new leader takes over; limits do not hold it back."""
        for limit in task.plan.limits:
            key = (task.project, limit.key)
            gate = self._gates.get(key)
            if gate is None:
                gate = self._gates[key] = Gate(key)
            gate.inside += 1

    def leave(self, task: Task, woken: list[Task]) -> None:
        """Count a task out of its gates; tasks that may try now are appended to `woken`."""
        for limit in task.plan.limits:
            gate = self._gates[task.project, limit.key]
            gate.inside -= 1
            assert gate.inside >= 0
            self._call(gate, woken)

    def pass_on(self, task: Task, woken: list[Task]) -> None:
        """Have a ready task wait no more, and give the chance it may hold to those behind it, appended to `woken`."""
        chance = self._take_chance(task)
        gate = self._waiting.pop(task.id, None)
        if chance is not None:
            self._call(chance.gate, woken)
        elif gate is not None:
            group = gate.groups[_group_key(task)]
            del group.waiters[task.id]
            gate.list_again(group)
            self._call(gate, woken)

    def dealt_out(self, woken: list[Task]) -> None:
        """Note that no worker has room for those that were called and have not tried; others are called in their place.

        These are appended to `woken`; the leader deals out again, and calls this again, until nobody is.
        """
        fresh, self._fresh = self._fresh, {}
        gates: dict[Gate, None] = {}
        for task in fresh.values():
            gate = self._called[task.id].gate
            gate.promised -= 1
            group = gate.group(_group_key(task))
            group.untaken += 1
            gate.list_again(group)
            gates[gate] = None
        for gate in gates:
            self._call(gate, woken)

    def waiting(self) -> int:
        """How many tasks wait at a gate."""
        return len(self._waiting)

    def _wait(self, gate: Gate, task: Task, chance: Chance | None) -> None:
        group = gate.group(_group_key(task))
        self._waiting[task.id] = gate
        if chance is not None and chance.gate is gate:
            group.waiters[task.id] = Waiter(chance.turn, task)
            group.waiters.move_to_end(task.id, last=False)  # somebody was quicker: it keeps its turn
            gate.list_again(group)
        else:
            self._turns += 1
            group.waiters[task.id] = Waiter(self._turns, task)
            if len(group.waiters) == 1:
                gate.list_again(group)

    def _take_chance(self, task: Task) -> Chance | None:
        """Note that a task has tried, or will not; return the chance it held, if any."""
        chance = self._called.pop(task.id, None)
        if chance is None:
            return None
        gate = chance.gate
        if self._fresh.pop(task.id, None) is not None:
            gate.promised -= 1
        else:
            group = gate.groups[_group_key(task)]
            group.untaken -= 1
            gate.list_again(group)
        return chance

    def _call(self, gate: Gate, woken: list[Task]) -> None:
        """Give chances to the first waiters of a gate while it has places for them; forget a gate that nobody uses."""
        while gate.line:
            turn, group = gate.line[0]
            task = next(iter(group.waiters.values())).task
            if gate.inside + gate.promised >= gate.bound(task):
                break
            del group.waiters[task.id]
            del self._waiting[task.id]
            self._called[task.id] = Chance(gate, turn)
            self._fresh[task.id] = task
            gate.promised += 1
            gate.list_again(group)
            woken.append(task)
        if not (gate.inside or gate.promised or gate.groups):
            del self._gates[gate.key]


def _group_key(task: Task) -> GroupKey:
    return (task.plan.placement, task.run_id is None)
