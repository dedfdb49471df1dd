"""Workers come, beat, fall silent and come back."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Disconnect, HeartbeatEcho
from foliot_scheduler.core.model import Kind, Resources
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, Micros, Token, WorkerId
from tests.unit.core.support import World, placement, plan, profile

W1 = WorkerId("w1")
KEY = ("", W1)


@pytest.fixture
def world() -> World:
    return World()


def test_a_worker_holds_no_more_than_its_capacity(world: World) -> None:
    tasks = [world.submit() for _ in range(5)]
    world.join(said=profile("w1", capacity=3))
    assert world.leased() == tasks[:3]
    world.end(tasks[1])
    assert world.leased() == [tasks[0], tasks[2], tasks[3]]


def test_waiting_tasks_are_spread_over_workers(world: World) -> None:
    for n in range(4):
        world.join(f"w{n}")
    world.ask(commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan())] * 100))
    assert [len(world.leased(f"w{n}")) for n in range(4)] == [25] * 4


def test_a_heartbeat_is_confirmed_and_renews_all_leases(world: World) -> None:
    session = world.join()
    task = world.submit()
    for _ in range(20):
        world.now = Micros(world.now + 4 * SECOND)
        assert world.beat().heartbeats == [HeartbeatEcho(W1, session, 1)]
    assert world.lease_of(task).attempt == 1


def test_confirmations_can_be_taken_ahead_of_what_waits_for_a_commit(world: World) -> None:
    session = world.join()
    world.engine.apply([commands.Heartbeat(session, W1, 5)], world.now)
    assert world.engine.take_heartbeats() == [HeartbeatEcho(W1, session, 5)]
    assert world.engine.take_effects().heartbeats == []


def test_heartbeats_are_stored_every_ten_seconds(world: World) -> None:
    session = world.join()
    written = 0
    for _ in range(30):
        world.now = Micros(world.now + SECOND)
        effects = world.do(commands.Heartbeat(session, W1, 1, Resources(0.5, 0.5, 0.5)))
        written += KEY in effects.writes.workers
    assert written == 3
    assert world.journal.workers[KEY][3] == world.now


def test_a_silent_worker_loses_its_leases_and_its_stream(world: World) -> None:
    session = world.join()
    task = world.submit()
    effects = world.pass_time(5 * SECOND)
    assert effects.disconnects == [Disconnect(W1, session)]
    assert world.state_of(task) is TaskState.READY
    assert world.journal.attempts[task, 1].error == "the worker went silent"
    assert world.journal.workers[KEY][2]
    world.join("w2")
    assert world.leased("w2") == [task]


def test_a_worker_that_fell_silent_once_is_not_waited_for_longer_the_next_time(world: World) -> None:
    world.join()
    world.pass_time(MINUTE)
    world.join()
    task = world.submit()
    world.pass_time(5 * SECOND)
    assert world.state_of(task) is TaskState.READY
    for _ in range(3):  # and it is looked at once at a time, however often it came back
        world.join()
        world.pass_time(MINUTE)
    assert len(world.state.timers) <= 8


def test_an_older_streams_heartbeat_renews_nothing(world: World) -> None:
    old = world.join()
    world.join(held=())
    assert world.do(commands.Heartbeat(old, W1, 1)).heartbeats == []


def test_the_end_of_the_stream_takes_nothing_until_the_leases_end(world: World) -> None:
    session = world.join()
    task = world.submit()
    world.do(commands.WorkerLeft(session, W1))
    token = world.lease_of(task).token
    world.pass_time(4 * SECOND)
    world.join(held=(token,))
    assert world.lease_of(task).token == token
    world.end(task)
    assert world.journal.history[task].attempt == 1


def test_a_worker_that_left_with_nothing_is_offline_at_once(world: World) -> None:
    session = world.join()
    world.do(commands.WorkerLeft(session, W1))
    assert world.journal.workers[KEY][2]
    world.join()
    assert not world.journal.workers[KEY][2]


def test_a_worker_without_a_stream_gets_nothing(world: World) -> None:
    session = world.join()
    world.do(commands.WorkerLeft(session, W1))
    assert world.state_of(world.submit()) is TaskState.READY


def test_a_second_stream_of_a_worker_ends_the_first(world: World) -> None:
    first = world.join()
    second = world.join()
    assert world.effects.disconnects == [Disconnect(W1, first)]
    world.do(commands.WorkerLeft(first, W1))
    assert world.state.workers[W1].session == second


def test_what_a_returning_worker_does_not_name_it_has_lost(world: World) -> None:
    world.join()
    kept, gone = world.submit(), world.submit()
    token, lost = world.lease_of(kept).token, world.lease_of(gone).token
    world.join(held=(token,))
    assert world.lease_of(kept).token == token
    assert world.lease_of(gone).token > lost
    assert world.task(gone).lost_attempts == 0


def test_what_a_returning_worker_names_and_does_not_hold_it_is_told_to_drop(world: World) -> None:
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    world.cancel(task)
    reply = world.ask(commands.WorkerJoined(9, profile("w1"), (token, Token(77))))
    assert reply == (token, 77)


def test_a_return_confirms_the_batches_it_names(world: World) -> None:
    world.acknowledging = False
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    world.join(held=(token,))
    for _ in range(3):
        world.now = Micros(world.now + 3 * SECOND)
        world.beat()
    assert world.lease_of(task).token == token


def test_a_draining_worker_finishes_what_it_has_and_gets_no_more(world: World) -> None:
    session = world.join()
    task = world.submit()
    world.do(commands.WorkerDraining(session, W1))
    more = world.submit()
    world.end(task)
    assert world.state_of(more) is TaskState.READY
    world.join()
    assert world.leased() == [more]


def test_a_worker_is_remembered_for_an_hour_and_its_counts_for_ever(world: World) -> None:
    world.join()
    world.end(world.submit())
    world.pass_time(HOUR - MINUTE)
    assert list(world.state.workers) == [W1]
    world.pass_time(2 * HOUR)
    assert not world.state.workers
    world.join()
    world.end(world.submit())
    world.pass_time(MINUTE)
    assert world.journal.workers["", W1][:2] == (2, 0)


def test_a_worker_is_given_what_it_said_it_runs(world: World) -> None:
    wanted = {
        "queue": placement(queue="gpu"),
        "kind": placement(kind=Kind.HTTP),
        "function": placement(kind=Kind.FUNCTION, function="train"),
        "label": placement(zone="a", size="xl"),
    }
    tasks = {name: world.submit(plan(name, at=at)) for name, at in wanted.items()}
    offers = {
        "queue": profile("queue", queues=frozenset({"gpu"})),
        "kind": profile("kind", kinds=frozenset({Kind.HTTP})),
        "function": profile("function", kinds=frozenset({Kind.FUNCTION}), functions=frozenset({"train"})),
        "label": profile("label", kinds=frozenset({Kind.COMMAND}), labels=(("size", "xl"), ("zone", "a"), ("more", "x"))),
    }
    for name, said in offers.items():
        world.join(said=said)
        assert world.leased(name) == [tasks[name]]
