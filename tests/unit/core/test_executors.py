"""Executors claim tasks by unary calls, renew what they hold, and end it; what they forget goes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foliot_scheduler.core import commands, workers
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import Kind, Outcome, Task
from foliot_scheduler.core.subscriptions import CreateWebhook, WebhookEvent, WorkerFacts
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, Project, Span, TaskId, WorkerId
from tests.unit.core.support import Node, World, limited, placement, plan, retried

W1 = WorkerId("w1")
X1, X2 = WorkerId("x1"), WorkerId("x2")


@pytest.fixture
def world() -> World:
    return World()


def claim(
    world: World,
    executor: WorkerId = X1,
    project: Project = DEFAULT_PROJECT,
    *,
    queues: str = "default",
    standalone: bool = False,
) -> TaskId | None:
    wanted = frozenset(queues.split())
    command = commands.ClaimTask(project, executor, "host", wanted, frozenset({Kind.BINARY}), standalone)
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
    lost = world.journal.attempts[forgotten, 1]
    assert (lost.outcome, lost.error, lost.worker_address) == (Outcome.LOST, "the executor went silent", "host")


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


def test_claims_take_the_highest_priority_of_all_their_queues_then_the_oldest(world: World) -> None:
    apart = placement(kind=Kind.BINARY, queue="apart")
    low, second, first, third = (
        world.submit(plan(at=at, priority=priority)) for at, priority in ((BINARY, 2), (BINARY, 5), (apart, 9), (apart, 5))
    )
    both = "default apart"
    assert [claim(world, queues=both) for _ in range(4)] == [first, second, third, low]


def test_tasks_of_runs_are_left_to_others_if_asked(world: World) -> None:
    world.start(Node("step", plan=plan(at=BINARY)))
    assert claim(world, standalone=True) is None
    alone = world.submit(plan(at=BINARY))
    assert claim(world, standalone=True) == alone
    assert claim(world) is not None


def test_an_executor_that_asks_in_vain_is_known_until_it_is_silent(world: World) -> None:
    for _ in range(10):
        assert claim(world) is None
    assert list(world.state.executors) == [(DEFAULT_PROJECT, X1)]
    assert not world.journal.workers[DEFAULT_PROJECT, X1][2]
    world.pass_time(MINUTE)
    assert world.journal.workers[DEFAULT_PROJECT, X1][2]


def test_of_those_that_ask_in_vain_so_many_are_known_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "EXECUTORS_KEPT_MAX", 1)
    claim(world)
    claim(world, X2)
    assert list(world.state.executors) == [(DEFAULT_PROJECT, X1)]
    task = world.submit(plan(at=BINARY))
    assert claim(world, X2) == task
    assert (DEFAULT_PROJECT, X2) in world.state.executors


def test_heartbeats_of_an_executor_are_written_now_and_then(world: World) -> None:
    task = world.submit(plan(at=BINARY))
    claim(world)
    written = world.now
    world.pass_time(9 * SECOND)
    world.ask(commands.RenewClaim(DEFAULT_PROJECT, X1, task))
    assert world.journal.workers[DEFAULT_PROJECT, X1][3] == written
    world.pass_time(1 * SECOND)
    world.ask(commands.RenewClaim(DEFAULT_PROJECT, X1, task))
    assert world.journal.workers[DEFAULT_PROJECT, X1][3] == world.now


def test_a_claimed_task_is_ended_at_its_timeout_however_often_it_is_renewed(world: World) -> None:
    task = world.submit(plan(at=BINARY)._replace(timeout=Span(MINUTE)))
    claim(world)
    for _ in range(3):
        world.pass_time(29 * SECOND)
        world.ask(commands.RenewClaim(DEFAULT_PROJECT, X1, task))
    world.pass_time(4 * SECOND)
    assert world.state_of(task) is TaskState.FAILED


def test_a_worker_and_an_executor_may_have_the_same_id(world: World) -> None:
    world.join()
    streamed, claimed = world.submit(), world.submit(plan(at=placement(kind=Kind.BINARY, queue="apart")))
    assert claim(world, W1, queues="apart") == claimed
    assert [world.lease_of(task).worker.is_executor for task in (streamed, claimed)] == [False, True]
    batches = {batch.task_ids: batch.project for batch in world.state.batches.values()}
    assert batches == {(streamed,): "", (claimed,): DEFAULT_PROJECT}
    world.ask(end(claimed, W1))
    assert (world.state_of(claimed), world.state_of(streamed)) == (TaskState.SUCCEEDED, TaskState.RUNNING)


def test_only_waiting_tasks_are_cancelled_if_asked(world: World) -> None:
    waiting, claimed = world.submit(plan(at=BINARY)), world.submit(plan(at=BINARY, priority=9))
    assert claim(world) == claimed
    with pytest.raises(Refusal, match="running"):
        world.ask(commands.CancelTask(DEFAULT_PROJECT, claimed, only_waiting=True))
    world.ask(commands.CancelTask(DEFAULT_PROJECT, waiting, only_waiting=True))
    assert (world.state_of(claimed), world.state_of(waiting)) == (TaskState.RUNNING, TaskState.CANCELLED)


def test_an_executor_that_was_silent_with_its_claims_is_offline_with_none(world: World) -> None:
    first, second = world.submit(plan(at=BINARY)), world.submit(plan(at=BINARY))
    claim(world)
    world.pass_time(10 * SECOND)
    claim(world)
    world.pass_time(51 * SECOND)
    assert (world.state_of(first), world.state_of(second)) == (TaskState.READY, TaskState.RUNNING)
    assert not world.journal.workers[DEFAULT_PROJECT, X1][2], "it was heard 51 seconds ago"
    world.pass_time(10 * SECOND)
    assert world.state_of(second) is TaskState.READY
    assert world.journal.workers[DEFAULT_PROJECT, X1][2]


def test_an_idle_executor_goes_offline_and_is_forgotten(world: World) -> None:
    world.submit(plan(at=BINARY))
    task = claim(world)
    assert task is not None
    world.ask(end(task))
    world.pass_time(MINUTE)
    assert world.journal.workers[DEFAULT_PROJECT, X1][2]
    world.pass_time(HOUR)
    assert not world.state.executors


def test_a_report_that_quotes_an_earlier_claim_of_the_same_executor_is_stale(world: World) -> None:
    task = world.submit(plan(at=BINARY, retry=retried(2)))
    claim(world)
    lease = world.state.tasks[task].lease
    assert lease is not None
    first = lease.token
    report = replace(end(task, outcome=Outcome.FAILED), token=first)
    world.ask(report)
    world.pass_time(2 * SECOND)
    assert claim(world) == task
    for late in (report, commands.RenewClaim(DEFAULT_PROJECT, X1, task, first)):
        with pytest.raises(Refusal, match="claimed the task again"):
            world.ask(late)
    again = world.state.tasks[task].lease
    assert again is not None
    world.ask(replace(end(task), token=again.token))
    assert world.journal.history[task].state is TaskState.SUCCEEDED


def test_an_executor_that_fell_silent_with_a_claim_is_told_of_as_one_without(world: World) -> None:
    webhook = CreateWebhook(DEFAULT_PROJECT, "http://r.test/", "", frozenset({WebhookEvent.WORKER_OFFLINE}), b"k" * 32)
    world.ask(webhook)
    world.submit(plan(at=BINARY))
    assert claim(world) is not None
    assert claim(world, X2) is None
    world.pass_time(2 * MINUTE)
    told = [record.facts for record in world.journal.deliveries]
    assert sorted(facts.id for facts in told if isinstance(facts, WorkerFacts)) == [X1, X2]
