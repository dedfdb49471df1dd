"""The moves of a task that no worker makes: waiting for dependencies and times, becoming ready, ending.

Theory of operation. Ending a task never touches other tasks: the ended one is put on `state.settling`, and `settle` works that
list off after each command, in a loop. So a chain of a hundred thousand markers or skips needs no recursion, and each rule
below sees a consistent state.

All that depend on an ended task count it at once, but only so many of them are decided in one step of the engine: those of runs
line up in `state.undecided`, blocked, and the next step goes on with them by itself. Meanwhile they are blocked tasks like any
other, to be cancelled or changed, and a new leader decides all blocked tasks anyway. Tasks on their own are decided as soon as
they have counted: somebody may retry a dependency that has failed, and whoever depends on it must have failed by then, so that
its success puts them back (see `dependents.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from foliot_scheduler.core.model import Kind, Task, TriggerRule
from foliot_scheduler.core.readiness import Readiness, count_parent, readiness
from foliot_scheduler.core.runs import note_task_ended
from foliot_scheduler.core.timers import TaskDue
from foliot_scheduler.core.transitions import TaskEvent, TaskState, next_task_state
from foliot_scheduler.core.webhooks import note_end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import Micros, TaskId


def attach(state: State, task: Task, ended: dict[TaskId, TaskState]) -> TaskId | None:
    """Count the dependencies of a task on its own and have the live ones remember it; return one that did not succeed, if any."""
    task.parents_open = task.parents_succeeded = task.parents_failed = task.parents_skipped = 0
    culprit = None
    for dependency in task.depends_on:
        parent = state.tasks.get(dependency)
        if parent is None:
            # It may have been retried since `ended` was read.
            end_state = state.last_end(dependency) or ended[dependency]
            count_parent(task, end_state)
            if end_state is not TaskState.SUCCEEDED:
                culprit = dependency
        else:
            task.parents_open += 1
            if parent.children is None:
                parent.children = []
            parent.children.append(task)
    return culprit


def detach(state: State, task: Task) -> None:
    """Have the tasks that a task on its own waits for forget it; one that was retried since does not know it."""
    for dependency in task.depends_on:
        parent = state.tasks.get(dependency)
        if parent is not None and parent.children and task in parent.children:
            parent.children.remove(task)


def decide(state: State, task: Task, culprit: TaskId | None) -> None:
    """Start, end or leave a blocked task, as its dependencies say; `culprit` is named if one of them is to blame."""
    verdict = readiness(task)
    if verdict is Readiness.START:
        release(state, task)
    elif verdict is Readiness.NEVER:
        state.write_task(task)
        task.outcome = None  # no attempt of it ended it
        if task.run is not None or not task.parents_failed:
            end(state, task, TaskEvent.SKIPPED)
        else:
            # Documented by the tasks API: dependents of a task that did not succeed end failed, with an error that names it.
            task.error = f"dependency {UUID(bytes=bytes(culprit))} did not succeed" if culprit else "a dependency did not succeed"
            writes = state.effects.writes
            writes.failed_dependents[task.id] = task.depends_on
            if task.trigger_rule is TriggerRule.ONE_SUCCESS:
                # One that failed while others went on may have been retried and have succeeded since: its dependents in memory
                # have counted it as failed.
                writes.dependents_doubted.add(task.id)
            end(state, task, TaskEvent.DEPENDENCY_FAILED)


def release(state: State, task: Task) -> None:
    """Let a blocked task go on to wait for its start time or for a worker; a marker succeeds."""
    state.write_task(task)
    start_at = task.plan.start_at
    if start_at is not None and start_at > state.now:
        postpone(state, task, start_at)
    else:
        task.state = next_task_state(task.state, TaskEvent.RELEASED)
        make_ready(state, task)


def make_ready(state: State, task: Task) -> None:
    """Put a task that is ready where workers get it; a marker ends here."""
    task.due = None
    if task.plan.placement.kind is Kind.MARKER:
        task.started = state.now
        task.outcome = None
        task.exit_code = None
        task.error = ""
        end(state, task, TaskEvent.PASSED)
    else:
        state.ready.push(task)


def leave_ready(state: State, task: Task) -> None:
    """Take a ready task from where it waits: the ready queue, or a full concurrency limit."""
    state.ready.remove(task)
    if task.plan.limits:
        woken: list[Task] = []
        state.gates.pass_on(task, woken)
        push_woken(state, woken)


def push_woken(state: State, woken: list[Task]) -> None:
    """Let tasks that waited for a concurrency limit try again, in their order and before those that came later."""
    for task in reversed(woken):
        state.ready.push(task, front=True)


def postpone(state: State, task: Task, due: Micros) -> None:
    """Have a task wait for a time."""
    task.state = next_task_state(task.state, TaskEvent.POSTPONED)
    task.due = due
    state.timers.add(due, TaskDue(task))


def due(state: State, task: Task) -> None:
    """A timer of a task went off: it becomes ready if it still waits for that time."""
    if task.state is TaskState.SCHEDULED and task.due is not None and task.due <= state.now:
        task.state = next_task_state(task.state, TaskEvent.DUE)
        state.write_task(task)
        make_ready(state, task)


def end(state: State, task: Task, event: TaskEvent) -> None:
    """End a task; it must not be leased any more. What follows for others is left to `settle`."""
    assert task.lease is None
    if task.state is TaskState.READY:
        leave_ready(state, task)
    task.state = next_task_state(task.state, event)
    task.ended = state.now
    task.due = None
    state.drop_task(task)
    state.write_task(task)
    if task.id in state.records_used:
        state.note_record_used(task, ended=True)
    if state.listening:
        note_end(state, task)
    if task.retried and task.state is TaskState.SUCCEEDED:
        state.effects.writes.dependents_due[task.id] = None
    if task.run is not None or task.children:
        state.settling.append(task)


def settle(state: State) -> None:
    """Tell dependents and runs of every task that has ended since the last call, and decide those that this step may decide."""
    settling, undecided = state.settling, state.undecided
    while True:
        while settling:
            _tell(state, settling.popleft())
        if not undecided or not state.decisions_left:
            return
        state.decisions_left -= 1
        task = undecided.popleft()
        if task.state is TaskState.BLOCKED:
            decide(state, task, None)


def _tell(state: State, task: Task) -> None:
    culprit = None if task.state is TaskState.SUCCEEDED else task.id
    for child in _children(task):
        # Counted for those that started early too: a change of the trigger rule may have them wait again.
        child.parents_open -= 1
        count_parent(child, task.state)
        if child.state is not TaskState.BLOCKED:
            continue
        if child.run is None:
            decide(state, child, culprit)
        elif readiness(child) is not Readiness.WAIT:
            state.undecided.append(child)
    task.children = None
    if task.run is not None:
        note_task_ended(state, task.run, task)


def _children(task: Task) -> Iterable[Task]:
    run = task.run
    waiting = task.children or ()  # tasks on their own may wait for one of a run too
    if run is None:
        return waiting
    return [*[run.tasks[position] for position in run.plan.graph.children[task.position]], *waiting]
