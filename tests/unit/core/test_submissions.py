"""What callers may do with tasks on their own: submit, change, delete, cancel, retry, save a checkpoint."""

from __future__ import annotations

import pytest

from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal
from foliot_scheduler.core.model import Outcome, Task, TriggerRule
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import DEFAULT_PROJECT, HOUR, MINUTE, SECOND, Micros, Project, TaskId
from tests.unit.core.fake_journal import task_row
from tests.unit.core.support import Node, World, limited, marker, placement, plan, record_of, retried

NOBODY = TaskId(b"\xff" * 16)


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, command: commands.Command) -> Refusal:
    """The refusal of a command, which must not have changed anything."""
    before = {id_: task_row(task) for id_, task in world.state.tasks.items()}
    with pytest.raises(Refusal) as refusal:
        world.ask(command)
    assert {id_: task_row(task) for id_, task in world.state.tasks.items()} == before
    assert not world.effects.writes
    return refusal.value


# ------------------------------------------------------------------------------------------------------------- submitting


def test_a_task_waits_for_a_worker_and_is_stored(world: World) -> None:
    task = world.submit()
    assert world.state_of(task) is TaskState.READY
    assert world.journal.live[task].state is TaskState.READY


def test_a_task_that_a_worker_can_take_is_stored_and_leased_by_one_commit(world: World) -> None:
    world.join()
    task = world.submit()
    assert world.leased() == [task]
    assert world.journal.leases()[task] == (world.lease_of(task).token, 1)


def test_many_tasks_are_answered_with_their_ids_in_order(world: World) -> None:
    reply = world.ask(commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan(f"t{n}")) for n in range(3)]))
    assert isinstance(reply, list)
    assert [world.task(task).plan.name for task in reply] == ["t0", "t1", "t2"]


def test_a_start_time_in_the_future_holds_a_task_back(world: World) -> None:
    task = world.submit(plan(start_at=Micros(world.now + MINUTE)))
    assert world.state_of(task) is TaskState.SCHEDULED
    world.pass_time(MINUTE - 1)
    assert world.state_of(task) is TaskState.SCHEDULED
    world.pass_time(1)
    assert world.state_of(task) is TaskState.READY


def test_a_start_time_in_the_past_holds_nothing_back(world: World) -> None:
    assert world.state_of(world.submit(plan(start_at=Micros(world.now - 1)))) is TaskState.READY


def test_a_marker_succeeds_at_once_and_goes_straight_to_history(world: World) -> None:
    task = world.submit(marker())
    assert world.journal.history[task].state is TaskState.SUCCEEDED
    assert world.journal.history[task].attempt == 0


def test_more_live_tasks_than_the_limit_are_refused_whole() -> None:
    world = World(CoreSettings(live_tasks_max=2))
    world.submit()
    both = commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan()), commands.NewTask(plan())])
    assert refused(world, both).reason == "overloaded"
    assert len(world.journal.live) == 1


# ------------------------------------------------------------------------------------------------------------ dependencies


def test_a_dependent_waits_until_the_last_dependency_succeeded(world: World) -> None:
    world.join()
    first, second = world.submit(), world.submit()
    child = world.submit(plan(), first, second)
    assert world.state_of(child) is TaskState.BLOCKED
    world.end(first)
    assert world.state_of(child) is TaskState.BLOCKED
    world.end(second)
    assert world.state_of(child) is TaskState.RUNNING


def test_a_dependent_of_ended_tasks_starts_at_once(world: World) -> None:
    ended = world.submit(marker())
    assert world.state_of(world.submit(plan(), ended)) is TaskState.READY


def test_a_failed_dependency_fails_its_dependents_and_theirs_naming_it(world: World) -> None:
    world.join()
    parent = world.submit()
    child = world.submit(plan(), parent)
    grandchild = world.submit(plan(), child)
    world.end(parent, Outcome.FAILED)
    assert world.state_of(child) is world.state_of(grandchild) is TaskState.FAILED
    assert "00000000-0000-0000-0000-000000000001" in world.journal.history[child].error
    assert world.journal.history[child].outcome is None


