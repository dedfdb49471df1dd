"""Workers come, beat, fall silent and come back; executors claim by unary calls."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Disconnect, HeartbeatEcho, Refusal
from foliot_scheduler.core.model import Kind, Outcome, Resources, Task
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, Micros, Project, TaskId, Token, WorkerId
from tests.unit.core.support import World, limited, placement, plan, profile

W1 = WorkerId("w1")
X1, X2 = WorkerId("x1"), WorkerId("x2")
KEY = ("", W1)


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------------------------------------------------- with a stream


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


def test_a_worker_is_remembered_for_an_hour_with_its_counts(world: World) -> None:
    world.join()
    world.end(world.submit())
    world.pass_time(HOUR - MINUTE)
    world.join()
    assert world.state.workers[W1].succeeded == 1
    world.pass_time(2 * HOUR)
    world.pass_time(2 * HOUR)
    assert not world.state.workers
    world.join()
    assert world.state.workers[W1].succeeded == 0


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


# ------------------------------------------------------------------------------------------------------------------ executors


def claim(world: World, executor: WorkerId = X1, project: Project = DEFAULT_PROJECT) -> TaskId | None:
    command = commands.ClaimTask(project, executor, "host", frozenset({"default"}), frozenset({Kind.BINARY}))
    reply = world.ask(command)
    assert reply is None or isinstance(reply, Task)
    return None if reply is None else reply.id


def end(task: TaskId, executor: WorkerId = X1, outcome: Outcome = Outcome.SUCCEEDED) -> commands.EndClaim:
    return commands.EndClaim(DEFAULT_PROJECT, executor, task, outcome, 0, "", b"out", b"")


BINARY = placement(kind=Kind.BINARY)


def test_an_executor_claims_the_oldest_task_of_its_project_and_kind(world: World) -> None:
    world.submit(plan())
    world.submit(plan(at=BINARY), project=Project("other"))
    first, second = world.submit(plan(at=BINARY)), world.submit(plan(at=BINARY))
    assert [claim(world), claim(world), claim(world)] == [first, second, None]
    row = world.journal.live[first]
    assert (row.state, row.worker_id, row.started) == (TaskState.RUNNING, "x1", world.now)


def test_a_claim_lives_by_its_own_heartbeats(world: World) -> None:
    kept, forgotten = world.submit(plan(at=BINARY)), world.submit(plan(at=BINARY))
    claim(world)
    claim(world)
    for _ in range(3):
        world.pass_time(30 * SECOND)
        world.ask(commands.RenewClaim(DEFAULT_PROJECT, X1, kept))
    assert world.state_of(kept) is TaskState.RUNNING
    assert world.state_of(forgotten) is TaskState.READY
    assert world.journal.attempts[forgotten, 1].error == "the executor went silent"


def test_a_claim_ends_once_and_only_by_its_executor(world: World) -> None:
    task = world.submit(plan(at=BINARY))
    claim(world)
    with pytest.raises(Refusal) as refusal:
        world.ask(end(task, X2))
    assert refusal.value.reason == "stale_lease"
    reply = world.ask(end(task))
    assert isinstance(reply, Task)
    assert (reply.state, reply.output) == (TaskState.SUCCEEDED, b"out")
    with pytest.raises(Refusal, match="no such task"):
        world.ask(end(task))


def test_a_claim_that_came_to_an_end_is_stale_for_its_executor(world: World) -> None:
    task = world.submit(plan(at=BINARY))
    claim(world)
    world.pass_time(61 * SECOND)
    with pytest.raises(Refusal, match="not claimed"):
        world.ask(end(task))
    assert claim(world, X2) == task
    for command in (end(task), commands.RenewClaim(DEFAULT_PROJECT, X1, task)):
        with pytest.raises(Refusal, match="another executor"):
            world.ask(command)


def test_a_task_of_a_stream_is_not_claimed(world: World) -> None:
    world.join()
    task = world.submit(plan(at=BINARY))
    with pytest.raises(Refusal, match="not claimed"):
        world.ask(commands.RenewClaim(DEFAULT_PROJECT, W1, task))


def test_a_claim_passes_over_tasks_whose_limits_are_full(world: World) -> None:
    held = limited("key", 1)._replace(placement=BINARY)
    first, second = world.submit(held), world.submit(held)
    free = world.submit(plan(at=BINARY))
    assert [claim(world), claim(world), claim(world)] == [first, free, None]
    world.ask(end(first))
    assert claim(world) == second


def test_asking_in_vain_leaves_nothing_behind(world: World) -> None:
    for _ in range(10):
        assert claim(world) is None
    assert not world.state.executors
    assert len(world.state.timers) == 0
    task = world.submit(plan(at=BINARY))
    claim(world)
    world.pass_time(59 * SECOND)
    world.ask(commands.RenewClaim(DEFAULT_PROJECT, X1, task))
    world.pass_time(2 * SECOND)
    assert world.state.executors


def test_an_idle_executor_goes_offline_and_is_forgotten(world: World) -> None:
    world.submit(plan(at=BINARY))
    task = claim(world)
    assert task is not None
    world.ask(end(task))
    world.pass_time(MINUTE)
    assert world.journal.workers[DEFAULT_PROJECT, X1][2]
    world.pass_time(HOUR)
    assert not world.state.executors
