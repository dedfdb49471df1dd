"""The tasks that wait for a worker, and in which order workers get them.

Theory of operation. Tasks of one project and one placement wait in one *lane* (those of runs in one of their own, because
some ask for tasks on their own alone); a lane keeps a queue for each priority, first come first served within one. Projects
share by weighted fair queuing: each project has a virtual time that advances by what it was given, and the eligible project
with the least virtual time is served next, so that one project's backlog cannot starve another. A project that comes back
from idleness starts at the furthest time anybody reached: no credit for its absence, and none against those who were served
while it was away. One whose tasks no worker took for long is owed a little, not all of it.

Suspect tasks (see `suspicion.py`) wait in lanes of their own, from which they are given one at a time.

Cancelling or changing a task does not search the queues: its `lane` is cleared, and the entry it leaves behind is thrown away
when it comes to the front, or when such entries are the most. An entry counts only while the task's `lane` is the lane it
stands in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from foliot_scheduler.core.model import PRIORITY_HIGHEST, PRIORITY_LOWEST, Placement, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot_scheduler.core.types import Project

QUANTUM = 32
"""Tasks given to one project before another gets its turn: small against a worker's capacity, large against a turn's cost."""

CREDIT_MAX = 10 * QUANTUM
"""How many tasks a project may be behind the furthest one and still catch up: some turns, not the backlog of a day without a
worker for it."""

LANES_KEPT = 64
"""Lanes of one project that may stand empty until the project has nothing that waits; making one again is cheap."""

PROJECTS_KEPT = 1_000
"""Projects that are kept although nothing of them waits; callers make up their names, so they must not pile up."""

LEFT_BEHIND_MAX = 1_000
"""Entries that no longer count which a lane may keep, if they are the fewer: clearing them away costs a walk over all."""


class Lane:
    """Waiting tasks of one project and one placement."""

    __slots__ = ("_left_behind", "_queues", "count", "placement", "queue", "suspect")

    def __init__(self, placement: Placement, queue: ProjectQueue, *, suspect: bool = False) -> None:
        self.placement = placement
        self.queue = queue
        self.suspect = suspect
        """Whether its tasks are given one at a time."""
        self.count = 0
        self._queues: list[deque[Task] | None] = [None] * (PRIORITY_HIGHEST + 1)
        self._left_behind = 0
        """At least as many entries as stand here and do not count."""

    def push(self, task: Task, *, front: bool) -> None:
        """Add a task at the end, or at the front, of its priority."""
        assert task.lane is None
        tasks = self._queues[task.plan.priority]
        if tasks is None:
            tasks = self._queues[task.plan.priority] = deque()
        if front:
            tasks.appendleft(task)
        else:
            tasks.append(task)
        task.lane = self
        self.count += 1

    def discard(self, task: Task) -> None:
        """Have a task of this lane wait no more."""
        assert task.lane is self
        task.lane = None
        self.count -= 1
        self._left_behind += 1
        if not self.count:
            self._clear()
        elif self._left_behind > max(LEFT_BEHIND_MAX, self.count):
            for priority, tasks in enumerate(self._queues):
                if tasks is not None:
                    # Once each: a task that left and came back stands here twice.
                    kept = dict.fromkeys(task for task in tasks if task.lane is self and task.plan.priority == priority)
                    self._queues[priority] = deque(kept)
            self._left_behind = 0

    def waiting(self) -> set[Task]:
        """The tasks that wait here; costs a walk over them."""
        return {task for tasks in self._queues for task in tasks or () if task.lane is self}

    def head(self) -> Task | None:
        """The task to be taken next; None when the lane is empty."""
        if not self.count:
            return None
        for priority in range(PRIORITY_HIGHEST, PRIORITY_LOWEST - 1, -1):
            tasks = self._queues[priority]
            while tasks:
                task = tasks[0]
                if task.lane is self and task.plan.priority == priority:
                    return task
                tasks.popleft()
        raise AssertionError("a lane's count is more than the tasks it holds")

    def take(self, limit: int, into: list[Task]) -> int:
        """Move up to `limit` tasks into a list, highest priority first; return how many."""
        wanted = min(limit, self.count)
        left = wanted
        for priority in range(PRIORITY_HIGHEST, PRIORITY_LOWEST - 1, -1):
            if not left:
                break
            tasks = self._queues[priority]
            while tasks and left:
                task = tasks.popleft()
                if task.lane is self and task.plan.priority == priority:
                    task.lane = None
                    into.append(task)
                    left -= 1
        assert not left, "a lane's count is more than the tasks it holds"
        self.count -= wanted
        if not self.count:
            self._clear()
        return wanted

    def _clear(self) -> None:
        """Throw away what is left once nothing waits: entries that do not count."""
        self._queues = [None] * (PRIORITY_HIGHEST + 1)
        self._left_behind = 0


class ProjectQueue:
    """The lanes of one project, and its share."""

    __slots__ = ("count", "lanes", "project", "run_lanes", "suspect_lanes", "virtual_time", "weight")

    def __init__(self, project: Project, weight: float) -> None:
        self.project = project
        self.weight = weight
        self.virtual_time = 0.0
        self.lanes: dict[Placement, Lane] = {}
        """Of tasks on their own."""
        self.run_lanes: dict[Placement, Lane] = {}
        """Of tasks of runs."""
        self.suspect_lanes: dict[tuple[Placement, bool], Lane] = {}
        """Of suspect tasks, and whether they are on their own."""
        self.count = 0

    def lane(self, task: Task) -> Lane:
        """Return the lane of a task, made if there is none."""
        if task.suspect:
            key = (task.plan.placement, task.run_id is None)
            lane = self.suspect_lanes.get(key)
            if lane is None:
                lane = self.suspect_lanes[key] = Lane(task.plan.placement, self, suspect=True)
            return lane
        lanes = self.lanes if task.run_id is None else self.run_lanes
        lane = lanes.get(task.plan.placement)
        if lane is None:
            lane = lanes[task.plan.placement] = Lane(task.plan.placement, self)
        return lane

    def take(self, accepts: Callable[[Placement], bool], limit: int, into: list[Task], *, standalone: bool) -> int:
        """Move up to `limit` acceptable tasks into a list, highest priority first, then oldest; return how many."""
        lanes = [lane for lane in self.lanes.values() if lane.count and accepts(lane.placement)]
        if not standalone:
            lanes += [lane for lane in self.run_lanes.values() if lane.count and accepts(lane.placement)]
        if len(lanes) == 1:
            taken = lanes[0].take(limit, into)
        else:
            taken = 0
            while taken < limit and lanes:
                best = min(lanes, key=_urgency)
                taken += best.take(1, into)
                if not best.count:
                    lanes.remove(best)
        self.count -= taken
        self.virtual_time += taken / self.weight
        return taken

    def take_suspect(self, accepts: Callable[[Placement], bool], into: list[Task], *, standalone: bool) -> int:
        """Move one suspect task into a list, of the highest priority, then oldest; return how many."""
        lanes = [
            lane
            for (placement, alone), lane in self.suspect_lanes.items()
            if lane.count and (alone or not standalone) and accepts(placement)
        ]
        if not lanes:
            return 0
        self.count -= min(lanes, key=_urgency).take(1, into)
        self.virtual_time += 1 / self.weight
        return 1

    def all_lanes(self) -> list[Lane]:
        """Every lane there is."""
        return [*self.lanes.values(), *self.run_lanes.values(), *self.suspect_lanes.values()]

    def offers(self, accepts: Callable[[Placement], bool]) -> bool:
        """Whether anything acceptable waits."""
        return any(lane.count and accepts(lane.placement) for lanes in (self.lanes, self.run_lanes) for lane in lanes.values())

    def clear_away(self, kept: int) -> None:
        """Forget empty lanes where there are more than so many; they are made again when needed."""
        if len(self.lanes) > kept:
            self.lanes = {placement: lane for placement, lane in self.lanes.items() if lane.count}
        if len(self.run_lanes) > kept:
            self.run_lanes = {placement: lane for placement, lane in self.run_lanes.items() if lane.count}
        if len(self.suspect_lanes) > kept:
            self.suspect_lanes = {key: lane for key, lane in self.suspect_lanes.items() if lane.count}


def _urgency(lane: Lane) -> tuple[int, bytes]:
    head = lane.head()
    assert head is not None
    return (-head.plan.priority, head.id)


class ReadyQueue:
    """All waiting tasks."""

    __slots__ = ("_active", "_projects", "_virtual_time", "count", "suspects")

    def __init__(self) -> None:
        self.count = 0
        self.suspects = 0
        """How many of them are suspect."""
        self._projects: dict[Project, ProjectQueue] = {}
        self._active: dict[Project, ProjectQueue] = {}
        """Projects with at least one waiting task."""
        self._virtual_time = 0.0
        """The furthest that any project ever reached."""

    def push(self, task: Task, *, front: bool = False) -> None:
        """Add a ready task at the end of its priority, or at its front if it had waited already."""
        queue = self._projects.get(task.project)
        if queue is None:
            queue = self._projects[task.project] = ProjectQueue(task.project, weight=1.0)
        if not queue.count:
            queue.virtual_time = self._virtual_time
            self._active[task.project] = queue
        queue.lane(task).push(task, front=front)
        queue.count += 1
        self.count += 1
        self.suspects += task.suspect

    def remove(self, task: Task) -> None:
        """Take out a task that is no longer to be given away; one that is not in any lane is left alone."""
        lane = task.lane
        if lane is None:
            return
        lane.discard(task)
        lane.queue.count -= 1
        self.count -= 1
        self.suspects -= lane.suspect
        self._retire(lane.queue)

    def take(self, accepts: Callable[[Placement], bool], limit: int) -> list[Task]:
        """Remove and return up to `limit` tasks whose placement is accepted, fairly over projects."""
        queues = list(self._active.values())
        if len(queues) > 1:
            queues = [queue for queue in queues if queue.offers(accepts)]
        return self._take(queues, accepts, limit, standalone=False)

    def take_of(
        self, project: Project, accepts: Callable[[Placement], bool], limit: int, *, standalone: bool = False
    ) -> list[Task]:
        """Remove and return up to `limit` tasks of one project whose placement is accepted; only those on their own if asked."""
        queue = self._active.get(project)
        return [] if queue is None else self._take([queue], accepts, limit, standalone=standalone)

    def take_suspect(
        self, accepts: Callable[[Placement], bool], project: Project | None, *, standalone: bool = False
    ) -> list[Task]:
        """Remove and return one suspect task whose placement is accepted, if there is one; of one project, or fairly over all."""
        if project is None:
            queues = [queue for queue in self._active.values() if queue.suspect_lanes]
        else:
            queues = [self._active[project]] if project in self._active else []
        taken: list[Task] = []
        for queue in sorted(queues, key=_virtual_time):
            if queue.take_suspect(accepts, taken, standalone=standalone):
                self.count -= 1
                self.suspects -= 1
                self._retire(queue)
                break
        return taken

    def _take(
        self, queues: list[ProjectQueue], accepts: Callable[[Placement], bool], limit: int, *, standalone: bool
    ) -> list[Task]:
        taken: list[Task] = []
        while queues and len(taken) < limit:
            queue = min(queues, key=_virtual_time)
            left = limit - len(taken)
            queue.virtual_time = max(queue.virtual_time, self._virtual_time - CREDIT_MAX)
            quantum = left if len(queues) == 1 else min(left, QUANTUM)
            count = queue.take(accepts, quantum, taken, standalone=standalone)
            if not count:
                queues.remove(queue)
            self.count -= count
            self._virtual_time = max(self._virtual_time, queue.virtual_time)
            queue.clear_away(LANES_KEPT)
            self._retire(queue)
        return taken

    def counts_by_queue(self) -> dict[str, int]:
        """How many tasks wait in each queue; costs a walk over the lanes."""
        counts: dict[str, int] = {}
        for project in self._active.values():
            for lane in project.all_lanes():
                if lane.count:
                    queue = lane.placement.queue
                    counts[queue] = counts.get(queue, 0) + lane.count
        return counts

    def counts_by_priority(self) -> dict[int, int]:
        """How many tasks wait at each priority; costs a walk over what waits, so not for the hot path."""
        counts: dict[int, int] = {}
        for queue in self._active.values():
            for lane in queue.all_lanes():
                for task in lane.waiting():
                    counts[task.plan.priority] = counts.get(task.plan.priority, 0) + 1
        return counts

    def _retire(self, queue: ProjectQueue) -> None:
        if not queue.count:
            self._active.pop(queue.project, None)
            # Functions and labels would pile them up otherwise.
            queue.clear_away(1)
            if len(self._projects) > PROJECTS_KEPT:
                self._projects.pop(queue.project, None)


def _virtual_time(queue: ProjectQueue) -> float:
    return queue.virtual_time
