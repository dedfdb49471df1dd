"""The ready queue: priority, first come first served, fair sharing between projects, and entries that no longer count."""

from __future__ import annotations

from collections import Counter

from foliot_scheduler.core.model import Kind, Placement, Task
from foliot_scheduler.core.ready import CREDIT_MAX, LANES_KEPT, LEFT_BEHIND_MAX, PROJECTS_KEPT, QUANTUM, ReadyQueue
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import Project, RunId, TaskId
from tests.unit.core.dice import Dice
from tests.unit.core.support import NOON, Ids, placement, plan

RED, BLUE, GREEN = Project("red"), Project("blue"), Project("green")
new_id = Ids()


def task(project: Project = RED, *, priority: int = 5, at: Placement | None = None) -> Task:
    return Task(TaskId(new_id()), project, plan(priority=priority, at=at), NOON, NOON, state=TaskState.READY)


def pushed(
    queue: ReadyQueue, count: int, project: Project = RED, *, priority: int = 5, at: Placement | None = None
) -> list[Task]:
    tasks = [task(project, priority=priority, at=at) for _ in range(count)]
    for one in tasks:
        queue.push(one)
    return tasks


def anything(_: Placement) -> bool:
    return True


def test_first_come_first_served() -> None:
    queue = ReadyQueue()
    tasks = pushed(queue, 10)
    assert queue.take(anything, 4) == tasks[:4]
    assert queue.take(anything, 100) == tasks[4:]
    assert queue.take(anything, 1) == []


def test_a_higher_priority_comes_first() -> None:
    queue = ReadyQueue()
    waiting = {priority: pushed(queue, 2, priority=priority) for priority in (5, 1, 10, 7)}
    assert queue.take(anything, 100) == [*waiting[10], *waiting[7], *waiting[5], *waiting[1]]


def test_what_comes_back_is_the_first_of_its_priority() -> None:
    queue = ReadyQueue()
    tasks = pushed(queue, 3)
    (first,) = queue.take(anything, 1)
    urgent = pushed(queue, 1, priority=6)
    queue.push(first, front=True)
    assert queue.take(anything, 100) == [*urgent, *tasks]


def test_priority_and_age_count_across_lanes() -> None:
    queue = ReadyQueue()
    old = pushed(queue, 1, at=placement(queue="a"))
    urgent = pushed(queue, 1, priority=9, at=placement(queue="b"))
    young = pushed(queue, 1, at=placement(queue="b"))
    assert queue.take(anything, 100) == [*urgent, *old, *young]


def test_only_what_is_accepted_is_taken() -> None:
    queue = ReadyQueue()
    pushed(queue, 3, at=placement(kind=Kind.HTTP))
    wanted = pushed(queue, 2)
    assert queue.take(lambda at: at.kind is Kind.COMMAND, 100) == wanted
    assert queue.count == 3


def test_of_one_project_if_named() -> None:
    queue = ReadyQueue()
    pushed(queue, 3)
    blue = pushed(queue, 2, BLUE)
    assert queue.take_of(BLUE, anything, 100) == blue
    assert queue.take_of(GREEN, anything, 100) == []


# ------------------------------------------------------------------------------------------------------------ fair sharing


def shares(queue: ReadyQueue, takes: int, limit: int) -> Counter[str]:
    return Counter(task.project for _ in range(takes) for task in queue.take(anything, limit))


def test_a_backlog_does_not_starve_another_project() -> None:
    queue = ReadyQueue()
    pushed(queue, 10_000)
    pushed(queue, 1_000, BLUE)
    assert abs(shares(queue, 100, 10)[BLUE] - 500) <= QUANTUM


def test_a_newcomer_does_not_wait_behind_what_another_was_given_alone() -> None:
    queue = ReadyQueue()
    pushed(queue, 5_000)
    queue.take(anything, 5_000)
    pushed(queue, 5_000, BLUE)
    queue.take(anything, 10)
    pushed(queue, 5_000)
    assert abs(shares(queue, 100, 10)[RED] - 500) <= QUANTUM


def test_who_comes_back_gets_no_credit_for_its_absence() -> None:
    queue = ReadyQueue()
    pushed(queue, 1)
    pushed(queue, 10_000, BLUE)
    shares(queue, 100, 50)
    pushed(queue, 5_000)
    assert abs(shares(queue, 100, 10)[RED] - 500) <= QUANTUM


def test_a_backlog_that_no_worker_took_is_owed_only_a_little() -> None:
    queue = ReadyQueue()
    gpu = placement(queue="gpu")
    pushed(queue, 20_000, at=gpu)
    pushed(queue, 20_000, BLUE)
    for _ in range(100):
        queue.take(lambda at: at.queue == "default", 50)
    assert abs(shares(queue, 400, 10)[RED] - 2_000) <= CREDIT_MAX