def test_a_cancelled_dependency_fails_its_dependents(world: World) -> None:
    parent = world.submit()
    child = world.submit(plan(), parent)
    world.cancel(parent)
    assert world.state_of(child) is TaskState.FAILED


def test_a_rule_that_can_no_longer_hold_though_nothing_failed_skips(world: World) -> None:
    child = world.submit(plan(), world.submit(marker()), rule=TriggerRule.ONE_FAILED)
    assert world.state_of(child) is TaskState.SKIPPED


def test_a_task_on_its_own_may_wait_for_a_task_of_a_run(world: World) -> None:
    world.join()
    run = world.start(Node("a"))
    inside = world.tasks_of(run)["a"]
    child = world.submit(plan(), inside)
    world.end(inside)
    assert world.state_of(child) is TaskState.RUNNING


def test_an_unknown_dependency_is_refused(world: World) -> None:
    refusal = refused(world, commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan(), (NOBODY,))]))
    assert (refusal.reason, refusal.metadata) == ("unknown_dependency", {"ids": NOBODY.hex()})


def test_another_projects_task_is_an_unknown_dependency(world: World) -> None:
    parent = world.submit(project=Project("other"))
    refusal = refused(world, commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan(), (parent,))]))
    assert refusal.reason == "unknown_dependency"


# ---------------------------------------------------------------------------------------------------------------- changing


def test_a_waiting_task_may_change_everything(world: World) -> None:
    task = world.submit(plan(priority=1))
    world.submit(plan(priority=5))
    world.change(task, commands.TaskChange(plan("new", priority=9)))
    world.join()
    assert world.leased()[0] == task
    assert world.journal.live[task].plan.name == "new"


def test_a_task_of_another_queue_waits_there(world: World) -> None:
    task = world.submit()
    world.change(task, commands.TaskChange(plan(at=placement(queue="elsewhere"))))
    world.join()
    assert world.state_of(task) is TaskState.READY


def test_a_new_start_time_moves_a_task_either_way(world: World) -> None:
    task = world.submit()
    world.change(task, commands.TaskChange(plan(start_at=Micros(world.now + HOUR))))
    assert world.state_of(task) is TaskState.SCHEDULED
    world.change(task, commands.TaskChange(plan()))
    assert world.state_of(task) is TaskState.READY
    world.pass_time(HOUR)
    assert world.state_of(task) is TaskState.READY


def test_a_task_that_waits_for_its_backoff_goes_on_waiting(world: World) -> None:
    world.join()
    policy = retried(3, wait=MINUTE)
    task = world.submit(plan(retry=policy))
    world.end(task, Outcome.FAILED)
    world.change(task, commands.TaskChange(plan("new", retry=policy)))
    assert world.state_of(task) is TaskState.SCHEDULED
    world.pass_time(MINUTE)
    assert world.state_of(task) is TaskState.READY


def test_new_dependencies_hold_a_ready_task_back(world: World) -> None:
    parent, task = world.submit(), world.submit()
    world.change(task, commands.TaskChange(depends_on=(parent,)))
    assert world.state_of(task) is TaskState.BLOCKED
    world.change(task, commands.TaskChange(depends_on=()))
    assert world.state_of(task) is TaskState.READY
    world.cancel(parent)
    assert world.state_of(task) is TaskState.READY


def test_a_new_rule_is_decided_at_once(world: World) -> None:
    parent = world.submit()
    task = world.submit(plan(), parent)
    world.change(task, commands.TaskChange(trigger_rule=TriggerRule.ALWAYS))
    assert world.state_of(task) is TaskState.READY


