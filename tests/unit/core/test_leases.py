"""Leases: tokens, results, stale reports, acknowledgements, losses, and attempts that run past their timeout."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Outcome, RetryPolicy
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, MINUTE, SECOND, Micros, Span, TaskId, Token, WorkerId
from tests.unit.core.fake_journal import task_row
from tests.unit.core.support import Node, World, plan, profile, retried

W1 = WorkerId("w1")


@pytest.fixture
def world() -> World:
    return World()


def unmoved(world: World) -> dict[TaskId, object]:
    return {task_id: task_row(task) for task_id, task in world.state.tasks.items()}


# ------------------------------------------------------------------------------------------------------------------ tokens


def test_a_token_is_the_epoch_and_a_counter(world: World) -> None:
    world.join()
    tokens = [world.lease_of(world.submit()).token for _ in range(3)]
    assert tokens == [(1 << 32) + n for n in (1, 2, 3)]


def test_a_later_lease_of_a_task_has_a_higher_token(world: World) -> None:
    session = world.join()
    task = world.submit()
    first = world.lease_of(task).token
    world.do(commands.LeasesReleased(session, W1, (first,)))
    assert world.lease_of(task).token > first
    assert world.lease_of(task).attempt == 2


def test_leases_handed_out_together_are_one_row_until_the_last_has_ended(world: World) -> None:
    tasks = [world.submit() for _ in range(3)]
    world.join()
    first = world.lease_of(tasks[0]).token
    assert world.journal.batches[first].task_ids == tuple(tasks)
    world.end(tasks[0])
    world.end(tasks[2])
    assert list(world.journal.batches) == [first]
    world.end(tasks[1])
    assert not world.journal.batches


def test_a_leased_tasks_row_is_not_written_again_until_it_has_run_for_a_while(world: World) -> None:
    task = world.submit()
    session = world.join()
    assert task not in world.effects.writes.tasks
    assert world.journal.live[task].state is TaskState.READY
    token = world.lease_of(task).token
    world.do(commands.AttemptsStarted(session, W1, [commands.AttemptStarted(token, world.now)]))
    row = world.journal.live[task]
    assert (row.state, row.attempt, row.worker_id, row.token) == (TaskState.RUNNING, 1, "w1", token)


# ----------------------------------------------------------------------------------------------------------------- results


def test_a_success_is_recorded_with_what_the_worker_said(world: World) -> None:
    world.join()
    task = world.submit()
    lease = world.lease_of(task)
    world.now = Micros(world.now + SECOND)
    end = commands.AttemptEnd(lease.token, Outcome.SUCCEEDED, 0, "", b"out", b"err", Micros(world.now - 10), world.now)
    effects = world.engine.step([commands.AttemptsEnded(1, W1, [end])], world.now)
    assert (effects.writes.tasks[task].output, effects.writes.tasks[task].error_output) == (b"out", b"err")
    world.journal.apply(effects.writes)
    row = world.journal.history[task]
    assert (row.state, row.outcome, row.exit_code) == (TaskState.SUCCEEDED, Outcome.SUCCEEDED, 0)
    assert (row.started, row.ended) == (world.now - 10, world.now)
    assert effects.acknowledgements[0].recorded == [lease.token]
    assert not world.journal.attempts


@pytest.mark.parametrize(("offset", "shown"), [(-MINUTE, 0), (MINUTE, SECOND), (SECOND // 2, SECOND // 2)])
def test_a_skewed_clock_shows_no_start_before_the_lease_or_after_the_end(world: World, offset: int, shown: int) -> None:
    world.join()
    task = world.submit()
    leased = world.now
    token = world.lease_of(task).token
    world.now = Micros(world.now + SECOND)
    started = Micros(leased + offset)
    end = commands.AttemptEnd(token, Outcome.SUCCEEDED, 0, "", b"", b"", started, started)
    world.do(commands.AttemptsEnded(1, W1, [end]))
    assert world.journal.history[task].started == leased + shown


def test_a_failed_attempt_is_recorded_and_followed_by_another_after_the_backoff(world: World) -> None:
    world.join()
    task = world.submit(plan(retry=retried(2, wait=Span(4 * SECOND))))
    world.end(task, Outcome.FAILED, error="oh")
    assert world.state_of(task) is TaskState.SCHEDULED
    assert world.journal.attempts[task, 1].error == "oh"
    world.pass_time(4 * SECOND)
    assert world.lease_of(task).attempt == 2
    world.end(task, Outcome.FAILED, error="again")
    row = world.journal.history[task]
    assert (row.state, row.attempt, row.failed_attempts, row.error) == (TaskState.FAILED, 2, 2, "again")
    assert list(world.journal.attempts) == [(task, 1)]


@pytest.mark.parametrize(
    ("outcome", "again"),
    [(Outcome.FAILED, True), (Outcome.TIMED_OUT, True), (Outcome.NON_RETRYABLE, False)],
)
def test_the_policy_says_which_outcomes_are_retried(world: World, outcome: Outcome, again: bool) -> None:
    world.join()
    task = world.submit(plan(retry=RetryPolicy(max_attempts=2)))
    world.end(task, outcome)
    assert world.state_of(task) is (TaskState.SCHEDULED if again else TaskState.FAILED)


def test_a_backoff_without_a_wait_retries_at_once(world: World) -> None:
    world.join()
    task = world.submit(plan(retry=retried(2, wait=Span(0))))
    world.end(task, Outcome.FAILED)
    assert world.lease_of(task).attempt == 2


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.LOST])
def test_an_attempt_that_a_stopping_worker_ended_runs_again_and_does_not_count(world: World, outcome: Outcome) -> None:
    world.join()
    task = world.submit()
    world.end(task, outcome)
    assert world.journal.attempts[task, 1].outcome is Outcome.LOST
    lease = world.lease_of(task)
    assert (lease.attempt, lease.task.lost_attempts, lease.task.failed_attempts) == (2, 0, 0)


# ----------------------------------------------------------------------------------------------------------- stale reports


def test_the_same_result_twice_is_recorded_once(world: World) -> None:
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    end = commands.AttemptEnd(token, Outcome.SUCCEEDED, 0, "", b"", b"", world.now, world.now)
    effects = world.do(commands.AttemptsEnded(1, W1, [end, end._replace(outcome=Outcome.FAILED)]))
    assert (effects.acknowledgements[0].recorded, effects.acknowledgements[0].stale) == ([token], [token])
    assert world.journal.history[task].state is TaskState.SUCCEEDED


def test_a_report_of_a_lease_that_was_lost_changes_nothing(world: World) -> None:
    session = world.join()
    task = world.submit()
    token = world.lease_of(task).token
    world.do(commands.LeasesReleased(session, W1, (token,)))
    before = unmoved(world)
    effects = world.report("w1", token)
    assert effects.acknowledgements[0].stale == [token]
    assert not effects.writes
    assert unmoved(world) == before


def test_only_the_holder_may_speak_of_a_lease(world: World) -> None:
    world.join("w1")
    task = world.submit()
    other = world.join("w2")
    token = world.lease_of(task).token
    w2 = WorkerId("w2")
    before = unmoved(world)
    assert world.report("w2", token).acknowledgements[0].stale == [token]
    world.do(commands.LeasesReleased(other, w2, (token,)))
    world.do(commands.AttemptsStarted(other, w2, [commands.AttemptStarted(token, world.now)]))
    effects = world.do(commands.CheckpointReported(other, w2, token, 1, "{}"))
    assert effects.checkpoint_acknowledgements[0].error
    assert unmoved(world) == before


def test_an_unknown_worker_and_an_unknown_token_are_stale(world: World) -> None:
    assert world.report("nobody", Token(12345)).acknowledgements[0].stale == [12345]


# ------------------------------------------------------------------------------------------------------- acknowledgements


def test_a_batch_that_is_not_confirmed_in_time_is_withdrawn(world: World) -> None:
    world.acknowledging = False
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    world.now = Micros(world.now + 4 * SECOND)
    world.beat()
    effects = world.pass_time(SECOND)
    assert [cancel.tokens for cancel in effects.cancellations] == [[token]]
    assert world.lease_of(task).token > token
    assert world.task(task).lost_attempts == 0
    assert world.journal.attempts[task, 1].outcome is Outcome.LOST


def test_a_confirmed_batch_stays(world: World) -> None:
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    for _ in range(10):
        world.now = Micros(world.now + SECOND)
        world.beat()
    assert world.lease_of(task).token == token


def test_what_ended_before_the_confirmation_is_not_withdrawn(world: World) -> None:
    world.acknowledging = False
    session = world.join()
    first, second = (world.submit() for _ in range(2))
    world.end(first)
    world.do(commands.LeasesAcknowledged(session, W1, (world.lease_of(second).batch.first_token,)))
    world.now = Micros(world.now + 4 * SECOND)
    world.beat()
    world.pass_time(SECOND)
    assert world.lease_of(second).attempt == 1


# --------------------------------------------------------------------------------------------------------- losing and order


def test_tasks_that_are_lost_together_keep_their_order(world: World) -> None:
    tasks = [world.submit() for _ in range(5)]
    session = world.join(said=profile("w1", capacity=5))
    later = world.submit()
    world.do(commands.WorkerDraining(session, W1))
    tokens = tuple(world.held[W1])
    world.do(commands.LeasesReleased(session, W1, tuple(reversed(tokens))))
    world.join("w2")
    assert world.leased("w2") == [*tasks, later]


def test_a_task_that_is_lost_too_often_has_killed_its_workers(world: World) -> None:
    world = World(CoreSettings(lost_attempts_max=2))
    task = world.submit()
    for n in range(1, 4):
        world.join(f"w{n}")
        assert world.lease_of(task).attempt == n
        world.pass_time(5 * SECOND)
    row = world.journal.history[task]
    assert (row.state, row.outcome, row.lost_attempts) == (TaskState.FAILED, Outcome.LOST, 3)
    assert row.error == "lost 3 times, so it is not tried again: the worker went silent"
    assert list(world.journal.attempts) == [(task, 1), (task, 2)]


def test_leases_given_back_never_end_a_task(world: World) -> None:
    world = World(CoreSettings(lost_attempts_max=0))
    session = world.join()
    task = world.submit()
    for _ in range(20):
        world.do(commands.LeasesReleased(session, W1, (world.lease_of(task).token,)))
        world.now = Micros(world.now + SECOND)
        world.beat()
    assert world.lease_of(task).attempt == 21


def _give_back(world: World, task: TaskId) -> None:
    world.do(commands.LeasesReleased(1, W1, (world.lease_of(task).token,)))


def _end_as_a_stopping_worker(world: World, task: TaskId) -> None:
    world.end(task, Outcome.CANCELLED)


@pytest.mark.parametrize("lose", [_give_back, _end_as_a_stopping_worker])
def test_a_task_that_is_given_back_again_and_again_waits_between(world: World, lose: Callable[[World, TaskId], None]) -> None:
    world.join()
    task = world.submit(plan(retry=retried(2)))
    world.end(task, Outcome.FAILED)  # an attempt that counts, and has a wait of its own
    world.now = Micros(world.now + SECOND)
    world.beat()
    for attempt in range(2, 6):
        assert world.lease_of(task).attempt == attempt
        lose(world, task)
    for attempt in range(6, 9):
        assert world.lease_of(task).attempt == attempt
        lose(world, task)
        assert world.state_of(task) is TaskState.SCHEDULED
        assert world.journal.live[task].due == world.now + SECOND
        world.now = Micros(world.now + SECOND - 1)
        world.beat()
        assert world.state_of(task) is TaskState.SCHEDULED
        world.pass_time(1)
    assert [record.outcome for record in world.journal.attempts.values()] == [Outcome.FAILED, *[Outcome.LOST] * 7]
    world.end(task)
    assert world.state_of(task) is TaskState.SUCCEEDED


# ---------------------------------------------------------------------------------------------------------------- timeouts


def beating(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.now = Micros(world.now + SECOND)
        world.beat()


def test_a_worker_that_does_not_stop_an_attempt_at_its_timeout_is_not_waited_for(world: World) -> None:
    session = world.join()
    task = world.submit(plan(timeout=Span(10 * SECOND)))
    token = world.lease_of(task).token
    world.do(commands.AttemptsStarted(session, W1, [commands.AttemptStarted(token, world.now)]))
    beating(world, 39)
    assert world.state_of(task) is TaskState.RUNNING
    beating(world, 1)
    assert [cancel.tokens for cancel in world.effects.cancellations] == [[token]]
    row = world.journal.history[task]
    assert (row.state, row.outcome, row.error) == (TaskState.FAILED, Outcome.TIMED_OUT, "ran past its timeout")


def test_a_start_reported_twice_counts_once(world: World) -> None:
    session = world.join()
    task = world.submit(plan(timeout=Span(10 * SECOND)))
    token = world.lease_of(task).token
    for _ in range(20):
        world.do(commands.AttemptsStarted(session, W1, [commands.AttemptStarted(token, world.now)]))
        beating(world, 2)
    assert world.journal.history[task].outcome is Outcome.TIMED_OUT


def test_an_attempt_that_ended_in_time_leaves_the_next_one_alone(world: World) -> None:
    session = world.join()
    task = world.submit(plan(timeout=Span(10 * SECOND), retry=retried(2)))
    started = commands.AttemptStarted(world.lease_of(task).token, world.now)
    world.do(commands.AttemptsStarted(session, W1, [started]))
    world.end(task, Outcome.FAILED)
    beating(world, 50)
    assert world.lease_of(task).attempt == 2


# -------------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_reaches_the_next_attempt_on_another_worker(world: World) -> None:
    session = world.join()
    task = world.submit()
    token = world.lease_of(task).token
    effects = world.do(commands.CheckpointReported(session, W1, token, 7, '{"line": 9}'))
    assert effects.checkpoint_acknowledgements[0][2:] == (token, 7, "")
    assert world.journal.checkpoints[task].attempt == 1
    world.do(commands.WorkerDraining(session, W1), commands.LeasesReleased(session, W1, (token,)))
    world.join("w2")
    assert world.held[WorkerId("w2")][world.lease_of(task).token].task.checkpoint == '{"line": 9}'


def test_an_ended_task_of_a_live_run_keeps_nothing_large_in_memory(world: World) -> None:
    session = world.join()
    run = world.start(Node("a"), Node("b", after=("a",)))
    first = world.tasks_of(run)["a"]
    world.do(commands.CheckpointReported(session, W1, world.lease_of(first).token, 1, '{"line": 9}'))
    world.end(first)
    ended = world.state.runs[run].tasks[0]
    assert (ended.state, ended.output, ended.error_output, ended.checkpoint) == (TaskState.SUCCEEDED, b"", b"", "")
    assert world.journal.history[first].output == b"out"
    assert world.journal.checkpoints[first].checkpoint == '{"line": 9}'


def test_a_checkpoint_of_a_lost_lease_is_refused(world: World) -> None:
    session = world.join()
    task = world.submit()
    token = world.lease_of(task).token
    world.ask(commands.CancelTask(DEFAULT_PROJECT, task))
    effects = world.do(commands.CheckpointReported(session, W1, token, 7, "{}"))
    assert effects.checkpoint_acknowledgements[0].error == "the lease has ended"
    assert not world.journal.checkpoints
