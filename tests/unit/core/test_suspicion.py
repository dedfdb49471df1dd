"""Tasks that kill their workers: whom a loss is charged to, and how the culprit is kept from taking others along."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands, suspicion
from foliot_scheduler.core.model import Outcome, WorkerProfile
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.suspicion import SUSPECT_LOSSES
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import SECOND, Micros, TaskId, WorkerId
from tests.unit.core.support import World, profile

SLOTS = 2


@pytest.fixture
def world() -> World:
    return World()


def slotted(worker_id: str) -> WorkerProfile:
    """A worker that runs two tasks at once and holds ten."""
    return profile(worker_id, capacity=10)._replace(concurrency=SLOTS)


def losses(world: World, *tasks: TaskId) -> list[int]:
    return [world.task(task).lost_attempts for task in tasks]


def held_by(world: World, worker_id: str) -> list[TaskId]:
    """The tasks that a worker holds, in the order in which it was given them."""
    return [lease.task.id for lease in world.state.workers[WorkerId(worker_id)].leases.values()]


def restart(world: World, process: str, worker_id: str = "w1") -> None:
    """Have a worker's process, which has just died, come back under its name."""
    world.sessions += 1
    world.do(commands.WorkerJoined(world.sessions, slotted(worker_id), process=process))


# ------------------------------------------------------------------------------------------------------- who is charged


def test_what_waited_in_a_dead_workers_hands_is_not_charged(world: World) -> None:
    world.join(said=slotted("w1"))
    tasks = [world.submit() for _ in range(5)]
    world.pass_time(5 * SECOND)
    assert losses(world, *tasks) == [1, 1, 0, 0, 0]
    world.join("w2")
    assert held_by(world, "w2") == tasks, "they keep their order"


def test_what_moved_up_into_a_slot_is_charged(world: World) -> None:
    world.join(said=slotted("w1"))
    tasks = [world.submit() for _ in range(5)]
    world.end(tasks[0])
    world.pass_time(5 * SECOND)
    assert losses(world, *tasks[1:]) == [1, 1, 0, 0]


def test_what_was_reported_as_started_is_charged_wherever_it_stood(world: World) -> None:
    session = world.join(said=slotted("w1"))
    tasks = [world.submit() for _ in range(5)]
    started = commands.AttemptStarted(world.lease_of(tasks[4]).token, world.now)
    world.do(commands.AttemptsStarted(session, WorkerId("w1"), [started]))
    world.pass_time(5 * SECOND)
    assert losses(world, *tasks) == [1, 1, 0, 0, 1]


def test_a_worker_that_was_started_again_under_its_name_has_lost_what_it_ran(world: World) -> None:
    restart(world, "first")
    tasks = [world.submit() for _ in range(3)]
    restart(world, "second")
    assert losses(world, *tasks) == [1, 1, 0]


@pytest.mark.parametrize("process", ["first", ""])
def test_a_worker_that_came_back_by_itself_is_to_blame_for_what_it_misses(world: World, process: str) -> None:
    restart(world, "first")
    tasks = [world.submit() for _ in range(3)]
    restart(world, process)
    assert losses(world, *tasks) == [0, 0, 0]


# ------------------------------------------------------------------------------------------------------------- the culprit


def test_a_culprit_that_is_started_again_and_again_with_its_worker_ends_failed() -> None:
    world = World(CoreSettings(lost_attempts_max=4))
    poison = world.submit()
    for number in range(5):
        restart(world, f"process {number}")
    restart(world, "the last one")
    row = world.journal.history[poison]
    assert (row.state, row.outcome, row.lost_attempts) == (TaskState.FAILED, Outcome.LOST, 5)


def test_suspects_are_given_to_different_workers_so_that_an_innocent_one_ends(world: World) -> None:
    poison, innocent = world.submit(), world.submit()
    for number in range(SUSPECT_LOSSES):
        world.join(f"w{number}", said=slotted(f"w{number}"))
        world.pass_time(5 * SECOND)
    assert losses(world, poison, innocent) == [SUSPECT_LOSSES, SUSPECT_LOSSES]
    world.join("a", said=slotted("a"))
    assert held_by(world, "a") == [poison], "one at a time, the oldest first"
    world.join("b", said=slotted("b"))
    assert held_by(world, "b") == [innocent]
    fresh = world.submit()
    assert world.state_of(fresh) is TaskState.RUNNING, "who is no suspect waits for none"


def test_a_lone_worker_runs_suspects_one_after_another(world: World) -> None:
    poison, innocent = world.submit(), world.submit()
    for number in range(SUSPECT_LOSSES):
        restart(world, str(number))
    restart(world, "on its own")
    assert held_by(world, "w1") == [poison]
    world.end(poison, Outcome.FAILED)
    assert held_by(world, "w1") == [innocent]


def test_a_task_that_is_lost_and_never_seen_to_run_becomes_suspect_and_is_then_charged() -> None:
    world = World(CoreSettings(uncounted_losses_free=1))
    ahead = [world.submit() for _ in range(SLOTS)]
    poison = world.submit()
    for number in range(3):
        restart(world, str(number))
        world.now = Micros(world.now + SECOND)
        world.beat()
    assert losses(world, poison) == [0]
    assert world.task(poison).suspect
    restart(world, "once more")
    assert losses(world, poison) == [1]
    assert losses(world, *ahead) == [3, 3]


def test_a_suspect_can_be_cancelled_and_one_that_is_retried_is_none_any_more(world: World) -> None:
    first, second = world.submit(), world.submit()
    for number in range(SUSPECT_LOSSES + 1):
        restart(world, str(number))
    world.cancel(second)
    assert world.state.ready.count == world.state.ready.suspects == 0
    world.end(first, Outcome.FAILED)
    world.retry(first)
    assert not world.task(first).suspect


def test_a_task_that_was_retried_after_many_attempts_is_no_suspect_of_the_next_leader(world: World) -> None:
    task = world.submit()
    world.join(said=slotted("w1"))
    for _ in range(world.state.settings.uncounted_losses_free + 1):
        world.end(task, Outcome.FAILED)
        world.retry(task)
    suspicion.take_over(world.task(task), world.state.settings)
    assert not world.task(task).suspect
