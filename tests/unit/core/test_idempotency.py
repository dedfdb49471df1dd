"""A wish with an idempotency key takes effect once, and gets the same answer each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.commands import Once
from foliot_scheduler.core.effects import Refusal, Repeated
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.types import DEFAULT_PROJECT, MINUTE, Project
from tests.unit.core.support import Node, World, job_plan, plan

ONCE = Once("key", b"digest")
OTHER = Once("other", b"digest")


def submit(once: Once | None, project: Project = DEFAULT_PROJECT, count: int = 1) -> commands.SubmitTasks:
    return commands.SubmitTasks(project, [commands.NewTask(plan())] * count, once)


def create(once: Once) -> commands.CreateJob:
    return commands.CreateJob(DEFAULT_PROJECT, job_plan(Node("a")), once=once)


def test_the_second_call_gets_the_first_ones_ids_and_does_nothing() -> None:
    world = World()
    first = world.ask(submit(ONCE, count=3))
    assert isinstance(first, list)
    second = world.ask(submit(ONCE, count=3))
    assert second == Repeated(b"".join(first))
    assert not world.effects.writes
    assert len(world.state.tasks) == 3


def test_two_calls_of_one_batch_take_effect_once() -> None:
    world = World()
    effects = world.do(submit(ONCE), submit(ONCE))
    assert isinstance(effects.replies[1], Repeated)
    assert len(world.journal.live) == 1
    assert world.journal.answers[DEFAULT_PROJECT, "key"].ids == next(iter(world.journal.live))


def trigger(world: World) -> commands.Command:
    return commands.TriggerJob(DEFAULT_PROJECT, world.create_job(job_plan(Node("a"))), ONCE)


def retry(world: World) -> commands.Command:
    task = world.submit()
    world.cancel(task)
    return commands.RetryTask(DEFAULT_PROJECT, task, ONCE, world.record(task))


@pytest.mark.parametrize("make", [lambda _: create(ONCE), trigger, retry])
def test_every_creating_wish_takes_a_key(make: Callable[[World], commands.Command]) -> None:
    world = World()
    command = make(world)
    first = world.ask(command)
    created = getattr(first, "id", b"")
    assert world.ask(command) == Repeated(created)
    assert not world.effects.writes
    assert (len(world.state.jobs), len(world.state.runs), len(world.state.tasks)) in {(1, 0, 0), (1, 1, 1), (0, 0, 1)}


def test_a_key_is_used_with_one_request_only() -> None:
    world = World()
    world.ask(submit(ONCE))
    with pytest.raises(Refusal) as refusal:
        world.ask(submit(Once("key", b"other")))
    assert refusal.value.reason == "idempotency_mismatch"
    assert len(world.state.tasks) == 1


def test_keys_of_different_projects_never_meet() -> None:
    world = World()
    world.ask(submit(ONCE))
    world.ask(submit(ONCE, Project("other")))
    assert len(world.state.tasks) == 2


def test_a_refused_wish_leaves_its_key_free() -> None:
    world = World(CoreSettings(live_tasks_max=1))
    blocker = world.submit()
    with pytest.raises(Refusal, match="limit"):
        world.ask(submit(ONCE))
    assert not world.journal.answers
    world.cancel(blocker)
    world.ask(submit(ONCE))
    assert len(world.journal.answers) == 1


def test_keys_of_long_ago_leave_the_memory() -> None:
    world = World()
    world.ask(submit(ONCE))
    for n in range(20):
        world.pass_time(MINUTE)
        world.ask(submit(Once(f"key{n}", b"digest")))
    assert len(world.state._keys) == 3
    assert len(world.journal.answers) == 21, "the database has them all"


def test_a_key_is_remembered_for_longer_than_any_call_takes() -> None:
    world = World()
    first = world.ask(submit(ONCE, count=2))
    assert isinstance(first, list)
    world.pass_time(2 * MINUTE)
    assert world.ask(submit(ONCE, count=2)) == Repeated(b"".join(first))


@pytest.mark.parametrize("make", [lambda _: create(OTHER), lambda _: submit(OTHER), trigger, retry])
def test_a_new_key_is_refused_rather_than_an_old_one_forgotten(make: Callable[[World], commands.Command]) -> None:
    world = World(CoreSettings(keys_max=2))
    command = make(world)
    keys = [Once(f"key{n}", b"digest") for n in range(2)]
    for once in keys:
        world.ask(submit(once))
    with pytest.raises(Refusal) as refusal:
        world.ask(command)
    assert refusal.value.reason == "overloaded"
    assert not world.effects.writes
    for once in keys:
        assert isinstance(world.ask(submit(once)), Repeated)
    world.ask(submit(None))
    world.pass_time(2 * MINUTE + 1)
    world.ask(command)
    assert len(world.state._keys) == 1


def test_without_a_key_every_call_counts() -> None:
    world = World()
    ids = {world.submit() for _ in range(3)}
    assert len(ids) == 3
