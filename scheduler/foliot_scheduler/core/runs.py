"""Runs: executions of jobs, from their start to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foliot_scheduler.core.model import Job, Run, Task, Trigger
from foliot_scheduler.core.subscriptions import WebhookEvent
from foliot_scheduler.core.transitions import RunEvent, RunState, TaskState, next_run_state
from foliot_scheduler.core.types import RunId, TaskId
from foliot_scheduler.core.webhooks import note_task

if TYPE_CHECKING:
    from foliot_scheduler.core.state import State
    from foliot_scheduler.core.types import Micros


def create_run(
    state: State, job: Job, trigger: Trigger, due_at: Micros | None, traceparent: str = "", *, redrive_of: RunId | None = None
) -> Run:
    """Create a run of a job as it is now, with a blocked task for each node. The caller lets the first tasks go."""
    run = Run(
        RunId(state.new_id()),
        job.project,
        job.id,
        job.version,
        job.plan,
        trigger,
        state.now,
        due_at,
        open_tasks=len(job.plan.nodes),
        redrive_of=redrive_of,
    )
    graph = job.plan.graph
    for position, node in enumerate(job.plan.nodes):
        task = Task(
            TaskId(state.new_id()),
            job.project,
            node.plan,
            state.now,
            state.now,
            trigger_rule=node.trigger_rule,
            run=run,
            run_id=run.id,
            position=position,
            traceparent=traceparent,
            parents_open=graph.dependency_counts[position],
        )
        run.tasks.append(task)
        state.add_task(task)
        state.effects.writes.tasks[task.id] = task
        if state.listening:
            note_task(state, task, WebhookEvent.TASK_CREATED)
    job.active_runs[run.id] = run
    state.runs[run.id] = run
    state.effects.writes.runs[run.id] = run
    return run


def note_started(state: State, run: Run) -> None:
    """Note that the run's first task was leased, or ended without a lease."""
    if run.state is RunState.PENDING:
        run.state = next_run_state(run.state, RunEvent.STARTED)
        run.started = state.now
        state.effects.writes.runs[run.id] = run


def note_task_ended(state: State, run: Run, task: Task) -> None:
    """Count the end of one of the run's tasks; the last one ends the run."""
    note_started(state, run)
    run.open_tasks -= 1
    assert run.open_tasks >= 0
    if task.state is TaskState.FAILED or task.state is TaskState.CANCELLED:
        run.failed_tasks += 1
    if not run.open_tasks:
        end_run(state, run)


def end_run(state: State, run: Run) -> None:
    """End a run whose tasks have all ended."""
    if run.cancelled:
        event = RunEvent.CANCELLED
    elif run.failed_tasks:
        event = RunEvent.FAILED
    else:
        event = RunEvent.SUCCEEDED
    run.state = next_run_state(run.state, event)
    run.ended = state.now
    del state.runs[run.id]
    state.effects.writes.runs[run.id] = run
    state.ended_runs.append(run)