def test_a_task_that_started_early_knows_how_its_other_dependencies_ended(world: World) -> None:
    first, second = world.submit(), world.submit()
    early = plan(start_at=Micros(world.now + HOUR))
    task = world.submit(early, first, second, rule=TriggerRule.ONE_FAILED)
    world.cancel(first)
    assert world.state_of(task) is TaskState.SCHEDULED
    world.cancel(second)
    world.change(task, commands.TaskChange(trigger_rule=TriggerRule.ALL_DONE, plan=plan()))
    assert world.state_of(task) is TaskState.READY


def test_a_dependency_that_was_retried_since_can_be_dropped(world: World) -> None:
    world.join()
    parent, other = world.submit(), world.submit(plan(at=placement(queue="elsewhere")))
    task = world.submit(plan(), parent, other, rule=TriggerRule.ALL_DONE)
    world.end(parent, Outcome.FAILED)
    world.retry(parent)
    world.submit(plan(), parent)
    world.change(task, commands.TaskChange(depends_on=(other,)))
    world.cancel(other)
    assert world.state_of(task) is TaskState.RUNNING


def test_a_cycle_of_dependencies_is_refused(world: World) -> None:
    first = world.submit()
    second = world.submit(plan(), first)
    third = world.submit(plan(), second)
    for dependency, path in ((first, [first, first]), (second, [first, second, first]), (third, [first, third, second, first])):
        change = commands.TaskChange(depends_on=(dependency,))
        refusal = refused(world, commands.UpdateTask(DEFAULT_PROJECT, first, change))
        assert (refusal.reason, refusal.metadata) == ("dependency_cycle", {"path": " -> ".join(task.hex() for task in path)})


def test_of_a_long_cycle_the_beginning_is_named(world: World) -> None:
    first = last = world.submit()
    for _ in range(100):
        last = world.submit(plan(), last)
    refusal = refused(world, commands.UpdateTask(DEFAULT_PROJECT, first, commands.TaskChange(depends_on=(last,))))
    named = refusal.metadata["path"].split(" -> ")
    assert named[:2] == [first.hex(), last.hex()]
    assert len(named) == 25


def test_a_running_task_changes_its_labels_only(world: World) -> None:
    world.join()
    task = world.submit()
    change = commands.TaskChange(plan("new"))
    assert refused(world, commands.UpdateTask(DEFAULT_PROJECT, task, change)).reason == "wrong_state"
    labels = plan()._replace(tags=("seen",))
    world.change(task, commands.TaskChange(labels, labels_only=True))
    assert world.journal.live[task].plan.tags == ("seen",)
    assert world.state_of(task) is TaskState.RUNNING


def test_an_ended_task_changes_its_labels_only(world: World) -> None:
    task = world.submit(marker())
    record = record_of(world.journal, task)
    change = commands.TaskChange(plan("new"))
    assert refused(world, commands.UpdateTask(DEFAULT_PROJECT, task, change, record=record)).reason == "wrong_state"
    world.change(task, commands.TaskChange(marker()._replace(tags=("seen",)), labels_only=True))
    assert world.journal.history[task].plan.tags == ("seen",)


def test_labels_made_from_an_older_plan_are_refused(world: World) -> None:
    task = world.submit(plan(priority=5))
    world.change(task, commands.TaskChange(plan(priority=9)))
    labels = commands.TaskChange(plan(priority=5)._replace(tags=("seen",)), labels_only=True)
    assert refused(world, commands.UpdateTask(DEFAULT_PROJECT, task, labels)).reason == "version_conflict"


# ---------------------------------------------------------------------------------------------------------------- deleting


def test_a_deleted_task_is_gone_live_or_ended(world: World) -> None:
    live, ended = world.submit(), world.submit(marker())
    world.delete(live)
    world.delete(ended)
    assert not world.journal.live
    assert not world.journal.history
    world.join()
    assert world.leased() == []


