"""Timers: in order, those set meanwhile included, and none kept that no longer holds."""

from __future__ import annotations

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Task
from foliot_scheduler.core.timers import CLEARED_FROM, TaskDue, Timers
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, SECOND, Micros, TaskId
from tests.unit.core.support import NOON, World, plan, profile


def waiting(name: bytes, due: int = 0) -> TaskDue:
    task = Task(TaskId(name), DEFAULT_PROJECT, plan(), NOON, NOON)
    task.state, task.due = TaskState.SCHEDULED, Micros(due)
    return TaskDue(task)


def names(timers: Timers, now: int) -> list[bytes]:
    return [timer.task.id for timer in timers.take_due(Micros(now)) if isinstance(timer, TaskDue)]


def test_timers_go_off_in_order_and_once() -> None:
    timers = Timers()
    for due, name in ((30, b"c"), (10, b"a"), (20, b"b"), (40, b"d")):
        timers.add(Micros(due), waiting(name, due))
    assert timers.next_due() == 10
    assert names(timers, 9) == []
    assert names(timers, 30) == [b"a", b"b", b"c"]
    assert timers.next_due() == 40
    assert len(timers) == 1


def test_timers_of_one_instant_go_off_as_they_were_set() -> None:
    timers = Timers()
    for name in (b"z", b"a", b"m"):
        timers.add(Micros(5), waiting(name))
    assert names(timers, 5) == [b"z", b"a", b"m"]


def test_a_timer_set_meanwhile_goes_off_too() -> None:
    timers = Timers()
    timers.add(Micros(1), waiting(b"first"))
    seen = []
    for timer in timers.take_due(Micros(10)):
        assert isinstance(timer, TaskDue)
        seen.append(timer.task.id)
        if len(seen) < 3:
            timers.add(Micros(len(seen)), waiting(b"again"))
    assert seen == [b"first", b"again", b"again"]


def test_nobody_is_woken_for_a_timer_that_no_longer_holds() -> None:
    timers = Timers()
    timers.add(Micros(10), moved := waiting(b"moved", 10))
    timers.add(Micros(20), waiting(b"stays", 20))
    moved.task.due = Micros(30)
    timers.drop_outdated()
    assert timers.next_due() == 20
    assert len(timers) == 1


def test_nothing_waits_for_nothing() -> None:
    assert Timers().next_due() is None
    assert World().engine.next_due() is None


def test_the_past_does_not_come_back() -> None:
    world = World()
    task = world.submit(plan(start_at=Micros(world.now + SECOND)))
    world.pass_time(SECOND)
    ready = world.task(task).updated
    world.pass_time(-HOUR)
    assert world.state.now == ready
    assert world.task(world.submit()).created == ready


def test_timers_of_what_was_cancelled_do_not_pile_up() -> None:
    world = World()
    later = plan(start_at=Micros(world.now + 365 * 24 * HOUR))
    stays = world.submit(later)
    for _ in range(5):
        submit = commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(later)] * CLEARED_FROM)
        world.do(submit)
        gone = [task for task in world.state.tasks if task != stays]
        world.do(*[commands.CancelTask(DEFAULT_PROJECT, task) for task in gone])
    assert len(world.state.timers) <= 2 * CLEARED_FROM
    world.pass_time(365 * 24 * HOUR)
    assert world.state.ready.count == 1


def test_timeouts_of_attempts_that_ended_do_not_pile_up() -> None:
    world = World()
    session = world.join(said=profile(capacity=1_000))
    for _ in range(30):
        world.ask(commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan(timeout=HOUR))] * 1_000))
        tokens = list(world.held[profile().id])
        started = [commands.AttemptStarted(token, world.now) for token in tokens]
        world.do(commands.AttemptsStarted(session, profile().id, started))
        world.do(*[commands.CancelTask(DEFAULT_PROJECT, task) for task in list(world.state.tasks)])
    assert len(world.state.timers) <= 2 * CLEARED_FROM
