"""Wishes about tasks: submit, change, delete, cancel, retry, save a checkpoint. Each is granted whole or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from foliot_scheduler.core import dependents, leases, tasks
from foliot_scheduler.core.admission import admit, note_admitted
from foliot_scheduler.core.effects import AttemptRecord, Refusal, Repeated
from foliot_scheduler.core.model import Outcome, Stored, Task
from foliot_scheduler.core.readiness import count_parent
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.core.transitions import TaskEvent, TaskState, next_task_state
from foliot_scheduler.core.types import TaskId, WorkerId
from foliot_scheduler.core.webhooks import note_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foliot_scheduler.core import commands
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import Project

_CYCLE_SHOWN_MAX: Final = 25
"""Tasks of a cycle that a refusal names: as many ids as an error's metadata carries (foliot.kit.errors)."""


def submit(state: State, command: commands.SubmitTasks) -> Task | list[TaskId] | Repeated:
    """Create tasks on their own, all or none."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    for new in command.tasks:
        if new.depends_on:
            _check_dependencies(state, command.project, new.depends_on, command.ended)
    admit(state, command.project, len(command.tasks))
    created: list[Task] = []
    writes = state.effects.writes
    for plan, depends_on, trigger_rule in command.tasks:
        task = Task(
            TaskId(state.new_id()),
            command.project,
            plan,
            state.now,
            state.now,
            trigger_rule=trigger_rule,
            depends_on=depends_on,
            traceparent=command.traceparent,
        )
        state.add_task(task)
        writes.tasks[task.id] = task
        if state.listening:
            note_task(state, task, WebhookEvent.TASK_CREATED)
        if depends_on:
            tasks.decide(state, task, tasks.attach(state, task, command.ended))
        else:
            tasks.release(state, task)
        created.append(task)
    note_admitted(state, command.project, len(created))
    state.remember(command.project, command.once, b"".join([task.id for task in created]))
    return created[0].snapshot() if len(created) == 1 else [task.id for task in created]


def _check_dependencies(state: State, project: Project, depends_on: Iterable[TaskId], ended: dict[TaskId, TaskState]) -> None:
    for dependency in depends_on:
        live = state.tasks.get(dependency)
        if (live is None and dependency not in ended) or (live is not None and live.project != project):
            raise Refusal("unknown_dependency", "a dependency does not exist", {"ids": dependency.hex()})


def _find(state: State, project: Project, task_id: TaskId, record: Task | None) -> Task:
    """Return the live task, or the record of an ended one that came with the command.

    A record may have been read just before the task ended, or before another command changed it: it must not be written back.
    """
    live = state.tasks.get(task_id)
    task = live or record
    if task is None or task.project != project:
        raise Refusal("not_found", "no such task")
    if live is None and state.is_outdated(task):
        raise Refusal("version_conflict", "the task has just changed: look at it again")
    return task


def update(state: State, command: commands.UpdateTask) -> Task:
    """Change a task that has not started; what only describes it may change at any time."""
    task = _find(state, command.project, command.task_id, command.record)
    change = command.change
    if change.labels_only:
        return _relabel(state, task, change)
    if not task.is_live or task.state is TaskState.RUNNING:
        raise Refusal("wrong_state", f"the task is {task.state}: only tags and description may change", {"state": task.state})
    if change.depends_on is not None:
        if task.run_id is not None:
            raise Refusal("wrong_state", "the dependencies of a task in a run are its job's", {"state": task.state})
        _check_dependencies(state, command.project, change.depends_on, command.ended)
        _check_no_cycle(task, change.depends_on)
    state.effects.writes.plans_changed.add(task.id)
    state.write_task(task)
    if task.state is TaskState.READY:
        tasks.leave_ready(state, task)
    old_start = task.plan.start_at
    if change.plan is not None:
        task.plan = change.plan
    if change.trigger_rule is not None:
        task.trigger_rule = change.trigger_rule
    culprit = None
    if change.depends_on is not None:
        tasks.detach(state, task)
        task.depends_on = change.depends_on
        culprit = tasks.attach(state, task, command.ended)
    if task.state is not TaskState.BLOCKED:
        if task.state is TaskState.SCHEDULED and task.plan.start_at == old_start and not _asks_to_wait(change):
            return task.snapshot()  # it goes on waiting for the time it waited for, a backoff's for one
        task.state = next_task_state(task.state, TaskEvent.HELD)
        task.due = None
        if not _asks_to_wait(change):
            # Its dependencies have had their say. They must not be asked again: of one that was retried after they had failed,
            # a new leader counts them as failed.
            tasks.release(state, task)
            return task.snapshot()
    _decide_again(state, task, culprit)
    return task.snapshot()


def _decide_again(state: State, task: Task, culprit: TaskId | None) -> None:
    """Ask a changed task's dependencies; one that failed and did not matter so far may have been retried and succeeded since."""
    tasks.decide(state, task, culprit)
    if task.state is TaskState.FAILED:
        state.effects.writes.dependents_doubted.add(task.id)


def _relabel(state: State, task: Task, change: commands.TaskChange) -> Task:
    """Change what only describes a task, live or ended."""
    plan = change.plan
    assert plan is not None
    if plan._replace(name=task.plan.name, tags=task.plan.tags, spec=task.plan.spec) != task.plan:
        raise Refusal("version_conflict", "the task has just changed: look at it again")
    task.plan = plan
    writes = state.effects.writes
    if not task.is_live and task.id not in writes.tasks:
        writes.relabelled.add(task.id)
    writes.plans_changed.add(task.id)
    state.write_task(task)
    if not task.is_live:
        state.note_record_used(task, ended=True)
    return task.snapshot()