def test_a_task_deleted_before_it_was_written_never_was(world: World) -> None:
    submit = commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(plan(start_at=Micros(world.now + SECOND)))])
    world.engine.apply([submit], world.now)
    (task,) = world.state.tasks
    change = commands.TaskChange(plan("new"))
    effects = world.do(commands.UpdateTask(DEFAULT_PROJECT, task, change), commands.DeleteTask(DEFAULT_PROJECT, task))
    assert not effects.writes
    world.pass_time(SECOND)
    assert not world.journal.live


def test_a_task_deleted_at_a_limit_before_it_was_written_does_not_come_back(world: World) -> None:
    world.join()
    holder = world.submit(limited("key", 1))
    world.engine.apply([commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(limited("key", 1))])], world.now)
    waiter = next(reversed(world.state.tasks))
    world.do(commands.DeleteTask(DEFAULT_PROJECT, waiter))
    world.end(holder)
    assert world.leased() == []
    assert not world.state.tasks


@pytest.mark.parametrize("start", [True, False])
def test_a_running_task_and_one_that_others_wait_for_stay(world: World, start: bool) -> None:
    if start:
        world.join()
    task = world.submit()
    child = world.submit(plan(), task)
    refusal = refused(world, commands.DeleteTask(DEFAULT_PROJECT, task))
    assert refusal.reason == ("wrong_state" if start else "has_dependents")
    assert start or refusal.metadata == {"ids": child.hex()}


def test_a_task_that_started_without_a_dependency_does_not_wait_for_it_once_deleted(world: World) -> None:
    parent = world.submit()
    child = world.submit(plan(), parent, rule=TriggerRule.ALWAYS)
    world.delete(parent)
    world.change(child, commands.TaskChange(trigger_rule=TriggerRule.ALL_DONE))
    assert world.state_of(child) is TaskState.READY


# ------------------------------------------------------------------------------------------------------ cancel and retry


def test_cancelling_a_waiting_task_ends_it(world: World) -> None:
    for task in (world.submit(), world.submit(plan(start_at=Micros(world.now + HOUR)))):
        assert world.cancel(task).state is TaskState.CANCELLED
    child = world.submit(plan(), world.submit())
    assert world.cancel(child).state is TaskState.CANCELLED


def test_cancelling_a_running_task_tells_its_worker_to_stop_and_refuses_its_result(world: World) -> None:
    world.join()
    task = world.submit()
    token = world.lease_of(task).token
    assert world.cancel(task).outcome is Outcome.CANCELLED
    assert [cancel.tokens for cancel in world.effects.cancellations] == [[token]]
    assert world.report("w1", token).acknowledgements[0].stale == [token]
    assert world.state_of(task) is TaskState.CANCELLED


def test_an_ended_task_is_not_cancelled(world: World) -> None:
    task = world.submit(marker())
    command = commands.CancelTask(DEFAULT_PROJECT, task, record_of(world.journal, task))
    assert refused(world, command).reason == "wrong_state"


def test_a_failed_task_is_retried_with_its_attempts_counted_anew(world: World) -> None:
    world.join()
    task = world.submit()
    world.end(task, Outcome.FAILED, error="oh")
    again = world.retry(task)
    assert (again.failed_attempts, again.error, again.outcome) == (0, "", None)
    assert world.lease_of(task).attempt == 2
    assert world.journal.attempts[task, 1].outcome is Outcome.FAILED
    world.end(task)
    assert world.journal.history[task].state is TaskState.SUCCEEDED


def test_a_task_cancelled_before_it_ran_has_no_attempt_to_record(world: World) -> None:
    task = world.submit()
    world.cancel(task)
    world.retry(task)
    assert not world.journal.attempts
    assert world.state_of(task) is TaskState.READY


def test_a_task_cancelled_between_attempts_has_each_recorded_once(world: World) -> None:
    world.join()
    task = world.submit(plan(retry=retried(2)))
    world.end(task, Outcome.FAILED)
    world.cancel(task)
    assert world.journal.history[task].outcome is None
    world.retry(task)
    assert list(world.journal.attempts) == [(task, 1)]


