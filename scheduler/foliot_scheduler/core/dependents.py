"""Dependents that failed because of a dependency, and what becomes of them when that one succeeds after all.

Theory of operation. A task on its own that fails because of its dependencies leaves a note of each of them
(`WriteSet.failed_dependents`): ended tasks are not in memory, so only the database can say later who failed because of whom. When
a task succeeds that somebody had retried, the notes that name it become due, in the commit of its success. Whoever reads notes
that are due brings the rows of those dependents along as a command, and `put_back` asks each of them again: one whose
dependencies all allow it, or have not ended, lives again; another one stays as it is until the next of its dependencies succeeds.
A dependent that lives again makes the notes that name it due in turn, so the whole chain comes back, link by link.

A note is gone as soon as its dependent lives again, by whatever way, or is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core import tasks
from foliot_scheduler.core.admission import lacks_room
from foliot_scheduler.core.readiness import Readiness, readiness
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.core.transitions import TaskEvent, TaskState, next_task_state
from foliot_scheduler.core.webhooks import note_task

if TYPE_CHECKING:
    from foliot_scheduler.core import commands
    from foliot_scheduler.core.model import Task
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import TaskId


def revive(state: State, task: Task) -> None:
    """Have an ended task on its own live again: blocked, with its retry policy counted anew, and its dependencies not counted."""
    task.state = next_task_state(task.state, TaskEvent.REVIVED)
    task.ended = task.started = task.worker_id = task.exit_code = task.outcome = None
    task.error = task.worker_address = ""
    task.failed_attempts = task.lost_attempts = 0
    task.suspect = False
    task.parents_open = task.parents_succeeded = task.parents_failed = task.parents_skipped = 0
    state.add_task(task)
    state.write_task(task)
    writes = state.effects.writes
    writes.relabelled.discard(task.id)
    if task.depends_on:
        writes.failed_dependents[task.id] = ()
    state.note_record_used(task, ended=False)
    if state.listening:
        note_task(state, task, WebhookEvent.TASK_RETRYING)


def put_back(state: State, command: commands.PutBackDependents) -> None:
    """Ask dependents again that failed because of a dependency; what changed since it was read is left to the next round."""
    for task_id in command.gone:
        # Nobody is left to be put back: it was deleted, or its day was dropped; or it lives already.
        if task_id in state.tasks or state.last_end(task_id) is None:
            state.effects.writes.failed_dependents[task_id] = ()
    for task in command.records:
        if task.id not in state.tasks and not state.is_outdated(task):
            _ask_again(state, task, command.ended)


def _ask_again(state: State, task: Task, ended: dict[TaskId, TaskState]) -> None:
    writes = state.effects.writes
    if task.state is not TaskState.FAILED or task.outcome is not None:
        writes.failed_dependents[task.id] = ()  # it has ended otherwise since
        return
    known: dict[TaskId, TaskState] = {}
    for dependency in task.depends_on:
        if dependency not in state.tasks:
            end = state.last_end(dependency) or ended.get(dependency)
            if end is None:
                return  # it was live when it was read: its end is being committed
            known[dependency] = end
    if lacks_room(state, task.project, 1):
        return
    tasks.attach(state, task, known)
    if readiness(task) is Readiness.NEVER:
        tasks.detach(state, task)
        writes.failed_dependents[task.id] = task.depends_on
        writes.dependents_doubted.discard(task.id)
        return
    counted = (task.parents_open, task.parents_succeeded, task.parents_failed, task.parents_skipped)
    revive(state, task)
    task.parents_open, task.parents_succeeded, task.parents_failed, task.parents_skipped = counted
    writes.dependents_due[task.id] = None
    tasks.decide(state, task, None)
