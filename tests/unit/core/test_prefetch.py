"""How many leases a worker holds: a few for each slot, and many only of what it ends fast."""

from __future__ import annotations

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Kind, Outcome, TaskPlan
from foliot_scheduler.core.prefetch import AHEAD, PER_SLOT
from foliot_scheduler.core.types import DEFAULT_PROJECT, MILLISECOND, SECOND, Micros
from tests.unit.core.support import World, placement, plan, profile

FAST = plan("fast", at=placement(kind=Kind.FUNCTION, function="fast"))
SLOW = plan("slow", at=placement(kind=Kind.COMMAND))
SLOTS = 4
CAPACITY = 1_000


def worker_world() -> World:
    """A worker with four slots and much room."""
    world = World()
    world.join(said=profile(capacity=CAPACITY, functions=frozenset({"fast"}))._replace(concurrency=SLOTS))
    return world


def submit_many(world: World, what: TaskPlan, count: int) -> None:
    world.ask(commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(what)] * count))


def end_all(world: World, *, after_us: int) -> None:
    """Have the worker end everything it holds, so long after it received it."""
    world.now = Micros(world.now + after_us)
    held, world.held["w1"] = world.held["w1"], {}  # type: ignore[index]  # a NewType of str
    ends = [commands.AttemptEnd(t, Outcome.SUCCEEDED, None, "", b"", b"", world.now, world.now) for t in held]
    world.do(commands.AttemptsEnded(1, next(iter(world.state.workers)), ends))


def test_a_worker_of_unknown_pace_holds_a_few_for_each_slot() -> None:
    world = worker_world()
    submit_many(world, FAST, 100)
    assert len(world.leased()) == SLOTS * PER_SLOT


def test_a_worker_that_ends_fast_holds_what_it_will_end_soon() -> None:
    world = worker_world()
    submit_many(world, FAST, 500)
    end_all(world, after_us=20 * MILLISECOND)
    # 20 in 20 ms are 100 in the 100 ms that it has at hand.
    assert len(world.leased()) == SLOTS * PER_SLOT * AHEAD // (20 * MILLISECOND)


def test_it_never_holds_more_than_its_capacity() -> None:
    world = worker_world()
    submit_many(world, FAST, 5_000)
    for _ in range(4):
        end_all(world, after_us=20 * MILLISECOND)
    assert len(world.leased()) == CAPACITY


def test_a_fast_kind_brings_no_more_of_a_slow_one() -> None:
    world = worker_world()
    submit_many(world, FAST, 40)
    end_all(world, after_us=20 * MILLISECOND)
    end_all(world, after_us=1 * MILLISECOND)
    submit_many(world, SLOW, 500)
    assert len(world.leased()) == SLOTS * PER_SLOT


def test_a_kind_that_becomes_slow_loses_its_place() -> None:
    world = worker_world()
    submit_many(world, FAST, 1_000)
    end_all(world, after_us=20 * MILLISECOND)
    assert len(world.leased()) > SLOTS * PER_SLOT
    end_all(world, after_us=3 * SECOND)
    assert len(world.leased()) == SLOTS * PER_SLOT