def _asks_to_wait(change: commands.TaskChange) -> bool:
    return change.depends_on is not None or change.trigger_rule is not None


def _check_no_cycle(task: Task, depends_on: Iterable[TaskId]) -> None:
    """Raise Refusal if a new dependency waits for the task itself, by whatever way."""
    waits_for: dict[TaskId, TaskId] = {}  # of each that waits for the task, who leads there
    stack = [task]
    while stack:
        parent = stack.pop()
        for child in parent.children or ():
            if child.id not in waits_for:
                waits_for[child.id] = parent.id
                stack.append(child)
    for dependency in depends_on:
        if dependency == task.id or dependency in waits_for:
            path = [task.id, dependency]
            while path[-1] != task.id and len(path) < _CYCLE_SHOWN_MAX:
                path.append(waits_for[path[-1]])
            shown = " -> ".join(task_id.hex() for task_id in path)
            raise Refusal("dependency_cycle", "the dependency waits for this task itself", {"path": shown})


def delete(state: State, command: commands.DeleteTask) -> None:
    """Remove a task that is not running and that no waiting task depends on."""
    task = _find(state, command.project, command.task_id, command.record)
    if task.run_id is not None:
        raise Refusal("wrong_state", "the task belongs to a run", {"state": task.state})
    if task.state is TaskState.RUNNING:
        raise Refusal("wrong_state", "the task is running: cancel it first", {"state": task.state})
    waiting = [child for child in task.children or () if child.state is TaskState.BLOCKED]
    if waiting:
        raise Refusal("has_dependents", "other tasks wait for it", {"ids": ",".join(child.id.hex() for child in waiting)})
    if task.is_live:
        if task.state is TaskState.READY:
            tasks.leave_ready(state, task)
        tasks.detach(state, task)
        for child in task.children or ():  # they started without it; a change may have them wait again, but not for this one
            child.parents_open -= 1
            count_parent(child, TaskState.CANCELLED)
        state.drop_task(task)
        task.state = next_task_state(task.state, TaskEvent.CANCELLED)  # whatever still knows it leaves it alone
    state.note_record_used(task, ended=False)
    writes = state.effects.writes
    writes.tasks.pop(task.id, None)
    writes.plans_changed.discard(task.id)
    writes.relabelled.discard(task.id)
    writes.checkpoints.pop(task.id, None)
    if task.depends_on:
        writes.failed_dependents[task.id] = ()
    if task.stored is not Stored.NOWHERE:
        writes.tasks_deleted.append(task)


def cancel(state: State, command: commands.CancelTask) -> Task:
    """Cancel a live task."""
    task = _find(state, command.project, command.task_id, command.record)
    if not task.is_live:
        raise Refusal("wrong_state", f"the task has ended: {task.state}", {"state": task.state})
    if command.only_waiting and task.state is TaskState.RUNNING:
        raise Refusal("wrong_state", "the task is running", {"state": task.state})
    cancel_live(state, task)
    return task.snapshot()


def cancel_live(state: State, task: Task) -> None:
    """Cancel a task that has not ended, and take it from its worker."""
    task.outcome = None
    if task.lease is not None:
        task.outcome = Outcome.CANCELLED
        task.exit_code = None
        task.error = ""
        leases.withdraw(state, task.lease)
    tasks.end(state, task, TaskEvent.CANCELLED)


def retry(state: State, command: commands.RetryTask) -> Task | Repeated:
    """Give a failed or cancelled task on its own another attempt, with its retry policy counted anew."""
    repeated = state.repeated(command.project, command.once)
    if repeated is not None:
        return repeated
    task = _find(state, command.project, command.task_id, command.record)
    if task.state not in {TaskState.FAILED, TaskState.CANCELLED}:
        raise Refusal(
            "wrong_state", f"only failed or cancelled tasks are retried; the task is {task.state}", {"state": task.state}
        )
    if task.run_id is not None:
        raise Refusal("wrong_state", "the task belongs to a run: trigger the job again", {"state": task.state})
    admit(state, task.project, 1)
    if task.outcome is not None:
        state.effects.writes.attempts.append(
            AttemptRecord(
                task.id,
                task.attempt,
                task.worker_id or WorkerId(""),
                task.worker_address,
                task.started,
                task.ended or state.now,
                task.outcome,
                task.exit_code,
                task.error,
            )
        )
    note_admitted(state, task.project, 1)
    dependents.revive(state, task)
    task.retried = True
    # Its dependencies had their say when it first ran, or did not succeed: whoever retries it wants it to run now.
    tasks.release(state, task)
    state.remember(command.project, command.once, task.id)
    return task.snapshot()


def save_checkpoint(state: State, command: commands.SaveCheckpoint) -> Task:
    """Keep a running task's progress, said by a caller."""
    task = _find(state, command.project, command.task_id, None)
    if task.state is not TaskState.RUNNING or (command.attempt and command.attempt != task.attempt):
        raise Refusal(
            "wrong_state", f"only the running attempt saves checkpoints; the task is {task.state}", {"state": task.state}
        )
    leases.save_checkpoint(state, task, command.checkpoint)
    return task.snapshot()