def test_three_projects_share_alike_whatever_their_backlogs() -> None:
    queue = ReadyQueue()
    for project, count in ((RED, 9_000), (BLUE, 2_000), (GREEN, 4_000)):
        pushed(queue, count, project)
    given = shares(queue, 100, 30)
    assert max(given.values()) - min(given.values()) <= 2 * QUANTUM


# ------------------------------------------------------------------------------------------- entries that no longer count


def test_a_removed_task_is_passed_over() -> None:
    queue = ReadyQueue()
    tasks = pushed(queue, 5)
    for gone in (tasks[0], tasks[3]):
        queue.remove(gone)
    assert queue.count == 3
    assert queue.take(anything, 100) == [tasks[1], tasks[2], tasks[4]]
    queue.remove(tasks[0])
    assert queue.count == 0


def test_a_task_that_left_and_came_back_is_taken_and_counted_once() -> None:
    queue = ReadyQueue()
    first, second = pushed(queue, 2)
    for _ in range(3):
        queue.remove(first)
        queue.push(first)
    assert queue.counts_by_priority() == {5: 2}
    assert sorted(one.id for one in queue.take(anything, 100)) == [first.id, second.id]
    assert queue.take(anything, 100) == []


def test_a_task_that_comes_back_with_another_priority_is_taken_by_that() -> None:
    queue = ReadyQueue()
    first, second = pushed(queue, 2)
    queue.remove(second)
    second.plan = plan(priority=9)
    queue.push(second)
    assert queue.counts_by_priority() == {5: 1, 9: 1}
    assert queue.take(anything, 100) == [second, first]


def test_cancelled_tasks_behind_one_that_nobody_takes_do_not_pile_up() -> None:
    queue = ReadyQueue()
    (stays,) = pushed(queue, 1)
    for _ in range(5 * LEFT_BEHIND_MAX):
        (gone,) = pushed(queue, 1)
        queue.remove(gone)
    assert stays.lane is not None
    entries = sum(len(tasks) for tasks in stays.lane._queues if tasks is not None)
    assert entries <= LEFT_BEHIND_MAX + 2
    assert queue.take(anything, 100) == [stays]


def test_lanes_that_stand_empty_do_not_pile_up() -> None:
    queue = ReadyQueue()
    (stays,) = pushed(queue, 1, at=placement(queue="nobody"))
    for n in range(5 * LANES_KEPT):
        pushed(queue, 1, at=placement(queue=f"q{n}"))
        queue.take(lambda at: at.queue != "nobody", 1)
    assert stays.lane is not None
    assert len(stays.lane.queue.lanes) <= LANES_KEPT + 1


def test_projects_of_which_nothing_waits_do_not_pile_up() -> None:
    queue = ReadyQueue()
    (stays,) = pushed(queue, 1)
    for n in range(2 * PROJECTS_KEPT):
        (gone,) = pushed(queue, 1, Project(f"made up {n}"))
        queue.remove(gone)
    assert len(queue._projects) <= PROJECTS_KEPT + 1
    assert queue.take(anything, 100) == [stays]


def test_counts_stay_exact_whatever_comes_and_goes() -> None:
    dice = Dice(1)
    queue = ReadyQueue()
    waiting: dict[TaskId, Task] = {}
    gone: list[Task] = []
    for _ in range(20_000):
        match dice.number(0, 3):
            case 0 | 1:
                one = dice.pick(gone) if gone and dice.chance(0.5) else task(dice.pick((RED, BLUE)))
                if one.lane is None:
                    one.plan = plan(priority=dice.number(1, 10), at=placement(queue=dice.pick(("a", "b"))))
                    queue.push(one, front=dice.chance(0.3))
                    waiting[one.id] = one
            case 2 if waiting:
                one = dice.pick(list(waiting.values()))
                queue.remove(one)
                gone.append(waiting.pop(one.id))
            case _:
                taken = queue.take(lambda at: at.queue == "a" or dice.chance(0.5), dice.number(1, 4))
                gone.extend(waiting.pop(one.id) for one in taken)
        assert queue.count == len(waiting)
    assert queue.counts_by_priority() == dict(Counter(one.plan.priority for one in waiting.values()))
    assert {one.id for one in queue.take(anything, 100_000)} == waiting.keys()


def test_what_waits_in_each_queue_counts_the_tasks_of_runs_too() -> None:
    queue = ReadyQueue()
    pushed(queue, 2)
    pushed(queue, 1, BLUE)
    of_a_run = task(at=placement(queue="mail"))
    of_a_run.run_id = RunId(new_id())
    queue.push(of_a_run)
    assert queue.counts_by_queue() == {"default": 3, "mail": 1}
