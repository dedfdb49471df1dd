"""Tasks that failed because of a dependency come back when it is retried and succeeds, and only then."""

from __future__ import annotations

from uuid import UUID

from foliot_scheduler.core import commands
from foliot_scheduler.core.model import Outcome, Task, TriggerRule
from foliot_scheduler.core.state import CoreSettings
from foliot_scheduler.core.transitions import TaskState
from foliot_scheduler.core.types import TaskId
from tests.unit.core.support import World, plan, record_of


def world(**settings: int) -> World:
    made = World(CoreSettings(**settings))  # type: ignore[arg-type] # limits are plain numbers
    made.join()
    return made


def ask_again(world: World) -> None:
    """Bring the engine everybody whose notes are due, as the reader of notes does, until nobody is."""
    journal = world.journal
    while due := sorted({child for (_, child), is_due in journal.notes.items() if is_due}):
        records = [record for task_id in due if (record := record_of(journal, task_id)) is not None and not record.is_live]
        wanted = {dependency for record in records for dependency in record.depends_on} - journal.live.keys()
        ended = {id_: journal.history[id_].state if id_ in journal.history else TaskState.FAILED for id_ in wanted}
        there = {record.id for record in records}
        world.do(commands.PutBackDependents(records, [task_id for task_id in due if task_id not in there], ended))


def fails_first(world: World) -> TaskId:
    """A task that has failed."""
    task_id = world.submit(plan("parent"))
    world.end(task_id, Outcome.FAILED)
    return task_id


def test_dependents_fail_with_an_error_that_names_the_dependency() -> None:
    w = world()
    parent = w.submit()
    child = w.submit(plan(), parent)
    grandchild = w.submit(plan(), child)
    w.cancel(parent)
    for task_id, culprit in ((child, parent), (grandchild, child)):
        row = w.journal.history[task_id]
        assert (row.state, row.outcome) == (TaskState.FAILED, None)
        assert row.error == f"dependency {UUID(bytes=bytes(culprit))} did not succeed"
    assert w.journal.notes == {(parent, child): False, (child, grandchild): False}


def test_a_retry_that_succeeds_puts_the_whole_chain_back() -> None:
    w = world()
    parent = w.submit()
    child = w.submit(plan(), parent)
    grandchild = w.submit(plan(), child, parent)
    w.end(parent, Outcome.FAILED)
    w.retry(parent)
    ask_again(w)
    assert w.state_of(child) is TaskState.FAILED, "not before it has succeeded"
    w.end(parent)
    assert w.journal.notes[parent, child]
    ask_again(w)
    assert (w.state_of(child), w.state_of(grandchild)) == (TaskState.RUNNING, TaskState.BLOCKED)
    assert w.task(child).error == w.task(grandchild).error == ""
    w.end(child)
    w.end(grandchild)
    assert w.state_of(grandchild) is TaskState.SUCCEEDED
    assert w.journal.notes == {}


def test_a_retry_that_fails_again_leaves_them() -> None:
    w = world()
    parent = fails_first(w)
    child = w.submit(plan(), parent)
    w.retry(parent)
    w.end(parent, Outcome.FAILED)
    ask_again(w)
    assert w.state_of(child) is TaskState.FAILED
    assert w.journal.notes == {(parent, child): False}


def test_one_that_waits_for_others_too_comes_back_blocked() -> None:
    w = world()
    failed = fails_first(w)
    open_ = w.submit()
    child = w.submit(plan(), failed, open_)
    assert w.state_of(child) is TaskState.FAILED
    w.retry(failed)
    w.end(failed)
    ask_again(w)
    assert w.state_of(child) is TaskState.BLOCKED
    assert (w.task(child).parents_open, w.task(child).parents_succeeded) == (1, 1)
    w.end(open_, Outcome.FAILED)
    assert w.state_of(child) is TaskState.FAILED
    assert w.journal.history[child].error == f"dependency {UUID(bytes=bytes(open_))} did not succeed"
    w.retry(open_)
    w.end(open_)
    ask_again(w)
    assert w.state_of(child) is TaskState.RUNNING


def test_one_that_failed_because_of_two_comes_back_with_the_second() -> None:
    w = world()
    one, other = fails_first(w), fails_first(w)
    child = w.submit(plan(), one, other)
    for parent, expected in ((one, TaskState.FAILED), (other, TaskState.RUNNING)):
        w.retry(parent)
        w.end(parent)
        ask_again(w)
        assert w.state_of(child) is expected


def test_one_success_is_enough_for_who_wants_one() -> None:
    w = world()
    one, other = w.submit(), w.submit()
    child = w.submit(plan(), one, other, rule=TriggerRule.ONE_SUCCESS)
    w.end(one, Outcome.FAILED)
    w.retry(one)
    w.end(one)
    assert w.state_of(child) is TaskState.BLOCKED, "it has counted the first as failed"
    w.end(other, Outcome.FAILED)
    ask_again(w)
    assert w.state_of(child) is TaskState.RUNNING


def test_a_change_of_the_rule_does_not_fail_who_waits_for_what_has_succeeded_since() -> None:
    """A dependency that failed did not matter under the rule before, and succeeded when it was retried."""
    w = world()
    parent, other = fails_first(w), w.submit()
    child = w.submit(plan(), parent, other, rule=TriggerRule.ALL_DONE)
    w.retry(parent)
    w.end(parent)
    w.change(child, commands.TaskChange(trigger_rule=TriggerRule.ALL_SUCCESS))
    ask_again(w)
    assert w.state_of(child) is TaskState.BLOCKED
    w.end(other)
    assert w.state_of(child) is TaskState.RUNNING


def test_those_that_were_retried_or_deleted_meanwhile_are_left_alone() -> None:
    w = world()
    parent = fails_first(w)
    retried, deleted = w.submit(plan(), parent), w.submit(plan(), parent)
    w.retry(retried)
    w.delete(deleted)
    assert w.journal.notes == {}
    w.end(retried, Outcome.FAILED)
    w.retry(parent)
    w.end(parent)
    ask_again(w)
    assert (w.state_of(retried), deleted in w.journal.history) == (TaskState.FAILED, False)


def test_an_old_row_puts_nobody_back_twice() -> None:
    w = world()
    parent = fails_first(w)
    child = w.submit(plan(), parent)
    w.retry(parent)
    w.end(parent)
    row, again = record_of(w.journal, child), record_of(w.journal, child)
    assert row is not None
    assert again is not None
    ended = {parent: TaskState.SUCCEEDED}
    w.do(commands.PutBackDependents([row], [], ended), commands.PutBackDependents([again], [], ended))
    assert w.task(child) is row
    w.end(child, Outcome.FAILED)
    stale = record_of(w.journal, child)
    assert isinstance(stale, Task)
    stale.outcome = None  # as it was read before
    w.do(commands.PutBackDependents([stale], [child], ended))
    assert w.state_of(child) is TaskState.FAILED


def test_nobody_is_put_back_beyond_the_limit_on_live_tasks() -> None:
    w = world(live_tasks_max=2)
    parent = fails_first(w)
    child = w.submit(plan(), parent)
    w.retry(parent)
    w.end(parent)
    others = [w.submit(), w.submit()]
    row = record_of(w.journal, child)
    assert row is not None
    w.do(commands.PutBackDependents([row], [], {parent: TaskState.SUCCEEDED}))
    assert w.state_of(child) is TaskState.FAILED
    w.end(others[0])
    ask_again(w)
    assert w.state_of(child) is TaskState.RUNNING
