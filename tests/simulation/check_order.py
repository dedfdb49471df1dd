"""Checks of what waits for what: trigger rules, how tasks and runs end, cancellations and redrives of runs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from foliot.v1 import job_pb2
from foliot_scheduler.core.model import TriggerRule
from foliot_scheduler.core.transitions import RunState, TaskState
from foliot_scheduler.core.types import RunId, TaskId
from tests.simulation.virtual import START_US

if TYPE_CHECKING:
    from tests.simulation.checker import ByTask
    from tests.simulation.story import Story
    from tests.unit.core.fake_journal import TaskRow

BAD = frozenset({TaskState.FAILED, TaskState.CANCELLED})


class Waits(NamedTuple):
    """What a task waits for."""

    rule: TriggerRule
    parents: tuple[TaskId, ...]


def check(story: Story, by_task: ByTask) -> None:
    """Raise AssertionError for a promise that was broken."""
    waits = _waits(story)
    for task_id, one in waits.items():
        if one.parents:
            _check_start(story, by_task, task_id, one)
            _check_end(story, task_id, one)
    _check_runs(story)


def _waits(story: Story) -> dict[TaskId, Waits]:
    """What each task waits for, by its order or by the version of the job that its run is of."""
    journal = story.database.journal
    found: dict[TaskId, Waits] = {}
    by_run: defaultdict[RunId, dict[int, TaskId]] = defaultdict(dict)
    for task_id, row in journal.history.items():
        if row.run_id is None:
            found[task_id] = Waits(row.trigger_rule, row.depends_on)
        else:
            by_run[row.run_id][row.position] = task_id
    for run_id, tasks in by_run.items():
        run = journal.runs_ended[run_id]
        spec = job_pb2.JobSpec.FromString(story.database.shelf.rows["spec", (run.job_id, run.job_version)]["spec"])
        positions = {task.key: position for position, task in enumerate(spec.tasks)}
        assert tasks.keys() == set(positions.values()), "a run has not the tasks of its job"
        for position, task_id in tasks.items():
            parents = tuple(tasks[positions[key]] for key in spec.tasks[position].dependencies)
            found[task_id] = Waits(journal.history[task_id].trigger_rule, parents)
    return found


def _check_start(story: Story, by_task: ByTask, task_id: TaskId, waits: Waits) -> None:
    """A task starts when what it waits for has ended as its rule wants; one that somebody retried starts when he says so."""
    starts = [one.at for one in by_task[task_id] if one.what == "start"]
    if not starts or task_id in story.ledger.retries_asked:
        return
    began = min(starts)
    history, retried = story.database.journal.history, story.ledger.retries_asked
    parents = {parent: history[parent] for parent in waits.parents if parent in history}
    if len(parents) < len(set(waits.parents)):
        return  # one was deleted
    succeeded = {
        parent for parent in parents if any(one.what == "end:OUTCOME_SUCCEEDED" and one.at <= began for one in by_task[parent])
    }
    ended = succeeded | {parent for parent, row in parents.items() if parent in retried or _ended_s(row) <= began}
    bad = {parent for parent, row in parents.items() if parent in retried or (row.state in BAD and _ended_s(row) <= began)}
    fine = {parent for parent, row in parents.items() if parent in retried or row.state not in BAD}
    everybody = parents.keys()
    right = {
        TriggerRule.ALL_SUCCESS: succeeded == everybody,
        TriggerRule.ALL_DONE: ended == everybody,
        TriggerRule.ONE_SUCCESS: bool(succeeded),
        TriggerRule.ONE_FAILED: bool(bad),
        TriggerRule.NONE_FAILED: ended == everybody == fine,
        TriggerRule.ALWAYS: True,
    }
    assert right[waits.rule], f"a task started at {began} s although {waits.rule} does not hold"


def _ended_s(row: TaskRow) -> float:
    assert row.ended is not None
    return (row.ended - START_US) / 1e6


def _check_end(story: Story, task_id: TaskId, waits: Waits) -> None:
    """A task that never ran has a rule that cannot hold; one whose rule holds has run, at the latest when it was put back."""
    history = story.database.journal.history
    row = history[task_id]
    if any(parent not in history for parent in waits.parents):
        return  # it was deleted, and nobody can say any more how it had ended
    states = [history[parent].state for parent in waits.parents]
    not_run = row.state is TaskState.SKIPPED or (row.state is TaskState.FAILED and row.outcome is None)
    if not_run:
        if row.state is TaskState.SKIPPED and any(parent in story.ledger.retries_asked for parent in waits.parents):
            return
        assert not _holds(waits.rule, states), f"a task {row.state} although {waits.rule} holds for {states}"
    elif row.run_id is not None and row.state is not TaskState.CANCELLED:
        assert _holds(waits.rule, states), f"a task {row.state} although {waits.rule} does not hold for {states}"


def _holds(rule: TriggerRule, states: list[TaskState]) -> bool:
    """Whether a rule holds once everything has ended."""
    match rule:
        case TriggerRule.ALL_SUCCESS:
            return all(state is TaskState.SUCCEEDED for state in states)
        case TriggerRule.ONE_SUCCESS:
            return any(state is TaskState.SUCCEEDED for state in states)
        case TriggerRule.ONE_FAILED:
            return any(state in BAD for state in states)
        case TriggerRule.NONE_FAILED:
            return not any(state in BAD for state in states)
        case TriggerRule.ALL_DONE | TriggerRule.ALWAYS:
            return True


def _check_runs(story: Story) -> None:
    """Runs end as their tasks do, what was cancelled stays so, and a dead letter is redriven once."""
    journal, ledger = story.database.journal, story.ledger
    states: defaultdict[RunId, list[TaskState]] = defaultdict(list)
    for row in journal.history.values():
        if row.run_id is not None:
            states[row.run_id].append(row.state)
    for run_id, run in journal.runs_ended.items():
        bad = any(state in BAD for state in states[run_id])
        wanted = RunState.CANCELLED if run.cancelled else RunState.FAILED if bad else RunState.SUCCEEDED
        assert run.state == wanted, f"a run whose tasks are {states[run_id]} is {run.state}"
    for run_id in ledger.run_cancels_told:
        assert journal.runs_ended[run_id].state == RunState.CANCELLED, "a cancelled run came back"
    for dead, started in ledger.redrives.items():
        assert len(started) == 1, "a run was redriven twice"
        assert {journal.redriven.get(dead)} == started, "a redrive is not recorded"
        assert journal.runs_ended[dead].state == RunState.FAILED, "a run was redriven that had not failed"
        assert journal.runs_ended[next(iter(started))].redrive_of == dead