def test_only_failed_and_cancelled_tasks_of_their_own_are_retried(world: World) -> None:
    waiting, succeeded = world.submit(), world.submit(marker())
    assert refused(world, commands.RetryTask(DEFAULT_PROJECT, waiting)).reason == "wrong_state"
    command = commands.RetryTask(DEFAULT_PROJECT, succeeded, record=record_of(world.journal, succeeded))
    assert refused(world, command).reason == "wrong_state"


# ------------------------------------------------------------------------------------------------------------ outdated rows


def test_a_row_read_before_its_task_ended_is_not_acted_upon(world: World) -> None:
    world.join()
    task = world.submit()
    record = record_of(world.journal, task)
    assert record is not None
    world.end(task)
    labels = commands.TaskChange(plan()._replace(tags=("seen",)), labels_only=True)
    outdated: list[commands.Command] = [
        commands.CancelTask(DEFAULT_PROJECT, task, record),
        commands.DeleteTask(DEFAULT_PROJECT, task, record),
        commands.UpdateTask(DEFAULT_PROJECT, task, labels, record=record),
        commands.RetryTask(DEFAULT_PROJECT, task, record=record),
    ]
    for command in outdated:
        assert refused(world, command).reason == "version_conflict"
    assert world.journal.history[task].state is TaskState.SUCCEEDED


def test_a_row_read_before_a_retry_is_not_retried_again(world: World) -> None:
    world.join()
    task = world.submit()
    world.end(task, Outcome.FAILED)
    record = record_of(world.journal, task)
    world.retry(task)
    world.end(task, Outcome.FAILED)
    assert refused(world, commands.RetryTask(DEFAULT_PROJECT, task, record=record)).reason == "version_conflict"
    world.retry(task)
    assert world.lease_of(task).attempt == 3


def test_a_deleted_task_is_not_retried_from_a_row_read_before(world: World) -> None:
    task = world.submit()
    world.cancel(task)
    record = record_of(world.journal, task)
    world.delete(task)
    assert refused(world, commands.RetryTask(DEFAULT_PROJECT, task, record=record)).reason == "version_conflict"


# -------------------------------------------------------------------------------------------------- projects, checkpoints


def test_another_projects_task_does_not_exist(world: World) -> None:
    task = world.submit(project=Project("other"))
    for command in (
        commands.CancelTask(DEFAULT_PROJECT, task),
        commands.DeleteTask(DEFAULT_PROJECT, task),
        commands.RetryTask(DEFAULT_PROJECT, task),
        commands.UpdateTask(DEFAULT_PROJECT, task, commands.TaskChange(plan())),
        commands.SaveCheckpoint(DEFAULT_PROJECT, task, "{}"),
    ):
        assert refused(world, command).reason == "not_found"


def test_a_callers_checkpoint_is_kept_for_the_next_attempt(world: World) -> None:
    world.join()
    task = world.submit(plan(retry=retried(2)))
    reply = world.ask(commands.SaveCheckpoint(DEFAULT_PROJECT, task, '{"at": 1}', attempt=1))
    assert isinstance(reply, Task)
    assert world.journal.checkpoints[task].checkpoint == '{"at": 1}'
    world.end(task, Outcome.FAILED)
    world.pass_time(SECOND)
    assert world.lease_of(task).task.checkpoint == '{"at": 1}'


def test_only_the_running_attempt_saves_checkpoints(world: World) -> None:
    waiting = world.submit()
    assert refused(world, commands.SaveCheckpoint(DEFAULT_PROJECT, waiting, "{}")).reason == "wrong_state"
    world.join()
    assert refused(world, commands.SaveCheckpoint(DEFAULT_PROJECT, waiting, "{}", attempt=2)).reason == "wrong_state"
